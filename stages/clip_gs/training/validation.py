"""Measure a model during training on objects that it is not trained on."""

from __future__ import annotations

from collections.abc import Callable

import torch

from stages.clip_gs.batch import Batch, Gaussians
from stages.clip_gs.data import selection
from stages.clip_gs.data.loader import Loader
from stages.clip_gs.data.shards import Dataset
from stages.clip_gs.ranks import Ranks
from stages.clip_gs.settings import Training
from stages.clip_gs.training.losses import compute_losses
from stages.clip_gs.training.losses.comparison import equal_pairs, has_text

_SPLITS = ("validation", "test")
_MOST = 512  # objects


def split_of(dataset: Dataset, trained: str) -> str | None:
    """Return the split for validation. If it is `test`, the best checkpoint is chosen on test."""
    return next((split for split in _SPLITS if dataset.splits.get(split) and split != trained), None)


class Validation:
    """Uses always the same objects, views and captions, drawn by the seed; untrained categories are left out."""

    def __init__(self, settings: Training, dataset: Dataset, ranks: Ranks):
        self._settings, self._ranks = settings, ranks
        self.split = split_of(dataset, settings.data.split)
        self._batch = _drawn(self.split, settings, dataset, ranks) if self.split else None

    @torch.no_grad()
    def figures(self, vectors_of: Callable[[Gaussians], torch.Tensor], scale: torch.Tensor) -> dict[str, float]:
        """Loss; recall, text to 3D at 1; rank, the mean of 1 / place over texts and views, which steps are compared by.

        Empty where there is nothing to look at.
        """
        if self._batch is None:
            return {}
        share = self._settings.batch // self._ranks.world
        gaussians, device = self._batch.gaussians, self._ranks.device

        def vectors_from(start: int) -> torch.Tensor:
            return vectors_of(gaussians.each(lambda tensor: tensor[start : start + share]).to(device))

        parts = [vectors_from(start) for start in range(0, len(gaussians), share)]
        vectors, batch = torch.cat(parts), self._batch.to(device)
        loss = compute_losses(vectors, batch, scale, self._settings.loss, self._ranks.gather).total
        gather = self._ranks.gather
        vectors, texts, views = gather(vectors), gather(batch.texts), gather(batch.views)
        same = equal_pairs(gather(batch.objects))
        by_text = _ranks(texts, vectors, same | has_text(gather(batch.own_meanings), gather(batch.meanings)).T)
        by_view = [_ranks(views[:, view], vectors, same) for view in range(views.shape[1])]
        return {
            "check/loss": float(loss),
            "check/recall": float((by_text == 1).float().mean()),
            "check/rank": float(torch.cat([by_text, *by_view]).reciprocal().mean()),
        }


def _ranks(queries: torch.Tensor, vectors: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """[B] at which place each query [B, D] finds the best right one [B, B] of the objects; a tie is lost."""
    likeness = queries @ vectors.T
    best = likeness.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
    return 1.0 + (~right & (likeness >= best)).sum(1)


def _drawn(split: str, settings: Training, dataset: Dataset, ranks: Ranks) -> Batch | None:
    """Draw this process's share of the objects."""
    data = settings.data.model_copy(update={"split": split, "subset": "first", "others": 0})
    taken = selection.select_rows(dataset, data)
    count = min(_MOST, taken.rows) // ranks.world * ranks.world
    if count < 2:
        return None
    data = data.model_copy(update={"shuffle_rows": count})
    batches = Loader(dataset, data, settings.model.gaussians, count, ranks.rank, ranks.world, taken).batches()
    try:
        return next(batches)
    finally:
        batches.close()
