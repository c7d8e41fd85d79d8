"""Keep what a training resumes from: its history, and a checkpoint written from time to time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Self

from stages.common.training.checkpoint import write_checkpoint
from stages.common.training.history import History, Line


class Record:
    """`first` steps are done. The history always has all steps of the checkpoint."""

    def __init__(self, checkpoint: Path, first: int, save_seconds: float, tensorboard: bool = True):
        self._checkpoint, self._save_seconds = checkpoint, save_seconds
        self._history = History(checkpoint.parent, first, tensorboard)
        self._saved = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time for the next checkpoint."""
        return time.monotonic() - self._saved >= self._save_seconds

    def add(self, line: Line) -> None:
        self._history.add(line)

    def save(self, state: dict[str, Any]) -> None:
        self._history.flush(to_disk=True)
        write_checkpoint(self._checkpoint, state)
        self._saved = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._history.close()
