"""Where workers live. A placement starts them, hands them batches, and brings back what they tell."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from pipeline.messages import Message, Post
from stages.stage import Row

WorkerId = int


class PlacementError(Exception):
    """There is no place to work in."""


@dataclass(frozen=True)
class Capacity:
    """What all workers together may take."""

    cpus: float
    gpus: float


class Placement(ABC):
    name: str

    @abstractmethod
    def capacity(self) -> Capacity:
        """The cluster's, never the driver's own."""

    @abstractmethod
    def start(self, worker: WorkerId, post: Post) -> None: ...

    @abstractmethod
    def send(self, worker: WorkerId, rows: list[Row]) -> None:
        """Give an idle worker a batch; its messages end with BatchEnd or Died, after which it is idle again."""

    @abstractmethod
    def wait(self, seconds: float) -> list[tuple[WorkerId, Message]]:
        """What workers told, waiting this long at most for the first word."""

    @abstractmethod
    def stop(self, worker: WorkerId) -> None:
        """End an idle worker."""

    @abstractmethod
    def close(self) -> None:
        """End all workers at once, whatever they are doing."""
