"""What `status`, `sheet` and a build's summary show of what a stage made, besides counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A number among the columns of a stage's outcomes. Its median is shown."""

    column: str
    meaning: str
    unit: str = ""


@dataclass(frozen=True)
class Shown:
    """Columns of a stage's outcomes that people look at."""

    figures: tuple[Figure, ...] = ()
    texts: str = ""  # the column with an object's texts: dicts with `kind` and `text`
    scores: str = ""  # the column with a score for each of these texts
    views: str = ""  # the column that names an artifact with views (stages/artifacts/views.py)
