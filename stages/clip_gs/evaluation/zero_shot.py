"""Measure zero-shot classification: an object belongs to the class whose vector is the nearest to its own.

The vector of a class: its name in every template, each text's vector normalised, their mean, normalised again. A wrong
class that is as near as the right one ranks before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from stages.clip_gs.evaluation.intervals import exact, figures
from stages.clip_gs.evaluation.ranking import rank
from stages.clip_gs.evaluation.templates import filled

CUTOFFS = (1, 3, 5)  # k of Top-k
Encode = Callable[[Sequence[str]], np.ndarray]  # n texts to vectors, [n, D]
Group = dict[str, Any]  # objects, classes, among: int; top_1, class_top_1, ...: Figure or None


def class_vectors(encode: Encode, classes: Sequence[str], templates: Sequence[str]) -> torch.Tensor:
    """[C, D] float32, length 1"""
    texts = [filled(template, name) for name in classes for template in templates]
    vectors = torch.from_numpy(encode(texts)).float().reshape(len(classes), len(templates), -1)
    mean = torch.nn.functional.normalize(vectors, dim=2).mean(1)
    return torch.nn.functional.normalize(mean, dim=1)


def classify(
    vectors: torch.Tensor,
    classes: torch.Tensor,
    truth: torch.Tensor,
    trained: torch.Tensor | None = None,
    seed: int = 0,
) -> dict[str, Group]:
    """Classify objects [B, D] by classes [C, D]; `truth` [B] is each object's class, -1 if it has none.

    If `trained` [C] is true for some of the classes only, the objects of both kinds are also reported separately: among
    all classes, and those of classes never trained among these alone.
    """
    known = truth >= 0
    vectors, truth = vectors[known.to(vectors.device)], truth[known]
    ranks = _ranks(vectors, classes, truth)
    found = {"all": _group(ranks, truth, len(classes), seed)}
    if trained is not None and 0 < int(trained[truth].sum()) < len(truth):
        of_trained = trained[truth]
        found["trained"] = _group(ranks[of_trained], truth[of_trained], len(classes), seed)
        found["never_trained"] = _group(ranks[~of_trained], truth[~of_trained], len(classes), seed)
        untrained = (~trained).nonzero()[:, 0]
        if len(untrained) > 1:
            own = torch.searchsorted(untrained, truth[~of_trained])
            ranks = _ranks(vectors[~of_trained.to(vectors.device)], classes[untrained.to(classes.device)], own)
            found["never_trained_among_themselves"] = _group(ranks, own, len(untrained), seed)
    return found


def by_chance(groups: dict[str, Group]) -> dict[str, Group]:
    """Compute the figures of guessing in the same groups."""
    return {
        name: {
            **{kind: group[kind] for kind in ("objects", "classes", "among")},
            **{f"{prefix}top_{k}": exact(min(1.0, k / group["among"])) for prefix in ("", "class_") for k in CUTOFFS},
        }
        for name, group in groups.items()
    }


def _ranks(vectors: torch.Tensor, classes: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """[B] int64: the rank of each object's own class, from 1."""
    return rank(vectors, classes, torch.arange(len(truth)), truth).cpu()


def _group(ranks: torch.Tensor, truth: torch.Tensor, among: int, seed: int) -> Group:
    """Compute `top_k`, the mean over objects, and `class_top_k`, the mean over classes of each class's mean."""
    right = (ranks[:, None] <= torch.tensor(CUTOFFS)).double().numpy()  # [B, 3]
    names, number = np.unique(truth.numpy(), return_inverse=True)
    sums = np.zeros((len(names), len(CUTOFFS)))
    np.add.at(sums, number, right)
    means = sums / np.bincount(number, minlength=len(names))[:, None]
    group: Group = {"objects": len(right), "classes": len(names), "among": among}
    for prefix, shares in (("", right), ("class_", means)):
        values = figures(shares, np.ones_like(shares), seed)
        group |= {f"{prefix}top_{k}": value for k, value in zip(CUTOFFS, values, strict=True)}
    return group
