"""Tasks: the work of one stage on one row, or on one block of rows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RowTask:
    stage: str
    row: int  # its number in the listing


@dataclass(frozen=True, slots=True)
class BlockTask:
    stage: str
    block: int


Task = RowTask | BlockTask
