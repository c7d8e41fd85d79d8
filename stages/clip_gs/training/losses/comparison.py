"""Compare the objects of a step, of all processes, with the teacher's vectors of their texts and views."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from stages.clip_gs.batch import Batch

Gather = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Comparison:
    """B objects with a text and K views each, and M further texts and views (`data.others`) as negatives.

    Similarities are cosines times the scale. Pairs that are not negatives (another object of the same content, a text
    that the object has too) are minus infinity, so that they take no part in a softmax.
    """

    objects: torch.Tensor  # [B, D] the network's vectors, length 1
    scaled: torch.Tensor  # [B, D] times the scale
    texts: torch.Tensor  # [B, D]
    views: torch.Tensor  # [B, K, D]
    same_object: torch.Tensor  # [B, B] bool: equal content
    to_texts: torch.Tensor  # [B, B] similarity of each object to each text
    to_further_texts: torch.Tensor  # [B, M]
    to_further_views: torch.Tensor  # [B, M]

    @staticmethod
    def of(vectors: torch.Tensor, batch: Batch, scale: torch.Tensor, gather: Gather) -> Comparison:
        """`vectors` [b, D] and `batch` are this process's; `gather` joins the rows of all processes."""
        objects, texts, views = gather(vectors.float()), gather(batch.texts.float()), gather(batch.views.float())
        contents, own_texts = gather(batch.objects), gather(batch.own_meanings)
        same_object = equal_pairs(contents)
        scaled = scale * objects
        to_texts = masked(scaled @ texts.T, same_object | has_text(own_texts, gather(batch.meanings)))
        if batch.others is None:
            to_further_texts = to_further_views = scaled.new_empty(len(scaled), 0)
        else:
            others = batch.others.each(lambda tensor: gather(tensor).flatten(0, 1))
            same = contents[:, None] == others.objects[None, :]
            same_text = same | has_text(own_texts, others.meanings)
            to_further_texts = (scaled @ others.texts.float().T).masked_fill(same_text, -torch.inf)
            to_further_views = (scaled @ others.views.float().T).masked_fill(same, -torch.inf)
        return Comparison(objects, scaled, texts, views, same_object, to_texts, to_further_texts, to_further_views)

    def to_views(self, view: int) -> torch.Tensor:
        """[B, B] similarity of each object to this view of each object."""
        return masked(self.scaled @ self.views[:, view].T, self.same_object)

    def accuracy(self) -> torch.Tensor:
        """The share of objects whose own text is the most similar one in the batch, detached."""
        own = torch.arange(len(self.objects), device=self.objects.device)
        return (self.to_texts.detach().argmax(1) == own).float().mean()


def info_nce(logits: torch.Tensor, further: torch.Tensor) -> torch.Tensor:  # [B] of [B, B] and [B, M]
    """Half the cross entropy of each row with `further`, and half that of its column; pairs are on the diagonal."""
    own = torch.arange(len(logits), device=logits.device)
    by_row = F.cross_entropy(torch.cat([logits, further], dim=1), own, reduction="none")
    by_column = F.cross_entropy(logits.T, own, reduction="none")
    return (by_row + by_column) / 2


def masked(logits: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
    """Set what is the same to minus infinity, except on the diagonal."""
    own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    return logits.masked_fill(same & ~own, -torch.inf)


def has_text(own_texts: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    """[B, M] bool: whether an object, whose texts are own_texts [B, C], has the text of texts [M]."""
    found = torch.zeros(len(own_texts), len(texts), dtype=torch.bool, device=texts.device)
    for column in own_texts.T:
        found |= column[:, None] == texts[None, :]
    return found


def equal_pairs(numbers: torch.Tensor) -> torch.Tensor:  # [B, B] bool of [B]
    return numbers[:, None] == numbers[None, :]
