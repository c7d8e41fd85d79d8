"""What stages chose for rows that say `auto`, counted over all rows of a run."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.planning.row_states import State
from pipeline.planning.run import Run


def count_choices(run: Run) -> dict[str, Counter[str]]:
    """By stage, how often it chose what, and of how many rows it is not sure."""
    found = {}
    for step in run.plan.steps.values():
        choice = step.stage.shown.choice
        if choice is None or not pc.any(pc.equal(run.plan.listing.table.column(choice.column), "auto")).as_py():
            continue
        fields = pa.schema([(choice.column, pa.string()), (choice.sure, pa.bool_())])
        latest = run.log.latest_of(step.name, run.listing.ids, ("status", "columns"), fields)
        chosen = latest.records.filter(pa.array(run.plan.states[step.name][latest.rows] == State.OK))
        chosen = chosen.filter(
            pc.and_(pc.equal(chosen.column("status"), "ok"), chosen.column(choice.column).is_valid())
        )
        counts = found[step.name] = Counter[str]()
        for columns in chosen.select([choice.column, choice.sure]).to_pylist():
            choice.count(columns, counts)
    return found
