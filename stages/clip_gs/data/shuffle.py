"""In which order rows are seen: a function of seed and epoch that needs no data, so that any step can be found at once.

Row groups of all shards are permuted and taken together into pools. A pool's groups are dealt to lanes, each lane's
rows are permuted, and a step takes an equal part of each lane. So rows are mixed across shards, no more than a pool's
groups have to be read to have the next rows, and a process that shares a step with others reads only the lanes that its
part comes from, while all together see what one process would.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

_ORDER, _DRAWS = 1, 2  # what a seed is for: without, that of epoch 3 would be that of step 3


@dataclass(frozen=True)
class Lane:
    """Rows that lie in memory together."""

    groups: tuple[int, ...]
    order: np.ndarray  # [R, 2] group, row among those of it that are seen


@dataclass(frozen=True)
class Pool:
    lanes: tuple[Lane, ...]
    steps: int  # that it is enough for


def pools(sizes: Sequence[int], pool_rows: int, lanes: int, batch: int, seed: int, epoch: int) -> Iterator[Pool]:
    """An epoch's pools; `sizes`: how many rows of each group are seen. Lanes must divide the batch.

    A pool has more than `pool_rows` rows only where it is one group, but for rows, fewer than a step's, that the pool
    before has left over. The last pool is one lane, of all that is left.
    """
    random = np.random.default_rng([seed, _ORDER, epoch])
    part = batch // lanes
    left = [_NONE] * lanes
    gathered: list[int] = []
    for group in random.permutation(np.flatnonzero(sizes)).tolist():
        if gathered and sum(sizes[one] for one in (*gathered, group)) > pool_rows:
            dealt = _dealt(gathered, sizes, left)
            steps = min(map(len, dealt)) // part
            if steps:
                yield Pool(tuple(_mixed(rows[: steps * part], random) for rows in dealt), steps)
            left, gathered = [rows[steps * part :] for rows in dealt], []
        gathered.append(group)
    rows = np.concatenate([*left, *(_rows_of(group, sizes) for group in gathered)])
    yield Pool((_mixed(rows, random),), len(rows) // batch)


_NONE = np.empty((0, 2), np.int64)


def _dealt(groups: Sequence[int], sizes: Sequence[int], left: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What is left and the groups' rows, each group to the lane that has the fewest."""
    dealt = list(left)
    for group in groups:
        lane = min(range(len(dealt)), key=lambda lane: len(dealt[lane]))
        dealt[lane] = np.concatenate([dealt[lane], _rows_of(group, sizes)])
    return dealt


def _rows_of(group: int, sizes: Sequence[int]) -> np.ndarray:
    return np.stack([np.full(sizes[group], group), np.arange(sizes[group])], axis=1)


def _mixed(rows: np.ndarray, random: np.random.Generator) -> Lane:
    return Lane(tuple(dict.fromkeys(rows[:, 0].tolist())), random.permutation(rows))


def draws(seed: int, step: int, position: int) -> np.random.Generator:
    """What is drawn for one object of a step, whichever process sees it."""
    return np.random.default_rng([seed, _DRAWS, step, position])
