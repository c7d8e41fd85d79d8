"""Messages between the scheduler and worker processes. They are small: names of files and a few values."""

from __future__ import annotations

from dataclasses import dataclass

from manifests.text import message
from pipeline.planning.tasks import Result
from stages.contract.stage import DAMAGED, DISK_FULL, MISSING_INPUT, STORE_FAILED, Stage

# Reasons of failures that the runner gives; stages give others.
EXCEPTION = "exception"  # the stage raised an exception that is no StageError: a bug
CRASHED = "crashed"
EXITED = "exited"
TIMEOUT = "timeout"
OUT_OF_MEMORY = "out_of_memory"
LOST = "worker_lost"
OPEN_FAILED = "open_failed"  # the worker ended, for whatever reason, before it could work
# of failures that belong to no one stage
REASONS = (EXCEPTION, CRASHED, EXITED, TIMEOUT, OUT_OF_MEMORY, LOST, MISSING_INPUT, DAMAGED, DISK_FULL, STORE_FAILED)


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker needs to know to be started."""

    stage: Stage
    run: str
    gpus: float
    threads: int
    memory_gb: float
    timeout_seconds: float
    open_timeout_seconds: float
    renew_rows: int
    makers: tuple[Stage, ...] = ()  # the stages whose outcomes it reads
    source_schemes: tuple[str, ...] = ()  # of the sources that it opens, such as s3: it needs credentials for them


@dataclass(frozen=True)
class WorkerDied:
    """The worker has ended, and results it had not sent are lost. `reason`: one of those above, except EXCEPTION."""

    reason: str
    detail: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", message(self.detail))  # it may quote what the worker printed


class BatchEnd:
    """The worker has sent all results of its batch and is idle."""


class Opening:
    """A worker process is started for the batch: it loads its libraries and models."""


class Opened:
    """The worker is open and begins its batch."""


Message = list[Result] | WorkerDied | BatchEnd | Opening | Opened
