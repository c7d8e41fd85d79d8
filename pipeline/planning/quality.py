"""The figures that stages declare, such as PSNR, over all rows of a run: their distributions, and the worst rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import pyarrow as pa

from manifests.distribution import Distribution, number, rounded
from manifests.log import OUTCOME_COLUMNS, LatestRecords, with_fields
from manifests.records import OK
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
        return self.distribution.far_below() if self.figure.is_quality else None

    @cached_property
    def count_far_below(self) -> int:
        return 0 if self.far_below is None else self.distribution.count_below(self.far_below)

    def rows_far_below(self) -> list[int]:
        """The numbers of these rows. Values are rounded before they are compared, as those of the distribution are."""
        near = [] if self.far_below is None else np.flatnonzero(self.values <= self.far_below).tolist()
        return [row for row in near if self.warning(row)]

    def warning(self, row: int) -> list[str]:
        """One line, in a list, about a row that is far below the others; none about another row."""
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
        latest = run.log.latest_of(step.name, run.listing.ids, OUTCOME_COLUMNS, partial(with_fields, fields=fields))
        ok = is_ok(run, step.name, latest)
        for figure in figures:
            values = np.full(len(run.listing), np.nan)
            column = latest.records.column(figure.column).to_numpy(zero_copy_only=False)
            values[latest.rows[ok]] = column[ok]
            measured = Measured(step.name, figure, values)
            if len(measured.known):
                found.append(measured)
    return found


def is_ok(run: Run, stage: str, latest: LatestRecords) -> np.ndarray:
    """For each of these records, whether it is that of a row that is ok at this stage now."""
    recorded = latest.records.column("status").cast(pa.string()).to_numpy(zero_copy_only=False) == OK
    return np.asarray(recorded, bool) & (run.plan.states[stage][latest.rows] == State.OK)


def worst_rows(measured: list[Measured], count: int) -> list[int]:
    """The rows with the lowest values of the first figure that tells of quality, the worst first."""
    ranked = next((each for each in measured if each.figure.is_quality), None)
    if ranked is None:
        return []
    rows = np.argsort(ranked.values, kind="stable")[:count]  # NaN comes last
    return rows[np.isfinite(ranked.values[rows])].tolist()
