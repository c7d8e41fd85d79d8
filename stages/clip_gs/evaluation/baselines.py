"""What stands beside a checkpoint in the table: the teacher on the rendered views, the upper line."""

from __future__ import annotations

import torch

from stages.clip_gs.evaluation.subjects import Subjects


def teacher_vectors(subjects: Subjects) -> torch.Tensor:
    """[B, D] float32, length 1: the mean of each object's views."""
    return torch.nn.functional.normalize(_sums(subjects), dim=1)


def without_oneself(subjects: Subjects) -> torch.Tensor | None:
    """[W]: how like each view is to the mean of its object's other views; None where an object has no others.

    For a view must not find its object by its own share of the mean.
    """
    counts = torch.bincount(subjects.seen, minlength=len(subjects.ids))
    if (counts == 1).any():
        return None
    parts = []
    sums = _sums(subjects)
    for views, seen in zip(subjects.views.split(2**16), subjects.seen.split(2**16), strict=True):
        views = torch.nn.functional.normalize(views.float(), dim=1)
        others = torch.nn.functional.normalize(sums[seen] - views, dim=1)
        parts.append((others * views).sum(1))
    return torch.cat(parts)


def _sums(subjects: Subjects) -> torch.Tensor:
    """[B, D]"""
    sums = torch.zeros(len(subjects.ids), subjects.views.shape[1])
    for views, seen in zip(subjects.views.split(2**16), subjects.seen.split(2**16), strict=True):
        sums.index_add_(0, seen, torch.nn.functional.normalize(views.float(), dim=1))
    return sums
