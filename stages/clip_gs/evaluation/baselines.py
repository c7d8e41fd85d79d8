"""Compute the vectors of the teacher on rendered views, the upper reference in the table."""

from __future__ import annotations

import torch

from stages.clip_gs.evaluation.subjects import Subjects


def teacher_vectors(subjects: Subjects) -> torch.Tensor:
    """[B, D] float32, length 1: the mean of each object's views."""
    return torch.nn.functional.normalize(_sums(subjects), dim=1)


def leave_one_out_scores(subjects: Subjects) -> torch.Tensor | None:
    """[W]: the cosine of each view and the mean of its object's other views; None if an object has one view only.

    Compared with the mean of all views, a view would find its object by its own share of the mean.
    """
    counts = torch.bincount(subjects.view_objects, minlength=len(subjects.ids))
    if (counts == 1).any():
        return None
    parts = []
    sums = _sums(subjects)
    for views, owners in zip(subjects.views.split(2**16), subjects.view_objects.split(2**16), strict=True):
        views = torch.nn.functional.normalize(views.float(), dim=1)
        others = torch.nn.functional.normalize(sums[owners] - views, dim=1)
        parts.append((others * views).sum(1))
    return torch.cat(parts)


def _sums(subjects: Subjects) -> torch.Tensor:
    """[B, D]: the sum of each object's normalised views."""
    sums = torch.zeros(len(subjects.ids), subjects.views.shape[1])
    for views, owners in zip(subjects.views.split(2**16), subjects.view_objects.split(2**16), strict=True):
        sums.index_add_(0, owners, torch.nn.functional.normalize(views.float(), dim=1))
    return sums
