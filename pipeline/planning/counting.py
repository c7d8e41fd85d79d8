"""Count the rows of a plan by stage and state."""

from __future__ import annotations

import numpy as np

from pipeline.planning.figures import Figures
from pipeline.planning.plan import Plan
from pipeline.planning.row_states import State


def count_rows(plan: Plan) -> Figures:
    """Count rows by stage and state, without duplicates and without rows that failed at an earlier required stage."""
    figures: Figures = {}
    out: dict[str, np.ndarray] = {}
    for name, step in plan.steps.items():
        states = plan.states[name]
        blocked = plan.duplicates.copy() if name != plan.root else np.zeros(len(plan.listing), bool)
        for needed in step.requires:
            blocked |= out[needed]
        failed = (states == State.FAILED) & ~blocked
        out[name] = failed | blocked
        figures[name] = {
            "todo": int(((states == State.TODO) & ~blocked).sum()),
            "ok": int(((states == State.OK) & ~blocked).sum()),
            "failed": int(failed.sum()),
            "reasons": dict(plan.reasons[name]),
        }
    figures[plan.root]["duplicates"] = int(plan.duplicates.sum())
    figures[plan.root]["ok"] -= int(plan.duplicates.sum())
    if plan.blocks:
        figures[plan.blocks.name] = plan.blocks.count()
    return figures


def count_wanted(plan: Plan) -> int:
    """How many rows would be in the dataset if none failed."""
    return int((~plan.duplicates).sum())


def count_lost(plan: Plan) -> int:
    """How many rows are not in the dataset because a stage failed."""
    lost = np.zeros(len(plan.listing), bool)
    for name, step in plan.steps.items():
        if not step.schedule.optional:
            lost |= plan.states[name] == State.FAILED
    return int((lost & ~plan.duplicates).sum())
