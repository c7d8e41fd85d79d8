"""Show the progress of a long computation: a bar with the time left in a terminal, lines with it elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from stages.common.telling import Lines, is_quiet, to_clock


class Report(Protocol):
    """How a computation says that it has done so many of so many."""

    def __call__(self, done: int, count: int, loss: float | None = None) -> None: ...


@contextmanager
def progress_bar(title: str) -> Iterator[Report]:
    console = Console(file=sys.stderr, highlight=False, markup=False)
    in_terminal = console.is_terminal and not console.is_dumb_terminal
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    lines, begun = Lines(), time.monotonic()
    hidden = is_quiet() or not in_terminal
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=hidden) as progress:
        task = progress.add_task(title, total=None)

        def report(done: int, count: int, loss: float | None = None) -> None:
            text = title if loss is None else f"{title}, loss {loss:.3f}"
            progress.update(task, completed=done, total=count, description=text)
            if not in_terminal and lines.due and 0 < done < count:
                left = (time.monotonic() - begun) / done * (count - done)
                lines.print(f"{text}: {done:,} of {count:,}, {to_clock(left)} left")

        yield report
