"""Runs test stages through the real scheduler, placement, log and store, without the command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manifests.lease import Lease
from manifests.listing import update_listing
from manifests.log import Log, LogReader
from manifests.outcomes import Outcomes
from manifests.records import FAILED, OK, Record
from manifests.store import open_store
from pipeline.planning.plan import Plan, Retry, Task
from pipeline.running.local_placement import LocalPlacement
from pipeline.running.messages import Message, Result, WorkerSpec
from pipeline.running.placement import Capacity, Placement, WorkerId
from pipeline.running.scheduler import Scheduler
from pipeline.step import Step
from stages.contract.schedule import Schedule
from stages.contract.stage import Row

QUICK = Schedule(cpus=0.1, batch=4, linger_seconds=0.05, workers=2, timeout_seconds=20)


@dataclass
class Ran:
    plan: Plan
    results: dict[tuple[str, str], Result] = field(default_factory=dict)  # by stage and row id
    attempts: dict[tuple[str, str], int] = field(default_factory=dict)

    def ok(self, stage: str) -> set[str]:
        return {name for (at, name), result in self.results.items() if at == stage and result.ok}

    def reason(self, stage: str, name: str) -> str:
        return self.results[stage, name].reason


def run_steps(
    root: Path,
    rows: list[dict[str, Any]],
    steps: list[Step],
    placement: Placement | None = None,
    retry: Retry = Retry(),
    keep_results: bool = True,
) -> Ran:
    """One build's worth of work: as `pipeline.running.build` does it, less the dataset."""
    store = open_store(root)
    lease = Lease.acquire(store)
    placement = placement or LocalPlacement()
    log = Log(store, lease.epoch)
    try:
        listing = update_listing(store, rows, lease.epoch)
        plan = Plan(steps, listing, Outcomes(store))
        plan.load(LogReader(store, lease.bounds), lambda row, seen: True, retry)
        ran = Ran(plan)

        def record(task: Task, result: Result, attempts: int, worker: str) -> None:
            if keep_results:
                ran.results[task[0], result.id] = result
                ran.attempts[task[0], result.id] = attempts
            status = OK if result.ok else FAILED
            log.add(
                Record(
                    result.id,
                    task[0],
                    result.key,
                    status,
                    result.reason,
                    result.transient,
                    result.detail,
                    attempts,
                    columns=result.columns,
                )
            )

        scheduler = Scheduler(plan, placement, store.root, record)
        while not scheduler.done:
            scheduler.step(0.1)
            if log.pending > 10_000:
                log.flush()
        return ran
    finally:
        log.flush()
        placement.close()
        lease.release()


def make_rows(**deeds: str) -> list[dict[str, Any]]:
    """Rows named by keyword; the word is what the trouble stage does to them."""
    return [{"id": name, "uri": f"/nowhere/{name}", "name": deed} for name, deed in deeds.items()]


class Reserving(LocalPlacement):
    """A cluster as Ray keeps it: a worker has its GPUs until it is stopped, or waits for them with its batch."""

    def __init__(self, cpus: float, gpus: float):
        super().__init__()
        self._capacity = Capacity(cpus, gpus)
        self._placed: dict[WorkerId, float] = {}  # GPUs
        self._homeless: dict[WorkerId, tuple[WorkerSpec, list[Row]]] = {}
        self._working: set[WorkerId] = set()
        self.started: list[str] = []  # stages
        self.most_gpus = 0.0  # that were asked for at once

    def capacity(self) -> Capacity:
        return self._capacity

    def start(self, worker: WorkerId, spec: WorkerSpec) -> None:
        self.started.append(spec.stage.name)
        self._homeless[worker] = spec, []
        self._place()
        asked = sum(self._placed.values()) + sum(spec.gpus for spec, _ in self._homeless.values())
        self.most_gpus = max(self.most_gpus, asked)

    def _place(self) -> None:
        for worker, (spec, rows) in list(self._homeless.items()):
            if sum(self._placed.values()) + spec.gpus <= self._capacity.gpus:
                del self._homeless[worker]
                self._placed[worker] = spec.gpus
                super().start(worker, spec)
                if rows:
                    self.send(worker, rows)

    def send(self, worker: WorkerId, rows: list[Row]) -> None:
        if worker in self._homeless:
            self._homeless[worker][1].extend(rows)
        else:
            self._working.add(worker)
            super().send(worker, rows)

    def wait(self, seconds: float) -> list[tuple[WorkerId, Message]]:
        assert self._working or not self._homeless, "all that have work wait for a GPU that idle ones hold"
        told = super().wait(seconds)
        self._working -= {worker for worker, message in told if not isinstance(message, list)}
        return told

    def stop(self, worker: WorkerId) -> None:
        if self._homeless.pop(worker, None) is None:
            del self._placed[worker]
            super().stop(worker)
            self._place()
