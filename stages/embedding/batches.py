"""Run a model on the pictures or texts of many rows in batches, and give each row its vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from stages.contract.stage import RowId, StageError

Items = Sequence[Any]  # the pictures or texts of a row
Encode = Callable[[Items], np.ndarray]  # to [n, D]; raises MemoryError if they are too many


class Batches:
    """Batches of at most `size` items; if `pooled`, the items of several rows share a batch.

    If not pooled, a row's vectors do not depend on other rows, to the last bit.
    """

    def __init__(self, encode: Encode, size: int, pooled: bool):
        self.encode = encode
        self.size = size  # halved if memory runs out, and kept
        self.pooled = pooled

    def run(self, rows: Iterable[tuple[RowId, Items | StageError]]) -> Iterator[tuple[RowId, np.ndarray | StageError]]:
        """Yield the vectors [n, D] of each row; errors are passed on."""
        batch: list[tuple[RowId, Items]] = []
        count = 0
        for row_id, items in rows:
            if isinstance(items, StageError):
                yield row_id, items
                continue
            if batch and count + len(items) > self.size:
                yield from self._encode(batch)
                batch, count = [], 0
            batch.append((row_id, items))
            count += len(items)
            if not self.pooled or count >= self.size:
                yield from self._encode(batch)
                batch, count = [], 0
        yield from self._encode(batch)

    def _encode(self, batch: list[tuple[RowId, Items]]) -> Iterator[tuple[RowId, np.ndarray | StageError]]:
        if not batch:
            return
        try:
            vectors = self._encode_all([item for _, items in batch for item in items])
        except MemoryError as error:
            for row_id, _ in batch:
                yield row_id, StageError("out_of_memory", f"even a batch of one does not fit: {error}", transient=True)
            return
        start = 0
        for row_id, items in batch:
            own = vectors[start : start + len(items)]
            start += len(items)
            if np.isfinite(own).all():
                yield row_id, own
            else:
                yield row_id, StageError("not_finite", "the teacher gave vectors that are not finite or have length 0")

    def _encode_all(self, items: list[Any]) -> np.ndarray:
        parts, start = [], 0
        while start < len(items):
            batches = -(-(len(items) - start) // self.size)
            count = -(-(len(items) - start) // batches)  # batches of nearly equal size
            try:
                parts.append(self.encode(items[start : start + count]))
                start += count
            except MemoryError:
                if count == 1:
                    raise
                self.size = -(-count // 2)
        return np.concatenate(parts)
