"""What `status`, `sheet` and a build's summary show of what a stage made, besides counts."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UNSURE = "unsure"


@dataclass(frozen=True)
class Figure:
    """A number among the columns of a stage's outcomes. Its distribution is shown."""

    column: str
    meaning: str
    unit: str = ""
    is_quality: bool = False  # whether the rows with the lowest values are the worst

    def value(self, columns: Mapping[str, Any]) -> float | None:
        """The number in these columns; None if there is none, or one that cannot be shown, as in a damaged outcome."""
        value = columns.get(self.column)
        is_number = isinstance(value, int | float) and abs(value) <= sys.float_info.max  # false for NaN
        return value if is_number else None


@dataclass(frozen=True)
class Choice:
    """A column of the source list that may say `auto`. The outcome then has, under its name, what was chosen."""

    column: str
    sure: str  # the column of the outcome that says whether the choice is no guess

    def count(self, columns: Mapping[str, Any], counts: Counter[str]) -> None:
        if self.column in columns:
            counts[columns[self.column]] += 1
            counts[UNSURE] += not columns[self.sure]


@dataclass(frozen=True)
class Shown:
    """Columns of a stage's outcomes that people look at."""

    figures: tuple[Figure, ...] = ()
    texts: str = ""  # the column with an object's texts: dicts with `kind` and `text`
    scores: str = ""  # the column with a score for each of these texts
    choice: Choice | None = None
    views: str = ""  # the column that names an artifact with views (stages/artifacts/views.py)
