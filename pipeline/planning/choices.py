"""What stages chose for rows that say `auto`, counted over all rows of a run."""

from __future__ import annotations

from collections import Counter
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from manifests.log import OUTCOME_COLUMNS, with_fields
from pipeline.planning.quality import is_ok
from pipeline.planning.run import Run


def count_choices(run: Run) -> dict[str, Counter[str]]:
    """By stage, how often it chose what, and of how many rows it is not sure."""
    found = {}
    for step in run.plan.steps.values():
        choice = step.stage.shown.choice
        if choice is None or not pc.any(pc.equal(run.plan.listing.table.column(choice.column), "auto")).as_py():
            continue
        fields = pa.schema([(choice.column, pa.string()), (choice.sure, pa.bool_())])
        latest = run.log.latest_of(step.name, run.listing.ids, OUTCOME_COLUMNS, partial(with_fields, fields=fields))
        records = latest.records.filter(pa.array(is_ok(run, step.name, latest)))
        counts = found[step.name] = Counter[str]()
        for columns in records.filter(records.column(choice.column).is_valid()).select(fields.names).to_pylist():
            choice.count(columns, counts)
    return found
