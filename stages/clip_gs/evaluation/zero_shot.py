"""Naming an object by the nearest of some names, whose vectors a teacher makes of their words.

Of each class: the templates filled with its name, each text's vector normalised, their mean, normalised again. A class
that is as near as the right one stands before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from stages.clip_gs.evaluation.intervals import exact, figures
from stages.clip_gs.evaluation.ranking import rank
from stages.clip_gs.evaluation.templates import filled

FIRST = (1, 3, 5)
Read = Callable[[Sequence[str]], np.ndarray]  # texts to their vectors, [n, D]
Group = dict[str, Any]  # objects, classes, among: int; top_1, class_top_1, ...: Figure or None


def class_vectors(read: Read, classes: Sequence[str], templates: Sequence[str]) -> torch.Tensor:
    """[C, D] float32, length 1"""
    texts = [filled(template, name) for name in classes for template in templates]
    vectors = torch.from_numpy(read(texts)).float().reshape(len(classes), len(templates), -1)
    mean = torch.nn.functional.normalize(vectors, dim=2).mean(1)
    return torch.nn.functional.normalize(mean, dim=1)


def name_all(
    vectors: torch.Tensor,
    classes: torch.Tensor,
    truth: torch.Tensor,
    trained: torch.Tensor | None = None,
    seed: int = 0,
) -> dict[str, Group]:
    """Objects [B, D] by classes [C, D]; `truth` [B] is each one's class, -1 where it has none.

    Where `trained` [C] tells some classes from others: these apart, named among all classes, and those never trained
    once more among themselves.
    """
    known = truth >= 0
    vectors, truth = vectors[known.to(vectors.device)], truth[known]
    places = _places(vectors, classes, truth)
    found = {"all": _group(places, truth, len(classes), seed)}
    if trained is not None and 0 < int(trained[truth].sum()) < len(truth):
        seen = trained[truth]
        found["trained"] = _group(places[seen], truth[seen], len(classes), seed)
        found["never_trained"] = _group(places[~seen], truth[~seen], len(classes), seed)
        among = (~trained).nonzero()[:, 0]
        if len(among) > 1:
            left = torch.searchsorted(among, truth[~seen])
            places = _places(vectors[~seen.to(vectors.device)], classes[among.to(classes.device)], left)
            found["never_trained_among_themselves"] = _group(places, left, len(among), seed)
    return found


def by_chance(groups: dict[str, Group]) -> dict[str, Group]:
    """What guessing would reach in the same groups."""
    return {
        name: {
            **{kind: group[kind] for kind in ("objects", "classes", "among")},
            **{
                f"{prefix}top_{first}": exact(min(1.0, first / group["among"]))
                for prefix in ("", "class_")
                for first in FIRST
            },
        }
        for name, group in groups.items()
    }


def _places(vectors: torch.Tensor, classes: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """[B] int64: the place of each object's own class, from 1."""
    return rank(vectors, classes, torch.arange(len(truth)), truth).cpu()


def _group(places: torch.Tensor, truth: torch.Tensor, among: int, seed: int) -> Group:
    """`top_k`: the mean over objects; `class_top_k`: over the classes that have any, each of the mean over its own."""
    right = (places[:, None] <= torch.tensor(FIRST)).double().numpy()  # [B, 3]
    names, number = np.unique(truth.numpy(), return_inverse=True)
    sums = np.zeros((len(names), len(FIRST)))
    np.add.at(sums, number, right)
    means = sums / np.bincount(number, minlength=len(names))[:, None]
    group: Group = {"objects": len(right), "classes": len(names), "among": among}
    for prefix, shares in (("", right), ("class_", means)):
        told = figures(shares, np.ones_like(shares), seed)
        group |= {f"{prefix}top_{first}": figure for first, figure in zip(FIRST, told, strict=True)}
    return group
