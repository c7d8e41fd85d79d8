"""Decide which split a row belongs to, and which rows share a shard, from the row and the settings alone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

UNSEEN = "unseen"


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
        if wrong := [name for name in shares if not re.fullmatch(r"\w+", name)]:
            raise ValueError(f"{wrong[0]!r}: a split's name may have only letters, digits and underscores")
        if not shares or min(shares.values()) <= 0 or abs(sum(shares.values()) - 1) > 1e-6:
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
