"""Divide the objects of the demo corpus into those that train the models and those that measure them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stages.corpus.categories import CATEGORIES
from stages.corpus.colors import COLORS
from stages.corpus.corpus import Corpus

_NAMES = [category.name for category in CATEGORIES]
_EVERY = 8  # of the pairs of category and colour, one in this many is never trained


def kept_back(columns: dict[str, Any]) -> bool:
    """Whether the object's category and main colour are a pair that no training object has.

    Each category lacks one or two colours and each colour six categories, so the models know both well separately.
    """
    category = _NAMES.index(columns["category"])
    if len(CATEGORIES[category].colors) == 1:  # a snowman is white
        return False
    return (category + 3 * COLORS.index(columns["color"])) % _EVERY == 0


@dataclass(frozen=True)
class Split:
    """Objects of one seed, those of the pairs that are kept back or those of all others."""

    name: str
    seed: int  # none is 0: the demo's own objects are new to the models
    pairs_kept_back: bool = False

    def corpus(self) -> Corpus:
        return Corpus(count=1, seed=self.seed)

    def has(self, columns: dict[str, Any]) -> bool:
        return kept_back(columns) == self.pairs_kept_back


TRAIN = Split("train", seed=1001)
INSTANCES = Split("instances", seed=2002)  # new objects
COMBINATIONS = Split("combinations", seed=2002, pairs_kept_back=True)  # and new pairs of colour and category
SPLITS = {split.name: split for split in (TRAIN, INSTANCES, COMBINATIONS)}
