"""Build a dataset: list the source, plan the work, do it, and write the index last. Another build resumes it."""

from __future__ import annotations

import logging
import math
import signal
import time
from typing import Any

from manifests import dataset_index
from manifests.addresses import address_seen
from manifests.archives.address import local_file
from manifests.lease import BEAT_SECONDS, Lease
from manifests.log import Log, LogReader
from manifests.records import FAILED, OK, Record, Seen
from manifests.shards import DatasetIndex
from manifests.store import Store
from manifests.text import masked
from pipeline.planning.counting import count_lost, count_rows, count_wanted
from pipeline.planning.figures import Figures, Rates, add_rates
from pipeline.planning.plan import Plan
from pipeline.planning.preparation import BuildRequest, Prepared, last_recipe, prepare
from pipeline.planning.run import RECIPE, RunError, make_plan, open_run_store, write_recipe
from pipeline.planning.source_changes import SourceChanges, stamp
from pipeline.planning.source_rows import make_corpus, read_rows, source_of, write_source
from pipeline.planning.tasks import BlockTask, Result, Task
from pipeline.recipe import DECLARED, Recipe
from pipeline.running.display import Display, Progress
from pipeline.running.placement import Placement
from pipeline.running.report import Report
from pipeline.running.scheduler import Scheduler
from pipeline.running.simulation import BuildLoad, StageLoad
from pipeline.running.time_left import NOTHING_LEFT, Event, TimeLeft
from stages.common.telling import tell, tell_if_slow

logger = logging.getLogger(__name__)

_FLUSH_SECONDS = 10.0
_FLUSH_RECORDS = 5_000
_COMPACT_PARTS = 1_000
_INDEX_SECONDS = 60.0


def build(request: BuildRequest, display: Display) -> Report:
    """Run a build until it is done or a signal stops it. Finished work is kept."""
    store = open_run_store(request.run)
    with tell_if_slow(f"Listing {masked(request.source) or 'the rows'}"):
        rows = read_rows(request.recipe, request.source, store)
    if not store.exists(RECIPE):
        request.recipe.resolve(math.inf)  # what cannot be built makes no folder
    with tell_if_slow("Waiting for the run to be free"):
        lease = _acquire(store, request.run)
    try:
        if request.recipe.corpus:
            rows = make_corpus(request.recipe.corpus, store)
        with tell_if_slow("Reading what the run has"):
            prepared = prepare(request, store, rows, LogReader(store, lease.bounds))
        if not request.confirmed and (refusal := prepared.changes.refusal(request.run)):
            raise RunError(refusal)
        for line in prepared.changes.lines():
            tell(line)
        display.emit("changes", **prepared.changes.fields())
        return _work(request, store, prepared, lease, display)
    finally:
        lease.release()


def _acquire(store: Store, run: str) -> Lease:
    try:
        return Lease.acquire(store)
    except (PermissionError, FileNotFoundError, NotADirectoryError) as error:
        raise RunError(
            f"--run {run}: cannot be written ({(error.strerror or str(error)).lower()}); name another folder"
        ) from error


def _work(request: BuildRequest, store: Store, prepared: Prepared, lease: Lease, display: Display) -> Report:
    if prepared.revision:
        prepared.revision.write(lease.epoch)
    if source := source_of(request.recipe, request.source):
        write_source(store, source)
    engine = "local" if prepared.is_finished else request.engine  # no Ray is started for nothing
    with tell_if_slow("Starting Ray"):
        placement = _open_placement(engine)
    try:
        recipe = prepared.recipe if prepared.is_finished else None
        recipe = recipe or request.recipe.resolve(placement.capacity().gpus, last_recipe(store))
        lease.check()
        write_recipe(store, recipe)
        log, records = open_log(store, lease)
        plan = prepared.plan if recipe == prepared.recipe else None
        if plan is None:
            changes = SourceChanges(request.refresh)
            plan = make_plan(store, recipe, prepared.listing, records, changes, request.retry, request.only)
        return Build(plan, placement, log, lease, recipe, display).run()
    finally:
        placement.close()


