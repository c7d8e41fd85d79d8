"""Decide which split a row belongs to, and which rows share a shard, from the row and the settings alone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

UNSEEN = "unseen"
LONGEST_SPLIT = 100  # bytes of a name, which is a part of file names
MOST_SPLITS = 100  # of a dataset: each has files and an entry in the card


def is_split_name(name: str) -> bool:
    """Whether `datasets` can load a split of this name, where `all` means every split, and a file can be named so."""
    return bool(re.fullmatch(r"\w+", name)) and len(name.encode()) <= LONGEST_SPLIT and name.lower() != "all"


class Splits(BaseModel):
    """How rows are divided into splits: by the row's `split` column, else by `unseen`, else by the hash of its group.

    Only the hash keeps groups whole: the first two may put rows of one group into different splits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    shares: dict[str, float] = {"train": 0.9, "validation": 0.05, "test": 0.05}
    """The share of groups that each split gets; the shares add up to 1."""
    unseen: list[dict[str, str]] = []
    """Rows that match every column of one of these go to the split `unseen`: [{category: chair}, {category: mug,
    color: red}]."""
    rows_per_shard: int = Field(64, ge=1)
    """Approximate number of rows in a shard."""

    @field_validator("shares")
    @classmethod
    def _whole(cls, shares: dict[str, float]) -> dict[str, float]:
        if wrong := [name for name in shares if not is_split_name(name)]:
            raise ValueError(
                f"{wrong[0]!r}: a split's name may have only letters, digits and underscores, at most {LONGEST_SPLIT} "
                "bytes, and must not be `all`, which `datasets` reserves"
            )
        if not 1 <= len(shares) <= MOST_SPLITS:
            raise ValueError(f"{len(shares)} splits; expected 1 to {MOST_SPLITS}")
        if not (min(shares.values()) > 0 and abs(sum(shares.values()) - 1) <= 1e-6):  # NaN is refused too
            raise ValueError("shares must be positive and add up to 1")
        return shares

    def split_of(self, row: Mapping[str, Any], content: str) -> str:
        if row.get("split"):
            return row["split"]
        columns = {**row.get("extra", {}), **row}
        if any(matches(rule, columns) for rule in self.unseen):
            return UNSEEN
        group = row.get("group") or content
        draw = int.from_bytes(hashlib.blake2b(str(group).encode(), digest_size=8).digest()) / 2**64
        for name, share in self.shares.items():
            if draw < share:
                return name
            draw -= share
        return next(iter(self.shares))

    def span_of(self, row: Mapping[str, Any], split: str) -> int:
        """How many sequence numbers a block of this split covers: more if the split has a small share."""
        return self.rows_per_shard if row.get("split") else self.longest_span(split)

    def longest_span(self, split: str) -> int:
        return max(1, round(self.rows_per_shard / self.shares.get(split, 1.0)))


def matches(rule: Mapping[str, str], columns: Mapping[str, Any]) -> bool:
    """Whether a row has all the values that the rule names."""
    return all(str(columns.get(name)) == value for name, value in rule.items())
