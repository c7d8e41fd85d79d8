"""Rendering on one core: this project's stage against the script that people write, by size of the views.

python -m tests.benchmarks.render [FOLDER] [--sizes 128 256 512] [--views 36] [--objects 24] [--memory 500] [--free]

FOLDER holds meshes of any kind (default: the demo corpus). The script loads with trimesh, opens a pyrender
OffscreenRenderer an object and writes a PNG a view. Each runs alone in a process pinned to one core; `--free` leaves
them all cores. Ours is counted with loading, depth and the writing of its file. Where other work shares the machine,
or the driver draws on the CPU, compare CPU time; with a GPU, the time that passes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from manifests.store import open_store
from stages.contract.stage import Context, Row, StageError
from stages.corpus.corpus import Corpus
from stages.ingest import Ingest
from stages.meshes.formats import ENDINGS
from stages.render import Render
from tests.benchmarks.render_script import draw_as_people_do

_PHASES = ("load", "upload", "draw", "read-back", "encode")
_LOOK_AT = (50, 100, 200, 300, 400, 500, 1000, 2000)


def meshes_in(folder: Path, count: int) -> list[Path]:
    """So many, evenly spread over the folder's names."""
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in ENDINGS]
    return [paths[index * len(paths) // count] for index in range(count)] if count < len(paths) else paths


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


class Stopwatch:
    def __init__(self) -> None:
        self._begun = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """Seconds that passed, and seconds of CPU time of all threads of this process."""
        return time.perf_counter() - self._begun[0], time.process_time() - self._begun[1]


class Clock:
    """Seconds by phase."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(_PHASES, 0.0)
        self.begun = 0.0  # with this object

    def begin(self) -> None:
        self.begun = time.perf_counter()

    def loaded(self) -> None:
        self.seconds["load"] += time.perf_counter() - self.begun

    @contextmanager
    def time(self, phase: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] += time.perf_counter() - begun


def timed_renderer(stage: Render, clock: Clock) -> Any:
    """A Renderer that says what it spends its time with; the driver must finish before pixels are read."""
    from stages.rendering.batches import Batches
    from stages.rendering.drawing import Renderer

    class TimedBatches(Batches):
        def upload(self, *given: Any) -> None:
            clock.loaded()  # the last thing before it is uploaded
            with clock.time("upload"):
                super().upload(*given)
                self._gl.glFinish()

    class Timed(Renderer):
        def _draw_colors(self, *given: Any) -> Any:
            with clock.time("draw"):
                return super()._draw_colors(*given)

        def _draw_depth(self, *given: Any) -> Any:
            with clock.time("draw"):
                return super()._draw_depth(*given)

        def _read(self, *given: Any) -> Any:
            self.gl.glFinish()
            begun = time.perf_counter()
            pixels = super()._read(*given)
            clock.seconds["read-back"] += time.perf_counter() - begun
            clock.seconds["draw"] -= time.perf_counter() - begun  # which is still counting
            return pixels

    renderer = Timed(stage.size, stage.samples)
    renderer._uploaded = TimedBatches(renderer.gl)
    return renderer


def take_in(path: Path, root: str) -> tuple[Row, bytes] | None:
    """Ingest is not measured here."""
    ((_, taken),) = Ingest().open(Context(open_store(root), Path(root)))([{"id": path.name, "uri": str(path)}])
    return None if isinstance(taken, StageError) else ({"id": path.name, **taken.columns}, taken.artifact or b"")


def measure_ours(paths: list[Path], size: int, views: int) -> dict[str, Any]:
    stage = Render(views=views, size=size)
    clock = Clock()
    renderer = timed_renderer(stage, clock)
    seconds: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as root:
        for path in paths:
            taken = take_in(path, root)
            if taken is None:
                continue
            try:
                if not seconds:  # drivers build their code on first use
                    stage.render(*taken, renderer)
                    clock.seconds = dict.fromkeys(_PHASES, 0.0)
                clock.begin()
                watch = Stopwatch()
                done = stage.render(*taken, renderer)
            except StageError as error:
                print(f"{path}: {error.reason}", file=sys.stderr)
                continue
            (Path(root) / "views.zip").write_bytes(done.artifact or b"")
            seconds[str(path)] = watch.read()
    clock.seconds["encode"] = sum(passed for passed, _ in seconds.values()) - sum(clock.seconds.values())
    return {"seconds": seconds, "phases": clock.seconds, "device": renderer.device}


def measure_script(paths: list[Path], size: int, views: int) -> dict[str, Any]:
    poses = Render(views=views, size=size)
    seconds: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in [paths[0], *paths]:
            watch = Stopwatch()
            try:
                draw_as_people_do(path, Path(folder), poses.directions(), size)
            except Exception as error:  # whatever trimesh or pyrender cannot take; the script would skip it too
                print(f"{path}: {type(error).__name__}", file=sys.stderr)
                continue
            seconds[str(path)] = watch.read()
    return {"seconds": seconds}


def measure_memory(paths: list[Path], count: int) -> dict[str, Any]:
    resident: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as root:
        store = open_store(root)
        work = Render().open(Context(store, Path(root)))
        for number in range(1, count + 1):
            taken = take_in(paths[number * 37 % len(paths)], root)  # not in the order of their names
            if taken is not None:
                row, archive = taken
                store.replace("mesh.zip", archive)
                for _, outcome in work([{**row, "mesh": "mesh.zip"}]):
                    if isinstance(outcome, StageError):
                        print(f"{row['id']}: {outcome.reason}", file=sys.stderr)
                del taken, archive, outcome
            if number in _LOOK_AT or number == count:
                resident[number] = resident_mib()
    return {"resident": resident}


def call(what: str, folder: Path, size: int, options: argparse.Namespace) -> dict[str, Any]:
    """A measurement in a process of its own."""
    words = [what, str(folder), str(size), str(options.views), str(options.objects), str(options.memory)]
    environment = {**os.environ, "PYOPENGL_PLATFORM": "egl", **(Render.environment if what != "script" else {})}
    command = [sys.executable, "-m", "tests.benchmarks.render", "--measure", *words]
    pinned = [] if options.free else [str(max(os.sched_getaffinity(0)))]
    done = subprocess.run([*command, *pinned], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(what: str, folder: str, size: str, views: str, objects: str, memory: str, core: str = "") -> None:
    if core:
        os.sched_setaffinity(0, {int(core)})
    if what == "memory":
        answer = measure_memory(meshes_in(Path(folder), sys.maxsize), int(memory))
    else:
        paths = meshes_in(Path(folder), int(objects))
        answer = (measure_ours if what == "ours" else measure_script)(paths, int(size), int(views))
    print(json.dumps(answer))


def report(size: int, views: int, ours: dict[str, Any], script: dict[str, Any]) -> None:
    both = sorted(set(ours["seconds"]) & set(script["seconds"]))
    if both:
        (own, own_cpu), (other, other_cpu) = (
            zip(*(result["seconds"][path] for path in both), strict=True) for result in (ours, script)
        )
        print(
            f"{size:5}: {len(both) / sum(own):6.2f} objects/s, {views * len(both) / sum(own):6.1f} views/s, median "
            f"{statistics.median(own):.2f} s, CPU {statistics.median(own_cpu):.2f} s; the script "
            f"{len(both) / sum(other):6.2f} objects/s, median {statistics.median(other):.2f} s, "
            f"CPU {statistics.median(other_cpu):.2f} s; {sum(other) / sum(own):.1f}x, in CPU time "
            f"{sum(other_cpu) / sum(own_cpu):.1f}x, over {len(both)} meshes that both draw"
        )
    total = sum(ours["phases"].values())
    shares = ", ".join(f"{name} {part / total:.0%}" for name, part in ours["phases"].items())
    print(f"       {shares}; bound by {max(ours['phases'], key=ours['phases'].get)}", flush=True)


def main() -> None:
    if sys.argv[1:2] == ["--measure"]:
        measure(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.render")
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--sizes", nargs="*", type=int, default=[128, 256, 512])
    parser.add_argument("--views", type=int, default=36)
    parser.add_argument("--objects", type=int, default=24, help="so many, spread over the folder")
    parser.add_argument("--memory", type=int, default=500, help="objects to draw while memory is watched; 0 for none")
    parser.add_argument("--free", action="store_true", help="all cores for everyone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if options.folder is None:
            Corpus(count=48).write(Path(scratch))
        folder = options.folder or Path(scratch)
        for size in options.sizes:
            ours, script = (call(what, folder, size, options) for what in ("ours", "script"))
            if size == options.sizes[0]:
                cores = "all cores" if options.free else "one core"
                print(f"{options.views} views an object, {ours['device']}, {cores}")
            report(size, options.views, ours, script)
        if options.memory:
            resident = call("memory", folder, 128, options)["resident"]
            print("resident MiB after objects: " + ", ".join(f"{n}: {mib:.0f}" for n, mib in resident.items()))


if __name__ == "__main__":
    main()
