"""Show the progress of a long computation: a bar on a terminal, elsewhere a line each minute."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_LINE_SECONDS = 60.0


class Report(Protocol):
    """How a computation says that it has done so many of so many."""

    def __call__(self, done: int, count: int, loss: float | None = None) -> None: ...


@contextmanager
def progress_bar(title: str) -> Iterator[Report]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    last_line = 0.0
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=None)

        def report(done: int, count: int, loss: float | None = None) -> None:
            nonlocal last_line
            text = title if loss is None else f"{title}, loss {loss:.3f}"
            progress.update(task, completed=done, total=count, description=text)
            if not console.is_terminal and (time.monotonic() - last_line > _LINE_SECONDS or done == count):
                console.print(f"{text}: {done} of {count}", highlight=False)
                last_line = time.monotonic()

        yield report
