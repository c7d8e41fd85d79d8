"""In which order rows are seen: a function of seed and epoch that needs no data, so that any step can be found at once.

Row groups of all shards are permuted and taken together into pools; a pool's rows are permuted. So rows are mixed
across shards, and no more than a pool's groups have to be read to have the next rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

_ORDER, _DRAWS = 1, 2  # what a seed is for: without, that of epoch 3 would be that of step 3


@dataclass(frozen=True)
class Pool:
    """Rows that lie in memory together."""

    groups: tuple[int, ...]
    order: np.ndarray  # [R, 2] group, row among those of it that are seen


def pools(sizes: Sequence[int], pool_rows: int, seed: int, epoch: int) -> Iterator[Pool]:
    """An epoch's pools; `sizes`: how many rows of each group are seen. A pool has more than `pool_rows` rows only where
    it is one group."""
    random = np.random.default_rng([seed, _ORDER, epoch])
    gathered: list[int] = []
    for group in random.permutation(np.flatnonzero(sizes)).tolist():
        if gathered and sum(sizes[one] for one in (*gathered, group)) > pool_rows:
            yield _mixed(gathered, sizes, random)
            gathered = []
        gathered.append(group)
    if gathered:
        yield _mixed(gathered, sizes, random)


def _mixed(groups: Sequence[int], sizes: Sequence[int], random: np.random.Generator) -> Pool:
    rows = np.concatenate([np.stack([np.full(sizes[group], group), np.arange(sizes[group])], 1) for group in groups])
    return Pool(tuple(groups), random.permutation(rows))


def draws(seed: int, step: int, position: int) -> np.random.Generator:
    """What is drawn for one object of a step, whichever process sees it."""
    return np.random.default_rng([seed, _DRAWS, step, position])
