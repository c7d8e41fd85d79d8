"""Keep what the first process of a training writes: settings, history, checkpoints and the display."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from stages.clip_gs.settings import Training
from stages.clip_gs.training import checkpoint
from stages.clip_gs.training.display import Display
from stages.common.training.history import Line
from stages.common.training.record import Record

SETTINGS = "settings.yaml"


class TrainingRecord(Record):
    def __init__(self, folder: Path, settings: Training, first: int, steps: int):
        """`first` steps of `steps` are done."""
        super().__init__(folder / checkpoint.LAST, first, settings.save_seconds)
        self._best = folder / checkpoint.BEST
        (folder / SETTINGS).write_text(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False))
        self._display = Display(settings, steps)

    def add(self, line: Line) -> None:
        super().add(line)
        self._display.show(line)

    def say(self, text: str) -> None:
        self._display.say(text)

    def save(self, state: dict[str, Any]) -> None:
        super().save(checkpoint.stamped(state))

    def save_best(self, state: dict[str, Any]) -> None:
        checkpoint.save(self._best, state)

    def __enter__(self) -> TrainingRecord:
        self._display.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._display.__exit__(*error)
        super().__exit__(*error)
