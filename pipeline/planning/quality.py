"""The figures that stages declare, such as PSNR, over all rows of a run: their distributions, and the worst rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from manifests.distribution import Distribution, number, rounded
from manifests.outcomes import DamagedFile
from manifests.text import messages
from pipeline.planning.row_states import State
from pipeline.planning.run import Run
from stages.contract.shown import Figure


@dataclass(frozen=True)
class Measured:
    """One figure of a stage over all rows of a run."""

    stage: str
    figure: Figure
    values: np.ndarray  # [rows] float64; NaN where a row has none

    @cached_property
    def known(self) -> np.ndarray:
        return self.values[np.isfinite(self.values)]

    @cached_property
    def distribution(self) -> Distribution:
        return Distribution.of_values(self.known)

    @cached_property
    def far_below(self) -> float | None:
        """The limit under which a row is far below the others; None where low values are no worse, or rows are few."""
        return self.distribution.far_below if self.figure.is_quality else None

    @cached_property
    def count_far_below(self) -> int:
        return 0 if self.far_below is None else self.distribution.count_below(self.far_below)

    def warning(self, row: int) -> list[str]:
        """A line about a row that is far below the others."""
        if self.far_below is None or not float(rounded(self.values[row])) < self.far_below:
            return []
        middle = " to ".join(number(self.distribution.percentile(percent)) for percent in (25, 75))
        value = f"{number(self.values[row])} {self.figure.unit}".rstrip()
        return [f"{self.figure.column} {value}: far below the other objects, half of which have {middle}"]


def measure(run: Run) -> list[Measured]:
    """All figures that some row has, in the order of the stages."""
    found = []
    for step in run.plan.steps.values():
        figures = step.stage.shown.figures
        if not figures:
            continue
        fields = pa.schema([(figure.column, pa.float64()) for figure in figures])
        latest = run.log.latest_of(step.name, run.listing.ids, ("status", "columns"), fields)
        is_ok = (run.plan.states[step.name][latest.rows] == State.OK) & _is_ok(latest.records)
        for figure in figures:
            values = np.full(len(run.listing), np.nan)
            column = latest.records.column(figure.column).to_numpy(zero_copy_only=False)
            values[latest.rows[is_ok]] = column[is_ok]
            measured = Measured(step.name, figure, values)
            if len(measured.known):
                found.append(measured)
    return found


def _is_ok(records: pa.Table) -> np.ndarray:
    return np.asarray(records.column("status").cast(pa.string()).to_numpy(zero_copy_only=False) == "ok", bool)


def worst_rows(measured: list[Measured], count: int) -> list[int]:
    """The rows with the lowest values of the first figure that tells of quality, the worst first."""
    ranked = next((each for each in measured if each.figure.is_quality), None)
    if ranked is None:
        return []
    rows = np.argsort(ranked.values, kind="stable")[:count]  # NaN comes last
    return rows[np.isfinite(ranked.values[rows])].tolist()


def describe_row(run: Run, measured: list[Measured], row: int) -> dict[str, Any]:
    """One of the worst rows: what it is, its figures and its warnings."""
    (listed,) = run.listing.rows([row])
    values = {each.figure.column: float(each.values[row]) for each in measured if each.figure.is_quality}
    category = listed.get("category")
    return {"id": listed["id"], "category": category, **values, "warnings": warnings_of(run, measured, row)}


def warnings_of(run: Run, measured: list[Measured], row: int) -> list[str]:
    """What is odd about a row, each warning once: beside the other rows, and by itself as the stages found it."""
    found = [line for each in measured for line in each.warning(row)]
    for stage, states in run.plan.states.items():
        if states[row] == State.OK:
            try:
                found += messages(run.plan.outcomes.read(stage, run.plan.key(stage, row)).columns.get("warnings"))
            except (FileNotFoundError, DamagedFile):
                continue  # `clean` has removed it, or the next build makes it again
    return messages(found)
