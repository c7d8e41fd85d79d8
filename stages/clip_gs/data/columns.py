"""Columns of the dataset as arrays and tensors."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa
import torch

from stages.artifacts.splat import SH_ZERO
from stages.clip_gs.batch import Gaussians

GAUSSIANS = ("means", "log_scales", "quaternions", "opacity_logits", "sh", "gaussian_count")
VECTORS = ("view_vectors", "caption_vectors")

_WIDTHS = {"means": 3, "log_scales": 3, "quaternions": 4, "opacity_logits": 1, "sh": 3}  # sh: its first coefficient
_POINT = 1e-6  # radii of the unit sphere: what is smaller is not enlarged


def read_gaussians(table: pa.Table, count: int) -> Gaussians:
    """The first `count` real Gaussians of each row, on the CPU; of a row with fewer all, again and again.

    They stand in farthest-point order, so the first are a well-spread sample. Rows must be usable (`unusable`).
    """
    made = {name: np.empty((len(table), count, width), np.float32) for name, width in _WIDTHS.items()}
    stored = {name: _fixed(table, name) for name in _WIDTHS}
    length = stored["opacity_logits"].shape[1]  # N, with padding
    for row, real in enumerate(real_counts(table)):
        picked = slice(count) if real >= count else np.arange(count) % real
        for name, width in _WIDTHS.items():
            made[name][row] = stored[name][row].reshape(length, -1)[picked, :width]
        centre, radius = _frame(stored["means"][row].reshape(length, 3)[:real])
        made["means"][row] -= centre
        made["means"][row] /= radius
        made["log_scales"][row] -= np.log(radius)
    tensors = {name: torch.from_numpy(values) for name, values in made.items()}
    return Gaussians(
        means=tensors["means"],
        log_scales=tensors["log_scales"],
        quaternions=_unit(tensors["quaternions"]),
        opacity_logits=tensors["opacity_logits"][..., 0],
        colors=tensors["sh"].mul_(SH_ZERO).add_(0.5).clamp_(0, 1),
    )


def real_counts(table: pa.Table) -> np.ndarray:
    """[R] how many Gaussians of each row are no padding."""
    return table["gaussian_count"].to_numpy()


def vectors(table: pa.Table, name: str) -> list[np.ndarray]:
    """[k, D] float16 of each row; k is 0 where there are none, or none of one length."""
    rows = _whole(table, name)
    starts, lengths = rows.offsets.to_numpy(), np.diff(rows.offsets.to_numpy())
    inner = rows.values.offsets.to_numpy()
    numbers = rows.values.values.to_numpy(zero_copy_only=False)
    found = []
    for start, length in zip(starts, lengths, strict=False):  # one start more, where the last ends
        edges = inner[start : start + length + 1]
        alike = len(set(np.diff(edges))) == 1
        found.append(numbers[edges[0] : edges[-1]].reshape(length, -1) if alike else np.empty((0, 0), np.float16))
    return found


def unusable(table: pa.Table) -> dict[int, str]:
    """Which rows cannot be used, and why, by those columns of Gaussians and vectors that the table has."""
    reasons: dict[int, str] = {}
    for name in table.column_names:
        if name in _WIDTHS:
            # NaN, infinite, or large enough to overflow: the sum of squares is then not finite
            odd: Sequence[bool] | np.ndarray
            with np.errstate(all="ignore"):
                odd = [not np.isfinite(np.dot(values, values)) for values in _fixed(table, name).astype(np.float32)]
            why = f"their {name} are not finite"
        elif name in VECTORS:
            odd = [not (np.isfinite(of_row).all() and of_row.any(axis=1).all()) for of_row in vectors(table, name)]
            why = f"their {name} are not finite, or 0"
        elif name == "gaussian_count":
            odd, why = real_counts(table) < 1, "they have no Gaussians"
        else:
            continue
        reasons |= {int(row): why for row in np.flatnonzero(odd)}
    return reasons


def without(table: pa.Table, rows: Collection[int]) -> pa.Table:
    return table.filter(pa.array([row not in rows for row in range(len(table))], pa.bool_())) if rows else table


def _whole(table: pa.Table, name: str) -> pa.Array:
    column = table[name]
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _fixed(table: pa.Table, name: str) -> np.ndarray:
    """[R, width] of a column of fixed-size lists."""
    column = _whole(table, name)
    return column.flatten().to_numpy().reshape(len(table), column.type.list_size)


def _frame(means: np.ndarray) -> tuple[np.ndarray, np.float32]:
    """Centre [3] and radius of an object's real Gaussians [n, 3]."""
    means = means.astype(np.float32, copy=False)
    centre = np.ascontiguousarray(means.T).mean(axis=1)  # along memory: pairwise, so exact enough, and fast
    offsets = means - centre
    radius = np.sqrt(np.einsum("ij,ij->i", offsets, offsets).max())
    return centre, radius if radius > _POINT else np.float32(1)


def _unit(quaternions: torch.Tensor) -> torch.Tensor:
    """[..., 4], in place of length 1; one of length 0 says nothing of a rotation and becomes the identity."""
    lengths = torch.linalg.vector_norm(quaternions, dim=-1, keepdim=True)
    none = lengths[..., 0] < 1e-12
    quaternions /= lengths.clamp_min_(1e-12)
    quaternions[none] = quaternions.new_tensor([1.0, 0.0, 0.0, 0.0])
    return quaternions
