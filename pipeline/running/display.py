"""Show what a build does: a bar and a table in a terminal, lines in a log, events as JSON, or nothing but errors."""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.command_line.console import plain_console
from pipeline.command_line.counted import counted
from pipeline.planning.figures import Figures, failure_lines, to_line, to_table
from pipeline.running.time_left import NOTHING_LEFT, Estimate
from stages.common.telling import Lines, is_quiet, tell, to_clock

_LIVE_SECONDS = 0.5
_JSON_SECONDS = 2.0
_SLOW_SECONDS = 2.0
_SHOWN_FAILURES = 5  # reasons, below the table


@dataclass(frozen=True)
class Progress:
    """How far a build is."""

    figures: Figures
    elapsed: float
    left: Estimate | None = None
    opening: dict[str, float] = field(default_factory=dict)  # by stage: for how long its workers have been opening
    details: dict[tuple[str, str], str] = field(default_factory=dict)  # by stage and reason: of the last failure

    @property
    def share(self) -> float:
        """The share of the time that has passed."""
        return 0.0 if self.left is None else self.elapsed / max(self.elapsed + sum(self.left) / 2, 1e-6)


class Display:
    """Use it as a context manager while there is progress to show."""

    def __init__(self, as_json: bool = False):
        self._as_json = as_json
        self._console = plain_console(file=sys.stderr)
        animated = self._console.is_terminal and not self._console.is_dumb_terminal
        self._live = (
            Live(console=self._console, auto_refresh=False) if animated and not as_json and not is_quiet() else None
        )
        self._lines = Lines()
        self._shown_at = time.monotonic()
        self._share = 0.0
        self._slow: set[str] = set()  # stages whose slow opening was told

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
        self._lines, self._shown_at = Lines(), time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def emit(self, event: str, **fields: Any) -> None:
        """Print an event as a line of JSON, where those are asked for."""
        if self._as_json:
            print(json.dumps({"event": event, **fields}, ensure_ascii=False), flush=True)

    @property
    def due(self) -> bool:
        if self._live or self._as_json:
            return time.monotonic() - self._shown_at >= (_LIVE_SECONDS if self._live else _JSON_SECONDS)
        return self._lines.due

    def show(self, progress: Progress) -> None:
        self._shown_at = time.monotonic()
        if self._live:
            self._share = max(self._share, progress.share)  # the bar does not go back
            self._live.update(to_screen(progress, self._share, self._console), refresh=True)
        elif not self._as_json:
            self._lines.print(to_log_line(progress))
        self.emit(
            "progress",
            elapsed_seconds=round(progress.elapsed, 1),
            seconds_left=progress.left and [round(seconds, 1) for seconds in progress.left],
            opening=list(progress.opening),
            stages=progress.figures,
        )

    def show_opening(self, opening: dict[str, float]) -> None:
        """In a log, say once which stage's workers take long to open."""
        if self._live:
            return
        for stage, seconds in opening.items():
            if seconds > _SLOW_SECONDS and stage not in self._slow:
                self._slow.add(stage)
                tell(f"Opening the workers of {stage}: they load libraries and models, or compile ...")


def left_text(left: Estimate | None) -> str:
    """`1:40 left`, or a range where that is all that is known: `2 to 5 min left`."""
    if left is None or left == NOTHING_LEFT:
        return ""
    low, high = left
    if low == high:
        return f"{to_clock(low)} left"
    if high < 100:
        return f"{round(low)} to {round(high)} s left"
    return f"{max(1, math.floor(low / 60))} to {math.ceil(high / 60)} min left"


def opening_text(opening: dict[str, float]) -> str:
    """Which stages' workers are being opened for longer than a moment."""
    slow = [f"{stage} ({round(seconds)} s)" for stage, seconds in opening.items() if seconds > _SLOW_SECONDS]
    return f"opening {', '.join(slow)}" if slow else ""


def to_log_line(progress: Progress) -> str:
    parts = (
        to_line(progress.figures),
        f"{to_clock(progress.elapsed)} elapsed",
        left_text(progress.left),
        opening_text(progress.opening),
    )
    return " | ".join(part for part in parts if part)


def to_screen(progress: Progress, share: float, console: Console) -> RenderableType:
    """The bar, the table of stages, the reasons of failures, and which workers are being opened."""
    bar = Table.grid(padding=(0, 2))
    bar.add_row(
        f"{to_clock(progress.elapsed)} elapsed",
        ProgressBar(1.0, share, width=max(10, min(40, console.width - 50))),
        f"{share:.0%}",
        left_text(progress.left),
    )
    lines = failure_lines(progress.figures, progress.details)
    if len(lines) > _SHOWN_FAILURES:
        lines[_SHOWN_FAILURES:] = [f"and {counted(len(lines) - _SHOWN_FAILURES, 'more reason')}"]
    if opening := opening_text(progress.opening):
        lines.append(f"{opening[0].upper()}{opening[1:]}: loading libraries and models, or compiling")
    table = to_table(progress.figures, with_reasons=False)
    return Group(bar, table, *(Text(line, no_wrap=True, overflow="ellipsis") for line in lines))
