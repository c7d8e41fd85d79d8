"""Finding objects by texts and pictures, and texts and pictures by objects.

A query is right within the first k when its best right item is among them. Right are

- text to object: the objects that have the text. Texts are equal where `subjects.normal` says so, and objects that
  share a text are right for one another's.
- object to text: the texts it has. A text that several objects have stands in the gallery once.
- view to object: the object that is seen.
- object to view: any view of it.

Ties are broken against us: a wrong item that scores as high as the best right one stands before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from stages.clip_gs.evaluation.intervals import Figure, exact, figures
from stages.clip_gs.evaluation.ranking import rank
from stages.clip_gs.evaluation.subjects import Subjects

FIRST = (1, 5, 10)
Recalls = dict[str, int | Figure | None]


@dataclass(frozen=True)
class Direction:
    """Who asks whom. `query` and `item`, sorted by query, are the right pairs."""

    queries: int
    gallery: int
    query: torch.Tensor  # [p] int64
    item: torch.Tensor  # [p] int64
    asked: torch.Tensor  # [a] int64, a query, each time that it is asked
    by: torch.Tensor  # [a] int64, the object that it counts for


def directions(subjects: Subjects) -> dict[str, Direction]:
    objects, texts, views = len(subjects.ids), len(subjects.texts), len(subjects.views)
    told, said, seen = subjects.told, subjects.said, subjects.seen
    shown = torch.arange(views)
    by_text = torch.argsort(said, stable=True)
    return {
        "text_to_3d": Direction(texts, objects, said[by_text], told[by_text], said, told),
        "3d_to_text": Direction(objects, texts, told, said, told.unique(), told.unique()),
        "image_to_3d": Direction(views, objects, shown, seen, shown, seen),
        "3d_to_image": Direction(objects, views, seen, shown, seen.unique(), seen.unique()),
    }


def retrieve(
    vectors: torch.Tensor, subjects: Subjects, seed: int = 0, own_views: torch.Tensor | None = None
) -> dict[str, Recalls]:
    """R@1, R@5, R@10 in each direction, of objects whose vectors [B, D] are given.

    `own_views` [W] are the scores of the views with their own objects, where they are not what the vectors say.
    """
    sides = {"text": subjects.texts, "image": subjects.views, "3d": vectors}
    found = {}
    for name, direction in directions(subjects).items():
        asking, asked = (sides[side].to(vectors.device) for side in name.split("_to_"))
        own = own_views if "image" in name else None
        places = rank(asking, asked, direction.query, direction.item, own).cpu()
        found[name] = _recalls(places, direction, len(subjects.ids), seed)
    return found


def by_chance(subjects: Subjects) -> dict[str, Recalls]:
    """What an order drawn at random would reach."""
    found = {}
    for name, direction in directions(subjects).items():
        right = torch.bincount(direction.query, minlength=direction.queries)[direction.asked].double()  # [a]
        recalls: Recalls = {"queries": len(direction.asked), "gallery": direction.gallery}
        for first in FIRST:
            drawn = torch.arange(min(first, direction.gallery))
            missed = (direction.gallery - right[:, None] - drawn).clamp(min=0) / (direction.gallery - drawn)
            recalls[f"r_{first}"] = exact(float((1 - missed.prod(1)).mean())) if len(right) else None
        found[name] = recalls
    return found


def _recalls(places: torch.Tensor, direction: Direction, objects: int, seed: int) -> Recalls:
    right = (places[direction.asked, None] <= torch.tensor(FIRST)).double()  # [a, 3]
    sums = torch.zeros(objects, len(FIRST), dtype=torch.float64).index_add_(0, direction.by, right)
    counts = torch.bincount(direction.by, minlength=objects).double()[:, None].repeat(1, len(FIRST))
    told = figures(sums.numpy(), counts.numpy(), seed)
    shares = {f"r_{first}": figure for first, figure in zip(FIRST, told, strict=True)}
    return {"queries": len(direction.asked), "gallery": direction.gallery, **shares}
