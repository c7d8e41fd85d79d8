"""Pictures or texts of many rows through a model in batches, and back to their rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from stages.contract.stage import RowId, StageError

Items = Sequence[Any]  # what a row has: pictures or texts
Encode = Callable[[Items], np.ndarray]  # [n, D]; MemoryError where so many are too much at once


class Batches:
    """`size`: so many items at once at most. `pooled`: items of several rows share a batch.

    Not pooled, a row's vectors do not depend on what else was at hand, down to the last bit.
    """

    def __init__(self, encode: Encode, size: int, pooled: bool):
        self.encode = encode
        self.size = size  # halved where memory ends, and left so
        self.pooled = pooled

    def run(self, rows: Iterable[tuple[RowId, Items | StageError]]) -> Iterator[tuple[RowId, np.ndarray | StageError]]:
        """Each row's vectors [n, D]; errors pass through."""
        held: list[tuple[RowId, Items]] = []
        waiting = 0
        for row_id, items in rows:
            if isinstance(items, StageError):
                yield row_id, items
                continue
            if held and waiting + len(items) > self.size:
                yield from self._encode(held)
                held, waiting = [], 0
            held.append((row_id, items))
            waiting += len(items)
            if not self.pooled or waiting >= self.size:
                yield from self._encode(held)
                held, waiting = [], 0
        yield from self._encode(held)

    def _encode(self, held: list[tuple[RowId, Items]]) -> Iterator[tuple[RowId, np.ndarray | StageError]]:
        if not held:
            return
        try:
            vectors = self._encode_all([item for _, items in held for item in items])
        except MemoryError as error:
            for row_id, _ in held:
                yield row_id, StageError("out_of_memory", f"even one at a time is too much: {error}", transient=True)
            return
        start = 0
        for row_id, items in held:
            found = vectors[start : start + len(items)]
            start += len(items)
            if np.isfinite(found).all():
                yield row_id, found
            else:
                yield row_id, StageError("not_finite", "the teacher's vectors are not finite, or of length 0")

    def _encode_all(self, items: list[Any]) -> np.ndarray:
        found, start = [], 0
        while start < len(items):
            batches = -(-(len(items) - start) // self.size)
            count = -(-(len(items) - start) // batches)  # batches alike in size
            try:
                found.append(self.encode(items[start : start + count]))
                start += count
            except MemoryError:
                if count == 1:
                    raise
                self.size = -(-count // 2)
        return np.concatenate(found)
