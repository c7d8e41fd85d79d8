"""Figures of a run by stage, as data, as a line and as a table; rows per minute and the time left."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from typing import NotRequired, TypedDict

from rich.table import Table
from rich.text import Text

from manifests.distribution import Summary, number
from stages.contract.shown import Figure

_WINDOW_SECONDS = 120.0

DUPLICATE = "duplicate"  # why a row with the same content as an earlier one is not in the dataset


class StageFigures(TypedDict):
    """What is known of one stage."""

    todo: int
    ok: int
    failed: int
    reasons: dict[str, int]  # of failures, with their numbers
    duplicates: NotRequired[int]  # at the first stage
    running: NotRequired[int]  # in a build that is at work, as the next two
    rows_per_minute: NotRequired[float]
    seconds_left: NotRequired[int | None]
    medians: NotRequired[dict[str, float]]  # of the columns that the stage declares as figures
    figures: NotRequired[dict[str, Summary]]  # of the same columns


Figures = dict[str, StageFigures]  # by stage


class Rates:
    """Rows per minute by stage, over the last two minutes."""

    def __init__(self) -> None:
        self._done: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=5000))
        self._begun = time.monotonic()

    def note(self, stage: str) -> None:
        self._done[stage].append(time.monotonic())

    def per_minute(self, stage: str) -> float:
        now, done = time.monotonic(), self._done[stage]
        while done and now - done[0] > _WINDOW_SECONDS:
            done.popleft()
        if not done:
            return 0.0
        begun = done[0] if len(done) == done.maxlen else max(self._begun, now - _WINDOW_SECONDS)
        return len(done) * 60 / max(now - begun, 1.0)


def add_rates(figures: Figures, rates: Rates, running: dict[str, int]) -> Figures:
    for name, stage in figures.items():
        per_minute = rates.per_minute(name)
        stage["running"] = running.get(name, 0)
        stage["todo"] = max(0, stage["todo"] - stage["running"])
        left = stage["todo"] + stage["running"]
        stage["rows_per_minute"] = round(per_minute, 1)
        stage["seconds_left"] = round(left / per_minute * 60) if per_minute and left else None
    return figures


def to_line(figures: Figures) -> str:
    """The figures as one line, for a log file."""
    parts = []
    for name, stage in figures.items():
        total = stage["todo"] + stage.get("running", 0) + stage["ok"] + stage["failed"]
        part = f"{name} {stage['ok']}/{total}"
        if stage["failed"]:
            part += f" ({stage['failed']} failed)"
        parts.append(part)
    slowest = max((stage.get("seconds_left") or 0 for stage in figures.values()), default=0)
    return " | ".join(parts) + (f" | about {to_clock(slowest)} left" if slowest else "")


def median_line(figure: Figure, median: float) -> str:
    return f"Median {figure.meaning}: {number(median)} {figure.unit}".rstrip()


def to_clock(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def to_table(figures: Figures, title: str = "") -> Table:
    table = Table(title=title, title_justify="left", header_style="bold", pad_edge=False)
    for column in ("stage", "todo", "running", "ok", "failed", "rows/min", "left", "why"):
        table.add_column(column, justify="left" if column in ("stage", "why") else "right")
    for name, stage in figures.items():
        reasons = dict(stage["reasons"])
        if stage.get("duplicates"):
            reasons[DUPLICATE] = stage["duplicates"]
        table.add_row(
            name,
            str(stage["todo"]),
            str(stage.get("running", 0)),
            Text(str(stage["ok"]), "green" if stage["ok"] else ""),
            Text(str(stage["failed"]), "red" if stage["failed"] else ""),
            f"{stage['rows_per_minute']:g}" if stage.get("rows_per_minute") else "",
            to_clock(stage.get("seconds_left")),
            ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items(), key=lambda pair: -pair[1])),
        )
    return table
