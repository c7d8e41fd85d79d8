"""Print sentences and lines of progress on standard error, unless the command is quiet."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

QUIET = "GS_TRIPLETS_QUIET"  # a variable of the environment, so that processes of a command have it too
_SLOW_SECONDS = 2.0
_LINE_SECONDS = 10.0, 60.0  # between two lines: at first, and in long work


def is_quiet() -> bool:
    """Whether no progress is to be shown."""
    return os.environ.get(QUIET, "") not in ("", "0")


@contextmanager
def quiet_if(wanted: bool) -> Iterator[None]:
    """Be quiet for a while, where that is wanted."""
    before = os.environ.get(QUIET)
    if wanted:
        os.environ[QUIET] = "1"
    try:
        yield
    finally:
        if before is not None:
            os.environ[QUIET] = before
        elif wanted:
            os.environ.pop(QUIET, None)


def tell(text: str) -> None:
    """Print a sentence about what is done or is going to be done."""
    if not is_quiet():
        print(text, file=sys.stderr, flush=True)


@contextmanager
def tell_if_slow(what: str) -> Iterator[None]:
    """Say what is going on if it takes longer than two seconds. Of processes that work together the first says it."""
    timer = threading.Timer(_SLOW_SECONDS, tell, [f"{what} ..."])
    timer.daemon = True
    if os.environ.get("RANK", "0") == "0":
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Lines:
    """Lines of progress in a log: one after ten seconds, and in long work one each minute."""

    def __init__(self) -> None:
        self._begun = self._last = time.monotonic()

    @property
    def due(self) -> bool:
        now = time.monotonic()
        shortest, longest = _LINE_SECONDS
        return now - self._last >= min(longest, max(shortest, (now - self._begun) / 20))

    def print(self, text: str) -> None:
        self._last = time.monotonic()
        tell(f"{time.strftime('%H:%M:%S')} {text}")


def to_clock(seconds: float) -> str:
    """`1:05`, `1:01:02`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
