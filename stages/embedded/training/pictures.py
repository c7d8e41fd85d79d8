"""Draw the pictures that models are trained and measured on, in separate processes, and read them from disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.corpus.corpus import VERSION
from stages.embedded.training.objects import Split
from stages.render import Render

SIDE = 96  # of a picture in pixels: at 64, dots and checks look the same
LENGTH = 128  # corpus numbers in a shard, which takes seconds to draw


@dataclass(frozen=True)
class Library:
    """Objects with their pictures; the pictures stay on disk."""

    rows: list[dict[str, Any]]
    shards: list[np.ndarray]  # memory maps [N, V, S, S, 3] uint8
    places: np.ndarray  # [objects, 2]: shard, and row in it

    @property
    def views(self) -> int:
        return self.shards[0].shape[1]

    def __len__(self) -> int:
        return len(self.rows)

    def pictures(self, objects: np.ndarray, views: np.ndarray) -> np.ndarray:
        """[n, S, S, 3] uint8: the pictures of n pairs of object and view."""
        return np.stack([self.shards[s][row, view] for (s, row), view in zip(self.places[objects], views, strict=True)])


def drawn(
    folder: Path,
    split: Split,
    numbers: int,
    views: int,
    side: int,
    workers: int,
    report: Callable[[int, int], None],
    length: int = LENGTH,
) -> Library:
    """Draw the split's objects among the first `numbers` of its corpus, except those that the folder has.

    `report` is called with the number of shards that are there, and of all.
    """
    library = folder / f"v{VERSION}-{views}x{side}-{length}"
    count = -(-numbers // length)
    missing = [shard for shard in range(count) if not (library / split.name / f"{shard:05d}.jsonl").exists()]
    done = count - len(missing)
    report(done, count)
    with ThreadPoolExecutor(workers) as pool:
        arguments = [[str(library), split.name, str(views), str(side), str(shard), str(length)] for shard in missing]
        for _ in pool.map(_draw, arguments):
            done += 1
            report(done, count)
    return read(library / split.name, count)


def read(folder: Path, count: int) -> Library:
    """Read the first `count` shards."""
    rows, shards, places = [], [], []
    for shard in range(count):
        shards.append(np.load(folder / f"{shard:05d}.npy", mmap_mode="r"))
        lines = (folder / f"{shard:05d}.jsonl").read_text().splitlines()
        rows += [json.loads(line) for line in lines]
        places += [(shard, row) for row in range(len(lines))]
    return Library(rows, shards, np.array(places, np.int64).reshape(-1, 2))


def _draw(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "stages.embedded.training.renders", *arguments]
    ended = subprocess.run(command, env=os.environ | Render.environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command[1:])}: {ended.stderr.strip()[-2000:]}")
