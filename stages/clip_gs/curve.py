"""Figures of a training: to the terminal, to curve.jsonl (a line a step), and to TensorBoard's event files."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

FILE, EVENTS = "curve.jsonl", "tensorboard"
_LINE_SECONDS = 10.0
_FLUSH_SECONDS = 1.0
_TAIL_BYTES = 1 << 16
_STEPS_BEHIND = 50  # that speed is measured over

Line = dict[str, Any]  # step, seconds, and figures; `check/` begins the names of those of the validation objects


class Curve:
    """Keeps what was written up to `first` steps and goes on behind it."""

    def __init__(self, folder: Path, first: int):
        from torch.utils.tensorboard import SummaryWriter

        path = folder / FILE
        kept = [json.dumps(line) + "\n" for line in read(path) if line["step"] <= first]  # the rest is worked again
        aside = path.with_suffix(".part")
        aside.write_text("".join(kept))
        os.replace(aside, path)
        self._file = path.open("a")
        self._flushed = 0.0
        self._events = SummaryWriter(str(folder / EVENTS), purge_step=first + 1)

    def add(self, line: Line) -> None:
        self._file.write(json.dumps(line) + "\n")
        for name in line.keys() - {"step"}:
            self._events.add_scalar(name if "/" in name else f"train/{name}", line[name], line["step"])
        if time.monotonic() - self._flushed >= _FLUSH_SECONDS:
            self.flush()

    def flush(self, to_disk: bool = False) -> None:
        self._file.flush()
        if to_disk:
            os.fsync(self._file.fileno())
        self._flushed = time.monotonic()

    def __enter__(self) -> Curve:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._events.close()


def read(path: Path) -> list[Line]:
    """The whole lines up to one that a kill or a power cut has spoilt."""
    found = []
    for line in path.read_bytes().split(b"\n")[:-1] if path.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found


def newest(path: Path, after: int) -> list[Line]:
    """Lines of later steps among the last of a file that another process may be writing."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        start = max(0, file.seek(0, 2) - _TAIL_BYTES)
        file.seek(start)
        lines = file.read().split(b"\n")
    found = [json.loads(line) for line in lines[1 if start else 0 : -1]]
    return [line for line in found if line["step"] > after]


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
