"""Measure how busy the stage fit keeps a GPU, with an engine that sleeps as long as the GPU would.

python -m tests.benchmarks.feed [FOLDER] [--seconds 0.3] [--rows 24] [--batch 4] [--threads 1 2 4]

The stage itself reads views of 512², makes the starts, puts the Gaussians in order, measures the figures and writes the
PLYs; only the steps are slept through. A device is busy while it fits, from the first full batch until no rows wait.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from unittest import mock

import numpy as np

from manifests.store import LocalStore
from stages.artifacts.splat import Splat
from stages.common.prefetch import in_background
from stages.contract.stage import Context, Done, Row, StageError
from stages.fit import Fit
from stages.fitting.photos import Photos
from stages.fitting.problem import FitProblem, FitResult, finish
from tests.benchmarks.fit import SETTINGS
from tests.benchmarks.fit_objects import rendered

SIZE = 512


class SleepingEngine:
    """Takes problems as the engine gsplat does; a fit is a sleep, and its result is its start."""

    def __init__(self, seconds: float, batch: int):
        self.seconds, self.batch = seconds, batch
        self.fits = 0  # while rows were waiting
        self.feeding = 0.0  # seconds

    def fit(self, problems: Iterable[FitProblem]) -> Iterator[tuple[str, FitResult | StageError]]:
        return in_background(lambda problem: (problem.id, finish(problem.start, 0)), self._fitted(problems), threads=1)

    def _fitted(self, problems: Iterable[FitProblem]) -> Iterator[FitProblem]:
        waiting = iter(problems)
        seats = deque(islice(waiting, self.batch))
        begun = time.perf_counter()
        while seats:
            time.sleep(self.seconds)
            yield seats.popleft()
            for following in islice(waiting, 1):
                seats.append(following)
                self.fits += 1
                self.feeding = time.perf_counter() - begun

    def draw(self, splat: Splat, photos: Photos, antialiased: bool) -> np.ndarray:
        return np.zeros((len(photos), *photos.size, 4), np.float32)

    @property
    def busy(self) -> float:
        return self.fits * self.seconds / self.feeding


def cpu_seconds(stage: Fit, store: LocalStore, rows: list[Row]) -> tuple[float, float]:
    """The medians of preparing an object and of finishing it."""
    preparing, finishing, engine = [], [], SleepingEngine(0, 1)
    for row in [rows[0], *rows]:  # the first is repeated: what it compiles is not measured
        begun = time.process_time()
        prepared = stage._prepare(row, store)
        assert not isinstance(prepared, StageError), prepared
        between = time.process_time()
        stage._done(engine, finish(prepared[0].start, 0), prepared[1])
        preparing.append(between - begun)
        finishing.append(time.process_time() - between)
    return statistics.median(preparing[1:]), statistics.median(finishing[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="FOLDER of meshes, used beside the demo corpus")
    parser.add_argument("--demo", type=int, default=4, help="objects of the demo corpus")
    parser.add_argument("--objects", type=int, default=4, help="the most textured meshes of FOLDER")
    parser.add_argument("--seconds", type=float, default=0.3, help="how long the GPU takes for an object")
    parser.add_argument("--rows", type=int, default=24, help="objects to fit; those at hand are repeated")
    parser.add_argument("--batch", type=int, default=4, help="objects at once on the device")
    parser.add_argument("--threads", nargs="+", type=int, default=[count for count in (1, 2, 4) if count <= _cores()])
    options = parser.parse_args()
    gaussians, steps, views = SETTINGS[SIZE]
    stage = Fit(gaussians=gaussians, steps=steps, engine="gsplat")
    with tempfile.TemporaryDirectory() as scratch:
        paths = rendered(Path(scratch), SIZE, views, options.demo, options.folder, options.objects)
        store = LocalStore(str(paths[0].parent))
        rows: list[Row] = [
            {"id": str(index), "key": "0" * 32, "views": paths[index % len(paths)].name}
            for index in range(options.rows)
        ]
        preparing, finishing = cpu_seconds(stage, store, rows[: len(paths)])
        print(
            f"{SIZE}², {gaussians:,} Gaussians, {views} views, {len(paths)} objects, {options.seconds:g} s on the GPU"
        )
        print(f"an object takes {preparing:.2f} CPU seconds to prepare and {finishing:.2f} to finish")
        for threads in options.threads:
            engine = SleepingEngine(options.seconds, options.batch)
            with mock.patch("stages.fit.open_engine", return_value=engine):
                work = stage.open(Context(store, Path(scratch), threads=threads))
            busy = time.process_time()
            assert all(isinstance(outcome, Done) for _, outcome in work(rows))
            spent = (time.process_time() - busy) / len(rows)
            print(f"{threads} threads: {engine.busy:.0%} busy, {spent:.2f} CPU seconds an object", flush=True)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    main()
