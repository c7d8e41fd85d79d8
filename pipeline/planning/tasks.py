"""Tasks: the work of one stage on one row, or on one block of rows; and their results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stages.contract.stage import RowId

if TYPE_CHECKING:
    from manifests.records import SeenFile  # which imports Arrow: a worker should start fast


@dataclass(frozen=True, slots=True)
class RowTask:
    stage: str
    row: int  # its number in the listing


@dataclass(frozen=True, slots=True)
class BlockTask:
    stage: str
    block: int


Task = RowTask | BlockTask

# Inputs of a task that are missing: by id of the row, or of a member of the block, the stages whose outcomes are gone.
LostInputs = dict[RowId, tuple[str, ...]]


@dataclass(frozen=True)
class Result:
    """The result of one row or block at one stage."""

    id: str
    key: str
    ok: bool
    reason: str = ""
    detail: str = ""
    transient: bool = False
    columns: dict[str, Any] = field(default_factory=dict)
    files: list[SeenFile] = field(default_factory=list)
    lost: LostInputs = field(default_factory=dict)
    content: str = ""
    seconds: float = 0.0
