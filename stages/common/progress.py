"""A progress bar; where there is no terminal, a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_LINE_SECONDS = 60.0


@contextmanager
def shown(title: str) -> Iterator[Callable[..., None]]:
    """Hears (done, count) or (done, count, loss)."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    said = 0.0
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=None)

        def told(done: int, count: int, loss: float | None = None) -> None:
            nonlocal said
            text = title if loss is None else f"{title}, loss {loss:.3f}"
            progress.update(task, completed=done, total=count, description=text)
            if not console.is_terminal and (time.monotonic() - said > _LINE_SECONDS or done == count):
                console.print(f"{text}: {done} of {count}", highlight=False)
                said = time.monotonic()

        yield told
