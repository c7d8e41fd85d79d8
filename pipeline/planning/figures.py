"""Figures of a run by stage, as data, as a line and as a table; rows per minute."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Mapping
from typing import NotRequired, TypedDict

from rich.table import Table
from rich.text import Text

from manifests.distribution import Summary, number
from pipeline.command_line.counted import counted
from stages.contract.shown import UNSURE, Choice, Figure

_WINDOW_SECONDS = 120.0

DUPLICATE = "duplicate"  # why a row with the same content as an earlier one is not in the dataset


class StageFigures(TypedDict):
    """What is known of one stage."""

    todo: int
    ok: int
    failed: int
    reasons: dict[str, int]  # of failures, with their numbers
    duplicates: NotRequired[int]  # at the first stage
    running: NotRequired[int]  # in a build that is at work, as the next
    rows_per_minute: NotRequired[float]
    medians: NotRequired[dict[str, float]]  # of the columns that the stage declares as figures
    figures: NotRequired[dict[str, Summary]]  # of the same columns
    choices: NotRequired[dict[str, int]]  # how often `auto` chose what, and of how many rows it is not sure


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
        stage["running"] = running.get(name, 0)
        stage["todo"] = max(0, stage["todo"] - stage["running"])
        stage["rows_per_minute"] = round(rates.per_minute(name), 1)
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
    return " | ".join(parts)


def failure_lines(figures: Figures, details: Mapping[tuple[str, str], str]) -> list[str]:
    """A line for each stage and reason, the most frequent first, with the detail of the last failure if it is known."""
    counts = [(count, name, reason) for name, stage in figures.items() for reason, count in stage["reasons"].items()]
    lines = []
    for count, name, reason in sorted(counts, key=lambda each: -each[0]):
        detail = details.get((name, reason), "")
        lines.append(f"{name}: {count:,} failed, {reason}{': ' if detail else ''}{detail}")
    return lines


def median_line(figure: Figure, median: float) -> str:
    return f"Median {figure.meaning}: {number(median)} {figure.unit}".rstrip()


def choice_line(choice: Choice, counts: Mapping[str, int]) -> str:
    taken = (f"{value} for {counted(count, 'row')}" for value, count in sorted(counts.items()) if value != UNSURE)
    line = f"{choice.column}: auto took {', '.join(taken)}"
    return f"{line}; {counts[UNSURE]} of them unsure (to list them: status --warnings)" if counts.get(UNSURE) else line


def to_table(figures: Figures, title: str = "", with_reasons: bool = True) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold", pad_edge=False)
    for column in ("stage", "todo", "running", "ok", "failed", "rows/min", *(["why"] if with_reasons else [])):
        table.add_column(column, justify="left" if column in ("stage", "why") else "right", overflow="fold")
    for name, stage in figures.items():
        reasons = dict(stage["reasons"])
        if stage.get("duplicates"):
            reasons[DUPLICATE] = stage["duplicates"]
        ordered = sorted(reasons.items(), key=lambda pair: -pair[1])
        table.add_row(
            name,
            str(stage["todo"]),
            str(stage.get("running", 0)),
            Text(str(stage["ok"]), "green" if stage["ok"] else ""),
            Text(str(stage["failed"]), "red" if stage["failed"] else ""),
            f"{stage['rows_per_minute']:g}" if stage.get("rows_per_minute") else "",
            *([", ".join(f"{reason} {count}" for reason, count in ordered)] if with_reasons else []),
        )
    return table
