"""Runs test stages through the real scheduler, placement, log and store, without the command line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.lease import Lease
from manifests.listing import update_listing
from manifests.log import list_parts
from manifests.outcomes import Outcomes
from manifests.records import OK, Record
from manifests.store import Store, open_store
from pipeline.planning.plan import Plan
from pipeline.planning.row_states import ReadingRules, Retry
from pipeline.running.build import Build, open_log
from pipeline.running.local_placement import LocalPlacement
from pipeline.running.placement import Placement
from pipeline.step import Step
from stages.contract.schedule import Schedule

QUICK = Schedule(cpus=0.1, batch=4, linger_seconds=0.05, workers=1, timeout_seconds=20)


@dataclass
class Ran:
    """A run as it stands, and what this build did."""

    plan: Plan
    store: Store
    epoch: int

    @cached_property
    def records(self) -> dict[tuple[str, str], Record]:
        """What this build's part of the log says, by stage and row id."""
        found = {}
        for part in list_parts(self.store):
            if part.epoch == self.epoch and not part.snapshot:
                for columns in pq.read_table(pa.BufferReader(self.store.read(part.name))).to_pylist():
                    columns |= {name: json.loads(columns[name] or "{}") for name in ("columns", "seen")}
                    found[part.stage, columns["id"]] = Record(stage=part.stage, **columns)
        return found

    def ok(self, stage: str) -> set[str]:
        return {name for (at, name), record in self.records.items() if at == stage and record.status == OK}

    def reason(self, stage: str, name: str) -> str:
        return self.records[stage, name].reason


def run_steps(
    root: Path | str,
    rows: list[dict[str, Any]],
    steps: list[Step],
    placement: Placement | None = None,
    retry: Retry = Retry(),
) -> Ran:
    """A build of these rows and steps, without a recipe and without a dataset."""
    store = open_store(root)
    lease = Lease.acquire(store)
    placement = placement or LocalPlacement()
    try:
        plan = Plan(steps, update_listing(store, rows, lease.epoch), Outcomes(store))
        log, records = open_log(store, lease)
        plan.load(records, ReadingRules(lambda row, seen: True, retry))
        Build(plan, placement, log, lease).run()
        return Ran(plan, store, lease.epoch)
    finally:
        placement.close()
        lease.release()


def make_rows(**deeds: str) -> list[dict[str, Any]]:
    """Rows named by keyword; the word is what Trouble does to them."""
    return [{"id": name, "uri": f"/nowhere/{name}", "name": deed} for name, deed in deeds.items()]
