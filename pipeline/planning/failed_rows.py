"""List the rows of a run that are not in its dataset, with stage, reason and detail."""

from __future__ import annotations

from typing import Any

import numpy as np

from manifests.records import FAILED
from manifests.text import message
from pipeline.planning.figures import DUPLICATE
from pipeline.planning.row_states import State
from pipeline.planning.run import Run


def list_failed(run: Run) -> list[dict[str, Any]]:
    """Every row that is not in the dataset, with stage, reason and detail; also duplicates."""
    plan, rows = run.plan, []
    ids = run.listing.ids
    for index in np.flatnonzero(plan.duplicates).tolist():
        kept = ids[plan.keeper_of(index)].as_py()
        rows.append(_row(ids[index].as_py(), plan.root, DUPLICATE, f"same content as {kept}, which is kept"))
    problems = run.listing.table.select(["id", "problem", "problem_detail"])
    for row in problems.filter(problems.column("problem").is_valid()).to_pylist():
        rows.append(_row(row["id"], plan.root, row["problem"], row["problem_detail"]))
    for stage in plan.steps:
        states = plan.states[stage]
        latest = run.log.latest_of(stage, ids, ("status", "reason", "error"))
        for index, record in zip(latest.rows.tolist(), latest.records.to_pylist(), strict=True):
            if states[index] == State.FAILED and record["status"] == FAILED:
                rows.append(_row(ids[index].as_py(), stage, record["reason"], record["error"]))
    return rows + _failed_blocks(run)


def _failed_blocks(run: Run) -> list[dict[str, Any]]:
    if not run.plan.blocks:
        return []
    latest = run.log.latest(run.plan.blocks.name).to_pylist()
    return [
        _row(record["id"], run.plan.blocks.name, record["reason"], record["error"])
        for record in latest
        if record["status"] == FAILED
    ]


def _row(name: str, stage: str, reason: str, detail: str) -> dict[str, Any]:
    """One failure. An older version may have written the detail, without a limit."""
    return {"id": name, "stage": stage, "reason": reason, "detail": message(detail)}
