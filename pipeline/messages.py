"""What passes between the scheduler and a worker process. Small: only references and figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from stages.stage import Stage

# Reasons that the runner gives, not a stage.
EXCEPTION = "exception"  # the stage raised what it does not explain: a bug
DISK_FULL = "disk_full"
CRASHED = "crashed"
EXITED = "exited"
TIMEOUT = "timeout"
OUT_OF_MEMORY = "out_of_memory"
LOST = "worker_lost"
OPEN_FAILED = "open_failed"  # whatever a worker died of before it could work

DEATHS = (CRASHED, EXITED, TIMEOUT, OUT_OF_MEMORY, LOST)


@dataclass(frozen=True)
class Post:
    """All that a worker needs to know to take up its work."""

    stage: Stage
    run: str
    gpus: float
    threads: int
    memory_gb: float
    timeout_seconds: float
    open_timeout_seconds: float
    renew_rows: int


@dataclass(frozen=True)
class Result:
    """What became of one row."""

    id: str
    key: str
    ok: bool
    reason: str = ""
    detail: str = ""
    transient: bool = False
    columns: dict[str, Any] = field(default_factory=dict)
    files: list[Any] = field(default_factory=list)
    lost: tuple[str, ...] = ()  # stages whose outcomes were gone
    content: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Died:
    """The worker is gone, and with it what it had not told; `reason` is one of DEATHS or OPEN_FAILED."""

    reason: str
    detail: str


class BatchEnd:
    """The worker has told all of its batch and is free."""


Message = list[Result] | Died | BatchEnd
