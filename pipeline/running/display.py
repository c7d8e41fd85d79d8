"""Show the figures of a build while it runs: a live table in a terminal, else a line every ten seconds."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.live import Live

from pipeline.command_line.console import plain_console
from pipeline.planning.figures import Figures, to_line, to_table

_LIVE_SECONDS = 0.5
_LINE_SECONDS = 10.0
_SLOW_SECONDS = 2.0


def tell(text: str) -> None:
    """Print a sentence about what a build does or is going to do."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def tell_if_slow(what: str) -> Iterator[None]:
    """Say what is going on if it takes longer than two seconds."""
    timer = threading.Timer(_SLOW_SECONDS, tell, [f"{what} ..."])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Display:
    def __init__(self) -> None:
        self._console = plain_console(file=sys.stderr)
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._shown_at = 0.0
        self.interval_seconds = _LIVE_SECONDS if self._live else _LINE_SECONDS

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
        self._shown_at = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    @property
    def due(self) -> bool:
        return time.monotonic() - self._shown_at >= self.interval_seconds

    def show(self, figures: Figures) -> None:
        self._shown_at = time.monotonic()
        if self._live:
            self._live.update(to_table(figures), refresh=True)
        else:
            print(f"{time.strftime('%H:%M:%S')} {to_line(figures)}", file=sys.stderr, flush=True)
