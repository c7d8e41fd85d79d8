"""The questions that every row of the table answers, and its figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from stages.clip_gs.evaluation import few_shot, retrieval, zero_shot
from stages.clip_gs.evaluation.subjects import Subjects
from stages.clip_gs.evaluation.templates import LOOKS

_MOST_WORDS = 64  # of an attribute; one with more values holds numbers or sentences, not names


@dataclass(frozen=True)
class Questions:
    subjects: Subjects
    truth: torch.Tensor  # [B] int64 class; -1: none
    kinds: torch.Tensor  # [B] the same among the objects' own categories: --classes must not change the probes
    classes: torch.Tensor  # [C, D]
    trained: torch.Tensor  # [C] bool
    looks: dict[str, tuple[torch.Tensor, torch.Tensor]]  # attribute: truth [B], classes [A, D]
    seed: int


def prepare(
    subjects: Subjects,
    classes: Sequence[str],
    trained: set[str],
    templates: Sequence[str],
    encode: zero_shot.Encode,
    seed: int,
) -> Questions:
    """Encode the names of classes and attributes with the teacher."""
    of_looks = [look.replace("{kind}", kind) for kind in [*classes, "object"] for look in LOOKS]
    looks = {}
    for name, values in subjects.attributes.items():
        words = sorted({value for value in values if value})
        if 1 < len(words) <= _MOST_WORDS:
            looks[name] = (_numbers(values, words), zero_shot.class_vectors(encode, words, of_looks))
    names = sorted({name for name in subjects.categories if name})
    dimension = subjects.views.shape[1]
    return Questions(
        subjects=subjects,
        truth=_numbers(subjects.categories, classes),
        kinds=_numbers(subjects.categories, names),
        classes=zero_shot.class_vectors(encode, classes, templates) if classes else torch.zeros(0, dimension),
        trained=torch.tensor([name in trained for name in classes], dtype=torch.bool),
        looks=looks,
        seed=seed,
    )


def figures(vectors: torch.Tensor, questions: Questions, own_views: torch.Tensor | None = None) -> dict[str, Any]:
    """Compute the figures of objects with these vectors [B, D]; `own_views` as in `retrieval.retrieve`."""
    subjects, truth, seed = questions.subjects, questions.truth, questions.seed
    known = (truth >= 0).any()
    return {
        "zero_shot": zero_shot.classify(vectors, questions.classes, truth, questions.trained, seed) if known else {},
        "attributes": {
            name: zero_shot.classify(vectors, classes, values, seed=seed)["all"]
            for name, (values, classes) in questions.looks.items()
        },
        "retrieval": retrieval.retrieve(vectors, subjects, seed, own_views),
        "few_shot": few_shot.probes(vectors.cpu().numpy(), questions.kinds.numpy()),
    }


def by_chance(answers: dict[str, Any], subjects: Subjects) -> dict[str, Any]:
    """Compute the figures of guessing, for the same questions as in `answers`."""
    return {
        "zero_shot": zero_shot.by_chance(answers["zero_shot"]),
        "attributes": zero_shot.by_chance(answers["attributes"]),
        "retrieval": retrieval.by_chance(subjects),
        "few_shot": few_shot.by_chance(answers["few_shot"]),
    }


def _numbers(values: Sequence[str | None], classes: Sequence[str]) -> torch.Tensor:
    """[B] int64: the index of each value among the classes, -1 if it is not one."""
    numbers = {name: number for number, name in enumerate(classes)}
    return torch.tensor([numbers.get(value, -1) if value else -1 for value in values], dtype=torch.int64)
