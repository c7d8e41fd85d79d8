"""The two losses, over the objects of all processes: texts, and views that vote.

An object is told apart from all others of the batch, by its likeness to the text, and a text from all others by its
likeness to the object. What is no other (an object of the same content, a text that the object has too) is left out of
the comparison. `data.others` are more texts and views that objects are told apart from.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from stages.clip_gs import settings
from stages.clip_gs.batch import Batch, Others

Gather = Callable[[torch.Tensor], torch.Tensor]


def contrastive(
    vectors: torch.Tensor, batch: Batch, scale: torch.Tensor, loss: settings.Loss, gather: Gather
) -> dict[str, torch.Tensor]:
    """`text` and `image`, to be added up; `accuracy`, detached: the share of objects whose own text is the likest.

    vectors [b, D] and batch are this process's own; gather puts together what all have, row by row, and on the way back
    adds up what all send, as torch's differentiable gathering does. All processes then have the same losses, and the
    mean of their gradients is the gradient: what DistributedDataParallel makes of them.
    """
    with torch.autocast(vectors.device.type, enabled=False):
        seen = gather(vectors.float())  # [B, D]
        texts = gather(batch.texts.float())  # [B, D]
        views = gather(batch.views.float())  # [B, K, D]
        objects, own_meanings = gather(batch.objects), gather(batch.own_meanings)
        same = alike(objects)  # [B, B]
        same_words = same | owned(own_meanings, gather(batch.meanings))
        scaled = _limited(scale, loss.most_scale) * seen
        likeness = masked(scaled @ texts.T, same_words)
        other_texts, other_views = _to_others(scaled, objects, own_meanings, batch.others, gather)
        parts = {
            "text": loss.text * both_ways(likeness, other_texts).mean(),
            "accuracy": (likeness.argmax(1) == torch.arange(len(seen), device=seen.device)).float().mean(),
        }
        votes = votes_of(views, texts, loss)
        shares = [
            (votes[:, view] * both_ways(masked(scaled @ views[:, view].T, same), other_views)).mean()
            for view in range(views.shape[1])
        ]
        return {**parts, "image": loss.image * torch.stack(shares).sum()}


def both_ways(logits: torch.Tensor, to_others: torch.Tensor) -> torch.Tensor:  # [B] of [B, B] and [B, M]
    """Half the cross entropy of each row, others with it, and half that of its column; what belongs together is on the
    diagonal."""
    own = torch.arange(len(logits), device=logits.device)
    by_row = F.cross_entropy(torch.cat([logits, to_others], dim=1), own, reduction="none")
    by_column = F.cross_entropy(logits.T, own, reduction="none")
    return (by_row + by_column) / 2


def _to_others(
    scaled: torch.Tensor, objects: torch.Tensor, own_meanings: torch.Tensor, others: Others | None, gather: Gather
) -> tuple[torch.Tensor, torch.Tensor]:
    """[B, M] objects' likenesses to the texts of the others, and to their views; minus infinity to what is no other."""
    if others is None:
        none = scaled.new_empty(len(scaled), 0)
        return none, none
    them = others.each(lambda tensor: gather(tensor).flatten(0, 1))
    same = objects[:, None] == them.objects[None, :]
    same_words = same | owned(own_meanings, them.meanings)
    to_texts = (scaled @ them.texts.float().T).masked_fill(same_words, -torch.inf)
    return to_texts, (scaled @ them.views.float().T).masked_fill(same, -torch.inf)


def votes_of(views: torch.Tensor, texts: torch.Tensor, loss: settings.Loss) -> torch.Tensor:
    """[B, K]: how much each view counts, by its cosine to the text. One that contradicts its text counts nothing."""
    cosines = torch.einsum("bkd,bd->bk", views, texts)
    if loss.voting == "none":
        return torch.full_like(cosines, 1 / cosines.shape[1])
    if loss.voting == "softmax":
        return (cosines / loss.voting_temperature).softmax(dim=1)
    return cosines.clamp_min(0) / cosines.shape[1]


def masked(logits: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
    """Off the diagonal, what is the same is no other: no share of a softmax falls to it."""
    own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    return logits.masked_fill(same & ~own, -torch.inf)


def owned(own_meanings: torch.Tensor, meanings: torch.Tensor) -> torch.Tensor:
    """[B, M] whether an object has a text, be it another one's: of own_meanings [B, C] and meanings [M]."""
    found = torch.zeros(len(own_meanings), len(meanings), dtype=torch.bool, device=meanings.device)
    for column in own_meanings.T:
        found |= column[:, None] == meanings[None, :]
    return found


def alike(numbers: torch.Tensor) -> torch.Tensor:  # [B, B] of [B]
    return numbers[:, None] == numbers[None, :]


def _limited(scale: torch.Tensor, most: float) -> torch.Tensor:
    """At most so much, but with a gradient beyond it too: by a plain clamp it would never come back."""
    return scale - (scale - most).clamp_min(0).detach()
