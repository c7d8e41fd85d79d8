"""Warnings about the rows of a run: those that its stages recorded, and those that show only beside the other rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from manifests.distribution import number
from manifests.log import OUTCOME_COLUMNS, read_object, with_list
from manifests.outcomes import DamagedFile
from manifests.text import messages
from manifests.weak import far_below
from pipeline.planning.quality import Measured, is_ok, measure
from pipeline.planning.row_states import State
from pipeline.planning.run import Run

_WARNINGS = "warnings"  # the column of outcomes


@dataclass(frozen=True)
class Warnings:
    """What is known of a run before a row is asked for."""

    run: Run
    measured: list[Measured]
    disagreeing: Mapping[str, tuple[float, int]]  # by kind of caption: a score, and how many captions have a lower one

    @classmethod
    def of(cls, run: Run) -> Warnings:
        shards = run.plan.blocks.shards() if run.plan.blocks else []
        return cls(run, measure(run), far_below(shard["scores"] for shard in shards))

    def beside_others(self, row: int) -> list[str]:
        """What shows beside the other rows."""
        return [line for each in self.measured for line in each.warning(row)]

    def of_row(self, row: int) -> list[str]:
        """All warnings about a row, each once."""
        texts: list[Any] = []
        scores: list[Any] = []
        recorded: list[Any] = []
        for name, step in self.run.plan.steps.items():
            shown, columns = step.stage.shown, self._columns(name, row)
            texts = columns.get(shown.texts) or texts
            scores = columns.get(shown.scores) or scores
            recorded += messages(columns.get(_WARNINGS))
        disagreeing = self._disagreeing(texts, scores) if self.disagreeing else []
        return messages([*self.beside_others(row), *disagreeing, *recorded])

    def listed(self) -> list[dict[str, Any]]:
        """Every row with a warning that is recorded or shows beside the others, in the order of the listing."""
        found: dict[int, list[str]] = {}
        for measured in self.measured:
            for row in measured.rows_far_below():
                found.setdefault(row, []).extend(measured.warning(row))
        for row, texts in self.recorded():
            found.setdefault(row, []).extend(texts)
        ids = self.run.listing.ids
        return [{"id": ids[row].as_py(), "warnings": messages(found[row])} for row in sorted(found)]

    def recorded(self) -> Iterator[tuple[int, list[str]]]:
        """The warnings that stages recorded, by row; those of one row may come in several parts."""
        for name, step in self.run.plan.steps.items():
            if _WARNINGS not in getattr(step.stage.outcome, "__annotations__", (_WARNINGS,)):
                continue
            condense = partial(with_list, name=_WARNINGS)
            latest = self.run.log.latest_of(name, self.run.listing.ids, OUTCOME_COLUMNS, condense)
            has = is_ok(self.run, name, latest) & latest.records.column("columns").is_valid().to_numpy()
            columns = latest.records.column("columns")
            for record in np.flatnonzero(has).tolist():
                yield int(latest.rows[record]), messages(read_object(columns[record].as_py()).get(_WARNINGS))

    def _columns(self, stage: str, row: int) -> dict[str, Any]:
        if self.run.plan.states[stage][row] != State.OK:
            return {}
        try:
            return self.run.plan.outcomes.read(stage, self.run.plan.key(stage, row)).columns
        except (FileNotFoundError, DamagedFile):
            return {}  # `clean` has removed it, or the next build makes it again

    def _disagreeing(self, texts: list[Any], scores: list[Any]) -> Iterator[str]:
        for text, score in zip(texts, scores, strict=False):
            limit, _ = self.disagreeing.get(text["kind"], (-1.0, 0))
            if score < limit:
                yield f"caption ({text['kind']}) disagrees with the views: score {number(score)}, far below the others"


def describe_row(warnings: Warnings, row: int) -> dict[str, Any]:
    """One of the worst rows: what it is, its figures and its warnings."""
    (listed,) = warnings.run.listing.rows([row])
    values = {each.figure.column: float(each.values[row]) for each in warnings.measured if each.figure.is_quality}
    category = listed.get("category")
    return {"id": listed["id"], "category": category, **values, "warnings": warnings.of_row(row)}
