"""Show the progress of a training in the terminal."""

from __future__ import annotations

import sys
import time
from collections import deque

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from stages.clip_gs.training.history import Line

_LINE_SECONDS = 10.0
_STEPS_BEHIND = 50  # over which the speed is measured


class Display:
    """A bar in a terminal; elsewhere a line every ten seconds, the first and the last."""

    def __init__(self, steps: int, batch: int):
        self._steps, self._batch = steps, batch
        self._before: deque[tuple[int, float]] = deque(maxlen=_STEPS_BEHIND)  # steps, and the seconds they took
        self._said = 0.0
        console = Console(file=sys.stderr, highlight=False, markup=False, soft_wrap=True)
        self._bar = self._task = None
        if console.is_terminal:
            columns = (BarColumn(16), MofNCompleteColumn(), TextColumn("{task.description}"))
            self._bar = Progress(*columns, console=console)
            self._task = self._bar.add_task("", total=steps)

    def show(self, line: Line) -> None:
        step, now = line["step"], time.monotonic()
        self._before.append((step, line["seconds"]))
        told = f"loss {line['loss']:.3f}, {line['accuracy']:.0%} right{self._speed()}"
        if self._bar:
            self._bar.update(self._task, completed=step, description=told)
        elif now - self._said >= _LINE_SECONDS or step == self._steps:
            self._said = now
            self.say(f"step {step} of {self._steps}: {told}")
        if "check/recall" in line:
            self.say(f"step {step}: text to 3D R@1 {line['check/recall']:.1%}, loss {line['check/loss']:.3f} on others")

    def _speed(self) -> str:
        (first, then), (last, now) = self._before[0], self._before[-1]
        if last <= first:
            return ""
        each = max(now - then, 1e-6) / (last - first)
        return f", {self._batch / each:,.0f} objects/s, {_clock(each * (self._steps - last))} left"

    def say(self, text: str) -> None:
        if self._bar:
            self._bar.console.print(text)
        else:
            print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

    def __enter__(self) -> Display:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
