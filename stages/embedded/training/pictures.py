"""The pictures that models are trained and measured on: drawn once by processes of their own, then read from disk."""

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
LENGTH = 128  # numbers of the corpus a shard: seconds of drawing


@dataclass(frozen=True)
class Library:
    """Objects with their pictures; the pictures stay on disk."""

    rows: list[dict[str, Any]]
    shards: list[np.ndarray]  # memory maps [N, V, S, S, 3] uint8
    places: np.ndarray  # [objects, 2] which shard, which row of it

    @property
    def views(self) -> int:
        return self.shards[0].shape[1]

    def __len__(self) -> int:
        return len(self.rows)

    def pictures(self, objects: np.ndarray, views: np.ndarray) -> np.ndarray:
        """[n, S, S, 3] uint8 of n pairs of object and view"""
        return np.stack([self.shards[s][row, view] for (s, row), view in zip(self.places[objects], views, strict=True)])


def drawn(
    folder: Path,
    split: Split,
    numbers: int,
    views: int,
    side: int,
    workers: int,
    told: Callable[[int, int], None],
    length: int = LENGTH,
) -> Library:
    """The split's objects among the first `numbers` of its corpus. What the folder holds of them is not drawn again.

    `told` hears how many shards there are of how many.
    """
    place = folder / f"v{VERSION}-{views}x{side}-{length}"
    count = -(-numbers // length)
    lacking = [shard for shard in range(count) if not (place / split.name / f"{shard:05d}.jsonl").exists()]
    done = count - len(lacking)
    told(done, count)
    with ThreadPoolExecutor(workers) as pool:
        given = [[str(place), split.name, str(views), str(side), str(shard), str(length)] for shard in lacking]
        for _ in pool.map(_draw, given):
            done += 1
            told(done, count)
    return read(place / split.name, count)


def read(folder: Path, count: int) -> Library:
    """The first `count` shards."""
    rows, shards, places = [], [], []
    for shard in range(count):
        shards.append(np.load(folder / f"{shard:05d}.npy", mmap_mode="r"))
        lines = (folder / f"{shard:05d}.jsonl").read_text().splitlines()
        rows += [json.loads(line) for line in lines]
        places += [(shard, row) for row in range(len(lines))]
    return Library(rows, shards, np.array(places, np.int64).reshape(-1, 2))


def _draw(given: list[str]) -> None:
    command = [sys.executable, "-m", "stages.embedded.training.renders", *given]
    made = subprocess.run(command, env=os.environ | Render.environment, capture_output=True, text=True, check=False)
    if made.returncode:
        raise RuntimeError(f"{' '.join(command[1:])}: {made.stderr.strip()[-2000:]}")