def _last_index(store: Store) -> DatasetIndex | None:
    try:
        return dataset_index.read_index(store)
    except dataset_index.DatasetError as error:
        logger.warning("%s", error)
        return None


def _open_placement(engine: str) -> Placement:
    if engine == "ray":
        from pipeline.running.ray_placement import RayPlacement

        return RayPlacement()
    from pipeline.running.local_placement import LocalPlacement

    return LocalPlacement()


def open_log(store: Store, lease: Lease) -> tuple[Log, LogReader]:
    """The log to write to, and the records so far. Where a stage has many parts, a snapshot replaces them first."""
    log, records = Log(store, lease.epoch), LogReader(store, lease.bounds)
    lease.check()
    return log, LogReader(store, lease.bounds) if log.compact(records.parts) else records


class Build:
    """Works what a plan has to do. Without a recipe no dataset is written."""

    def __init__(
        self,
        plan: Plan,
        placement: Placement,
        log: Log,
        lease: Lease,
        recipe: Recipe | None = None,
        display: Display | None = None,
    ):
        self.plan = plan
        self.placement = placement
        self.log = log
        self.lease = lease
        self.recipe = recipe
        self.display = display or Display()
        self.store = log.store
        self.stages = {step.name: step.stage for step in plan.all_steps}
        self.rates = Rates()
        self.report = Report()
        self.time_left = TimeLeft(self._earlier_costs())
        self._begun = time.monotonic()
        self._index_changed = True
        self._compacted_at = self.log.sequence

    def run(self) -> Report:
        self._begun = time.monotonic()
        scheduler = Scheduler(self.plan, self.placement, self.store.root, self._record, self._note)
        handlers = {number: signal.signal(number, self._interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            with self.display:
                self._loop(scheduler)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self._flush()
        self.report.figures = self._figures(scheduler)
        self.report.rows, self.report.lost = count_wanted(self.plan), count_lost(self.plan)
        self.report.unfinished = sum(stage["todo"] for stage in self.report.figures.values())
        if self.plan.blocks:
            self.report.unfinished += self.plan.blocks.count()["failed"]
        self._write_index(final=not self.report.stopped_by and not self.report.unfinished)
        self.report.seconds = self._elapsed
        return self.report

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._begun

    def _earlier_costs(self) -> dict[str, float]:
        """Seconds of a row in earlier builds of this run, by stage."""
        records = LogReader(self.store, self.lease.bounds)
        found = {name: records.mean_seconds(name) for name in self.stages}
        return {name: seconds for name, seconds in found.items() if seconds is not None}

    def _note(self, kind: str, stage: str, worker: int, rows: int = 0) -> None:
        self.time_left.note(Event(self._elapsed, kind, stage, worker, rows))

    def _interrupt(self, number: int, frame: Any) -> None:
        """Note the signal for the loop, which checks several times a second. A second signal has its default effect."""
        self.report.stopped_by = number
        signal.signal(number, signal.SIG_DFL)

    def _loop(self, scheduler: Scheduler) -> None:
        flushed_at = indexed_at = status_at = time.monotonic()
        while not scheduler.done and not self.report.stopped_by:
            scheduler.step(0.2)
            now = time.monotonic()
            if now - flushed_at > _FLUSH_SECONDS or self.log.pending > _FLUSH_RECORDS:
                self._flush()
                flushed_at = now
            if now - indexed_at > _INDEX_SECONDS:
                self._write_index(final=False)
                indexed_at = now
            if now - status_at > BEAT_SECONDS:
                self.lease.status = self._figures(scheduler)
                status_at = now
            self.display.show_opening(self.time_left.opening(self._elapsed))
            if self.display.due:
                self.display.show(self._progress(scheduler))
        left = NOTHING_LEFT if scheduler.done else None
        self.display.show(Progress(self._figures(scheduler), self._elapsed, left, details=self.report.details))

    def _flush(self) -> None:
        self.lease.check()  # what a superseded driver has not written yet must not be written
        self.log.flush()
        if self.log.sequence - self._compacted_at > _COMPACT_PARTS:
            self.log.compact(LogReader(self.store, self.lease.bounds).parts)
            self._compacted_at = self.log.sequence

    def _record(self, task: Task, result: Result, attempts: int, worker: str) -> None:
        stage, columns = self.stages[task.stage], result.columns
        if self.plan.blocks and stage.of_blocks and not result.ok:
            columns = self.plan.blocks.last_shard(result.id)  # only the last record of a block is kept for ever
        self.log.add(
            Record(
                id=result.id,
                stage=stage.name,
                key=result.key,
                status=OK if result.ok else FAILED,
                reason=result.reason,
                transient=result.transient,
                error=result.detail,
                attempts=attempts,
                seconds=result.seconds,
                worker=worker,
                columns=columns,
                seen=self._seen(task, result),
                content=result.content,
            )
        )
        self.rates.note(stage.name)
        self.report.note(stage, result)
        if not result.ok:
            self.display.emit(
                "failed",
                id=result.id,
                stage=stage.name,
                reason=result.reason,
                detail=result.detail,
                transient=result.transient,
                attempts=attempts,
            )
        self._index_changed |= stage.of_blocks

    def _seen(self, task: Task, result: Result) -> Seen:
        """What a stage that is keyed by content saw of a row's source, so that a resume need not read it again."""
        if isinstance(task, BlockTask) or not self.stages[task.stage].keyed_by_content:
            return {}
        uri = self.plan.listing.table.column("uri")[task.row].as_py()
        # If a failure does not name its files, the mesh itself is one of them.
        file = local_file(uri)
        files = result.files or ([(file, *stamp(file))] if file else [])
        return {"uri": address_seen(uri, result.ok), "files": files}

    def _figures(self, scheduler: Scheduler) -> Figures:
        running = {name: pool.running for name, pool in scheduler.pools.items()}
        return add_rates(count_rows(self.plan), self.rates, running)

    def _progress(self, scheduler: Scheduler) -> Progress:
        figures, elapsed = self._figures(scheduler), self._elapsed
        left = self.time_left.estimate(elapsed, _load_of(scheduler, figures))
        return Progress(figures, elapsed, left, self.time_left.opening(elapsed), self.report.details)

    def _write_index(self, final: bool) -> None:
        """Write the index of the packed shards. Before the end of a build, only if that has more rows than the last."""
        if not self.plan.blocks or not self.recipe or not (self._index_changed or final):
            return
        self.lease.check()
        shards = self.plan.blocks.shards()
        written = None if final else _last_index(self.store)
        if written and sum(written["rows"].values()) >= sum(shard["rows"] for shard in shards):
            self.report.index = written
            return
        provenance = {"recipe": self.recipe.provenance()}
        index = self.report.index = dataset_index.write_index(
            self.store, shards, DECLARED, provenance=provenance, weak_percent=self.recipe.weak_percent
        )
        self._index_changed = False
        if final:
            self.lease.check()
            dataset_index.remove_superseded(self.store, index)


def _load_of(scheduler: Scheduler, figures: Figures) -> BuildLoad:
    """What is left to do at each stage, and what its workers need."""
    pools = scheduler.pools
    stages = {
        name: StageLoad(
            left=figures[name]["todo"] + figures[name].get("running", 0),
            needs=tuple(scheduler.plan.steps) if pool.step.stage.of_blocks else pool.step.needs,
            workers=pools.most_workers(pool),
            cpus=pool.step.schedule.cpus,
            gpus=pool.step.gpus,
            batch=pool.step.schedule.batch,
            linger_seconds=pool.step.schedule.linger_seconds,
            of_blocks=pool.step.stage.of_blocks,
        )
        for name, pool in pools.items()
    }
    return BuildLoad(pools.capacity.cpus, pools.capacity.gpus, stages)
