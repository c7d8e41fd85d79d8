"""Compute the CLIP-GS vectors of a split, shared by processes.

Batches, and so the vectors, do not depend on the number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyarrow as pa
import torch

from stages.clip_gs.batch import Gaussians
from stages.clip_gs.data.columns import GAUSSIANS, read_gaussians, unusable
from stages.clip_gs.data.shards import Dataset, DatasetError, Group, warn_of
from stages.clip_gs.network.model import ClipGs
from stages.clip_gs.ranks import Ranks
from stages.common.prefetch import prefetch

_BATCH = 64
Progress = Callable[[int, int], None]  # objects done, of how many


@dataclass(frozen=True)
class Encoded:
    """The vectors of a split, in stored order."""

    ids: list[str]
    vectors: torch.Tensor  # [R, D] float32, on the CPU
    left_out: dict[str, str]  # rows whose Gaussians cannot be used, and why


def encode_split(
    model: ClipGs, description: dict[str, Any], dataset: Dataset, split: str, ranks: Ranks, progress: Progress
) -> Encoded:
    """Compute the vectors of a split; `description` is that of the checkpoint. Every process returns all of them."""
    model = model.to(ranks.device).eval()
    settings = description["settings"]
    short = ranks.device.type == "cuda" and settings["precision"] != "float32"
    share = _share(dataset, split, ranks)
    count = sum(min(_BATCH, group.rows - begin) for group, begin in share)
    ids: list[str] = []
    vectors: list[torch.Tensor] = []
    left_out: dict[str, str] = {}
    done = 0
    for table, reasons in _tables(dataset, share):
        left_out |= reasons
        done += len(table) + len(reasons)
        if len(table):
            gaussians = read_gaussians(table, settings["model"]["gaussians"]).to(ranks.device)
            ids += table["id"].to_pylist()
            vectors.append(_vectors(model, gaussians, short))
        progress(dataset.splits[split] * done // count, dataset.splits[split])  # the others are about as far
    own = torch.cat(vectors) if vectors else torch.zeros(0, description["dimension"])
    parts = ranks.gather_objects((ids, own.numpy(), left_out))
    whole = Encoded(
        ids=[row_id for part in parts for row_id in part[0]],
        vectors=torch.cat([torch.from_numpy(part[1]) for part in parts]),
        left_out={row_id: reason for part in parts for row_id, reason in part[2].items()},
    )
    if whole.left_out and ranks.first:
        warn_of(whole.left_out)
    if not whole.ids:
        some = next(iter(whole.left_out.items()), ("none", "there are no rows"))
        raise DatasetError(f"{dataset.place}: no row of split {split!r} can be used; {some[0]}: {some[1]}")
    return whole


def concatenated(parts: Sequence[Encoded]) -> Encoded:
    """Concatenate the vectors of several splits."""
    return Encoded(
        ids=[row_id for part in parts for row_id in part.ids],
        vectors=torch.cat([part.vectors for part in parts]),
        left_out={row_id: reason for part in parts for row_id, reason in part.left_out.items()},
    )


def _share(dataset: Dataset, split: str, ranks: Ranks) -> list[tuple[Group, int]]:
    """Return this process's batches: each as its row group and its first row in it."""
    batches = [(group, begin) for group in dataset.groups(split) for begin in range(0, group.rows, _BATCH)]
    return batches[ranks.rank * len(batches) // ranks.world : (ranks.rank + 1) * len(batches) // ranks.world]


def _tables(dataset: Dataset, share: list[tuple[Group, int]]) -> Iterator[tuple[pa.Table, dict[str, str]]]:
    """Yield a table for each batch, and the reasons of rows left out by id. The next row group is read meanwhile."""
    groups = [(group, [begin for _, begin in batches]) for group, batches in groupby(share, lambda batch: batch[0])]
    tables = prefetch(lambda wanted: dataset.read(wanted[0], ("id", *GAUSSIANS)), groups, 2)
    for (group, begins), table in zip(groups, tables, strict=True):
        for begin in begins:
            batch = table.slice(begin, _BATCH)
            reasons = unusable(batch)
            if reasons:
                dataset.refuse_damage(group.shard)
            ids = batch["id"].to_pylist()
            good = [row for row in range(len(batch)) if row not in reasons]
            yield batch.take(good) if reasons else batch, {ids[row]: reason for row, reason in reasons.items()}


@torch.inference_mode()
def _vectors(model: ClipGs, gaussians: Gaussians, short: bool) -> torch.Tensor:
    """[B, D] float32 of length 1, on the CPU."""
    with torch.autocast(gaussians.means.device.type, torch.bfloat16, enabled=short):
        found = model(gaussians)
    return torch.nn.functional.normalize(found.float(), dim=1).cpu()
