"""Measure retrieval of objects by texts and views, and of texts and views by objects.

A query is correct at k if its best right item is among the first k. Right items are

- text to object: the objects that have the text. Texts are equal if `same_text.normalised` makes them equal, so
  objects that share a text are all right for it.
- object to text: the texts it has. A text that several objects have is in the gallery once.
- view to object: the object in the view.
- object to view: any view of it.

Ties count against the model: a wrong item that scores as high as the best right one ranks before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from stages.clip_gs.evaluation.intervals import Figure, exact, figures
from stages.clip_gs.evaluation.ranking import rank
from stages.clip_gs.evaluation.subjects import Subjects

CUTOFFS = (1, 5, 10)  # k of R@k
Recalls = dict[str, int | Figure | None]


@dataclass(frozen=True)
class Direction:
    """Queries and the gallery that they search. `query` and `item`, sorted by query, are the right pairs."""

    queries: int
    gallery: int
    query: torch.Tensor  # [p] int64
    item: torch.Tensor  # [p] int64
    counted: torch.Tensor  # [a] int64, the query of each answer: a text of two objects counts twice
    owners: torch.Tensor  # [a] int64, the object that each answer counts for


def directions(subjects: Subjects) -> dict[str, Direction]:
    objects, texts, views = len(subjects.ids), len(subjects.texts), len(subjects.views)
    owners, captions, view_owners = subjects.caption_objects, subjects.caption_texts, subjects.view_objects
    every_view = torch.arange(views)
    by_text = torch.argsort(captions, stable=True)
    return {
        "text_to_3d": Direction(texts, objects, captions[by_text], owners[by_text], captions, owners),
        "3d_to_text": Direction(objects, texts, owners, captions, owners.unique(), owners.unique()),
        "image_to_3d": Direction(views, objects, every_view, view_owners, every_view, view_owners),
        "3d_to_image": Direction(objects, views, view_owners, every_view, view_owners.unique(), view_owners.unique()),
    }


def retrieve(
    vectors: torch.Tensor, subjects: Subjects, seed: int = 0, own_views: torch.Tensor | None = None
) -> dict[str, Recalls]:
    """Compute R@1, R@5 and R@10 in each direction, for objects with these vectors [B, D].

    `own_views` [W] are the scores of the views with their own objects, if they are not the cosines of the vectors.
    """
    sides = {"text": subjects.texts, "image": subjects.views, "3d": vectors}
    found = {}
    for name, direction in directions(subjects).items():
        queries, gallery = (sides[side].to(vectors.device) for side in name.split("_to_"))
        own = own_views if "image" in name else None
        ranks = rank(queries, gallery, direction.query, direction.item, own).cpu()
        found[name] = _recalls(ranks, direction, len(subjects.ids), seed)
    return found


def by_chance(subjects: Subjects) -> dict[str, Recalls]:
    """Compute the expected figures of a random order."""
    found = {}
    for name, direction in directions(subjects).items():
        right = torch.bincount(direction.query, minlength=direction.queries)[direction.counted].double()  # [a]
        recalls: Recalls = {"queries": len(direction.counted), "gallery": direction.gallery}
        for k in CUTOFFS:
            drawn = torch.arange(min(k, direction.gallery))
            missed = (direction.gallery - right[:, None] - drawn).clamp(min=0) / (direction.gallery - drawn)
            recalls[f"r_{k}"] = exact(float((1 - missed.prod(1)).mean())) if len(right) else None
        found[name] = recalls
    return found


def _recalls(ranks: torch.Tensor, direction: Direction, objects: int, seed: int) -> Recalls:
    right = (ranks[direction.counted, None] <= torch.tensor(CUTOFFS)).double()  # [a, 3]
    sums = torch.zeros(objects, len(CUTOFFS), dtype=torch.float64).index_add_(0, direction.owners, right)
    counts = torch.bincount(direction.owners, minlength=objects).double()[:, None].repeat(1, len(CUTOFFS))
    values = figures(sums.numpy(), counts.numpy(), seed)
    shares = {f"r_{k}": value for k, value in zip(CUTOFFS, values, strict=True)}
    return {"queries": len(direction.counted), "gallery": direction.gallery, **shares}
