"""Show the progress of a training in the terminal."""

from __future__ import annotations

import sys
from collections import deque

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from stages.clip_gs.settings import Training
from stages.common.telling import Lines, is_quiet, to_clock
from stages.common.training.history import Line

_SPEED_STEPS = 50  # over which the speed is measured


class Display:
    """Shows a bar in a terminal; elsewhere lines now and then, after the first step, and after the last."""

    def __init__(self, settings: Training, steps: int):
        self._steps, self._batch = steps, settings.batch
        self._terms = [name for name, weight in settings.loss.weights.items() if weight]
        self._recent: deque[tuple[int, float]] = deque(maxlen=_SPEED_STEPS)  # steps done, and the seconds they took
        self._lines = Lines()
        self._shown = False
        self._console = Console(file=sys.stderr, highlight=False, markup=False, soft_wrap=True)
        self._in_terminal = self._console.is_terminal and not self._console.is_dumb_terminal
        columns = (BarColumn(16), MofNCompleteColumn(), TextColumn("{task.description}"))
        self._bar = Progress(*columns, console=self._console, disable=not self._in_terminal or is_quiet())
        self._task = self._bar.add_task("", total=steps)

    def show(self, line: Line) -> None:
        step = line["step"]
        self._recent.append((step, line["seconds"]))
        terms = ", ".join(f"{name} {line[name]:.3f}" for name in self._terms)
        text = f"loss {line['loss']:.3f} ({terms}), accuracy {line['accuracy']:.0%}{self._speed()}"
        self._bar.update(self._task, completed=step, description=text)
        if not self._in_terminal and (self._lines.due or not self._shown or step == self._steps):
            self._shown = True
            self._lines.print(f"step {step} of {self._steps}: {text}")
        if "check/recall" in line:
            checked = f"text to 3D R@1 {line['check/recall']:.1%}, loss {line['check/loss']:.3f}"
            self.say(f"step {step}: {checked} in validation")

    def _speed(self) -> str:
        (first, start), (last, end) = self._recent[0], self._recent[-1]
        if last <= first:
            return ""
        seconds = max(end - start, 1e-6) / (last - first)  # per step
        return f", {self._batch / seconds:,.0f} objects/s, {to_clock(seconds * (self._steps - last))} left"

    def say(self, text: str) -> None:
        if not self._in_terminal:
            self._lines.print(text)
        elif not is_quiet():
            self._console.print(text)

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
