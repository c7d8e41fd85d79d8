"""Show the progress of a training in the terminal."""

from __future__ import annotations

import sys
import time
from collections import deque

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from stages.clip_gs.settings import Training
from stages.common.training.history import Line

_LINE_SECONDS = 10.0
_SPEED_STEPS = 50  # over which the speed is measured


class Display:
    """Shows a bar in a terminal; elsewhere a line every ten seconds, after the first step, and after the last."""

    def __init__(self, settings: Training, steps: int):
        self._steps, self._batch = steps, settings.batch
        self._terms = [name for name, weight in settings.loss.weights.items() if weight]
        self._recent: deque[tuple[int, float]] = deque(maxlen=_SPEED_STEPS)  # steps done, and the seconds they took
        self._last_line = 0.0
        self._console = Console(file=sys.stderr, highlight=False, markup=False, soft_wrap=True)
        columns = (BarColumn(16), MofNCompleteColumn(), TextColumn("{task.description}"))
        self._bar = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self._bar.add_task("", total=steps)

    def show(self, line: Line) -> None:
        step, now = line["step"], time.monotonic()
        self._recent.append((step, line["seconds"]))
        terms = ", ".join(f"{name} {line[name]:.3f}" for name in self._terms)
        text = f"loss {line['loss']:.3f} ({terms}), accuracy {line['accuracy']:.0%}{self._speed()}"
        self._bar.update(self._task, completed=step, description=text)
        if self._bar.disable and (now - self._last_line >= _LINE_SECONDS or step == self._steps):
            self._last_line = now
            self.say(f"step {step} of {self._steps}: {text}")
        if "check/recall" in line:
            checked = f"text to 3D R@1 {line['check/recall']:.1%}, loss {line['check/loss']:.3f}"
            self.say(f"step {step}: {checked} in validation")

    def _speed(self) -> str:
        (first, start), (last, end) = self._recent[0], self._recent[-1]
        if last <= first:
            return ""
        seconds = max(end - start, 1e-6) / (last - first)  # per step
        return f", {self._batch / seconds:,.0f} objects/s, {_clock(seconds * (self._steps - last))} left"

    def say(self, text: str) -> None:
        if self._bar.disable:
            text = f"{time.strftime('%H:%M:%S')} {text}"
        self._console.print(text)

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
