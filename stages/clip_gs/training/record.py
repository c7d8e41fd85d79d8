"""What the first process of a training leaves behind: settings, curve, checkpoints, and what the terminal shows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import yaml

from stages.clip_gs.settings import Training
from stages.clip_gs.training import checkpoint
from stages.clip_gs.training.display import Display
from stages.clip_gs.training.history import History, Line

SETTINGS = "settings.yaml"


class Record:
    def __init__(self, folder: Path, settings: Training, first: int, steps: int):
        """`first` steps of `steps` are done."""
        self._folder, self._save_seconds = folder, settings.save_seconds
        text = yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)
        (folder / SETTINGS).write_text(text)
        self._history = History(folder, first)
        self._display = Display(settings, steps)
        self._saved = time.monotonic()

    @property
    def due(self) -> bool:
        return time.monotonic() - self._saved >= self._save_seconds

    def add(self, line: Line) -> None:
        self._history.add(line)
        self._display.show(line)

    def say(self, text: str) -> None:
        self._display.say(text)

    def keep(self, state: dict[str, Any]) -> None:
        """Write the history first, so that it has all steps of the checkpoint."""
        self._history.flush(to_disk=True)
        checkpoint.save(self._folder / checkpoint.LAST, state)
        self._saved = time.monotonic()

    def keep_best(self, state: dict[str, Any]) -> None:
        checkpoint.save(self._folder / checkpoint.BEST, state)

    def __enter__(self) -> Record:
        self._history.__enter__()
        self._display.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._display.__exit__(*error)
        self._history.__exit__(*error)
