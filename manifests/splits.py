"""Splits and blocks: which split a row belongs to, and which rows share a shard. Pure functions of row and settings."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

UNSEEN = "unseen"


class Splits(BaseModel):
    """How rows are divided. A row's own `split` column comes first, then `unseen`, then the hash of its group.

    Only the last keeps groups whole: rows of one that the first two treat differently are in different splits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    shares: dict[str, float] = {"train": 0.9, "validation": 0.05, "test": 0.05}
    """Split names and the share of groups each gets; they add up to 1."""
    unseen: list[dict[str, str]] = []
    """Rows that match every column of one of these go to the split `unseen`: [{category: chair}, {category: mug,
    color: red}]."""
    rows_per_shard: int = Field(64, ge=1)
    """About how many rows a shard holds."""

    @field_validator("shares")
    @classmethod
    def _whole(cls, shares: dict[str, float]) -> dict[str, float]:
        if wrong := [name for name in shares if not re.fullmatch(r"\w+", name)]:
            raise ValueError(f"{wrong[0]!r}: letters, digits and underscores make a split's name")
        if not shares or min(shares.values()) <= 0 or abs(sum(shares.values()) - 1) > 1e-6:
            raise ValueError("shares must be positive and add up to 1")
        return shares

    def split_of(self, row: Mapping[str, Any], content: str) -> str:
        if row.get("split"):
            return row["split"]
        told = {**row.get("extra", {}), **row}
        if any(matches(rule, told) for rule in self.unseen):
            return UNSEEN
        group = row.get("group") or content
        draw = int.from_bytes(hashlib.blake2b(str(group).encode(), digest_size=8).digest()) / 2**64
        for name, share in self.shares.items():
            if draw < share:
                return name
            draw -= share
        return next(iter(self.shares))

    def span_of(self, row: Mapping[str, Any], split: str) -> int:
        """How many sequence numbers a block of this row's split runs over: more where the split is a small share."""
        return self.rows_per_shard if row.get("split") else self.longest_span(split)

    def longest_span(self, split: str) -> int:
        return max(1, round(self.rows_per_shard / self.shares.get(split, 1.0)))


def matches(rule: Mapping[str, str], told: Mapping[str, Any]) -> bool:
    """Whether a row has every column of the rule with its value."""
    return all(str(told.get(name)) == value for name, value in rule.items())
