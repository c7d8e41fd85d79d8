"""The interface of a placement, which starts workers somewhere, sends them batches, and receives their messages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from pipeline.running.messages import Message, WorkerSpec
from stages.contract.stage import Row

WorkerId = int


class PlacementError(Exception):
    """Workers cannot be started there, such as on a Ray cluster that cannot be reached."""


@dataclass(frozen=True)
class Capacity:
    """The CPUs and GPUs that all workers together may use."""

    cpus: float
    gpus: float


class Placement(ABC):
    name: str

    @abstractmethod
    def capacity(self) -> Capacity:
        """The CPUs and GPUs of the machines that workers run on."""

    @abstractmethod
    def start(self, worker: WorkerId, spec: WorkerSpec) -> None: ...

    @abstractmethod
    def send(self, worker: WorkerId, rows: list[Row]) -> None:
        """Send an idle worker a batch. Its messages end with BatchEnd or WorkerDied; then it is idle again."""

    @abstractmethod
    def wait(self, seconds: float) -> list[tuple[WorkerId, Message]]:
        """Return the messages of workers; wait at most `seconds` for the first."""

    @abstractmethod
    def stop(self, worker: WorkerId) -> None:
        """Stop an idle worker."""

    @abstractmethod
    def close(self) -> None:
        """Kill all workers, whatever they are doing."""
