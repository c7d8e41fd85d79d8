"""Build a dataset: list the source, plan the work, do it, and write the index last. Running it again resumes it."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.progress import Progress

from manifests import dataset_index
from manifests.lease import BEAT_SECONDS, Lease
from manifests.listing import Listing, read_listing, update_listing
from manifests.log import Log, LogReader
from manifests.records import FAILED, OK, Record
from manifests.sources import read_source
from manifests.store import LocalStore, Store, is_uri, open_store
from pipeline.planning.figures import Figures, Rates, add_rates, count_lost, count_rows, count_wanted
from pipeline.planning.plan import Plan, Retry, Task
from pipeline.planning.run import RECIPE, RunError, make_plan
from pipeline.planning.source_changes import SourceChanges, stamp
from pipeline.recipe import DECLARED, Recipe, RecipeError, parse_recipe
from pipeline.running.display import Display
from pipeline.running.messages import Result
from pipeline.running.placement import Placement
from pipeline.running.scheduler import Scheduler
from stages.corpus.corpus import Corpus
from stages.meshes.formats import ENDINGS

_FLUSH_SECONDS = 10.0
_FLUSH_RECORDS = 5_000
_COMPACT_PARTS = 1_000
_INDEX_SECONDS = 60.0
_SHOWN = 3  # objects whose captions the summary shows


@dataclass(frozen=True)
class BuildRequest:
    """What the command line asks for."""

    recipe: Recipe
    run: str
    source: str = ""
    engine: str = "ray"
    only: str = ""
    limit: int | None = None
    retry: Retry = Retry()
    refresh: bool | None = None


@dataclass
class Report:
    """What a build did."""

    figures: Figures
    seconds: float
    rows: int = 0  # without duplicates
    stopped_by: int = 0  # the number of a signal, 0 for none
    worked: Counter[str] = field(default_factory=Counter)  # results by stage, in this build
    stage_seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    psnrs: list[float] = field(default_factory=list)  # of the rows fitted in this build
    captions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # of the first rows captioned, by id
    index: dict[str, Any] | None = None
    lost: int = 0  # rows that are not in the dataset because a stage failed

    @property
    def unfinished(self) -> int:
        """How many rows and shards could not be finished: their inputs are gone, or packing failed."""
        return sum(stage["todo"] for stage in self.figures.values()) + self.figures.get("pack", {}).get("failed", 0)


def build(request: BuildRequest) -> Report:
    """Run a build until it is done or a signal stops it. Finished work is kept."""
    store = open_store(request.run)
    rows = _read_rows(request, store)
    lease = Lease.acquire(store)
    try:
        if request.recipe.corpus:
            rows = read_source(_make_corpus(request, store), ENDINGS)
        before = read_listing(store)
        listing = before if rows is None else update_listing(store, _limited(rows, request, before), lease.epoch)
        placement = _open_placement(request.engine)
        try:
            recipe = request.recipe.resolve(placement.capacity().gpus, _last_recipe(store))
            lease.check()
            store.replace(RECIPE, recipe.to_yaml().encode())
            log, records = open_log(store, lease)
            changes = SourceChanges(request.refresh)
            plan = make_plan(store, recipe, listing, records, changes, request.retry, request.only)
            return Build(plan, placement, log, lease, recipe).run()
        finally:
            placement.close()
    finally:
        lease.release()


def _last_recipe(store: Store) -> Recipe | None:
    """The recipe of the last build; None for a new run, or if another version wrote a recipe that cannot be read."""
    if not store.exists(RECIPE):
        return None
    try:
        return parse_recipe(yaml.safe_load(store.read(RECIPE)))
    except (RecipeError, yaml.YAMLError):
        return None


def _open_placement(engine: str) -> Placement:
    if engine == "ray":
        from pipeline.running.ray_placement import RayPlacement

        return RayPlacement()
    from pipeline.running.local_placement import LocalPlacement

    return LocalPlacement()


def _make_corpus(request: BuildRequest, store: Store) -> str:
    """Make the demo corpus in the run folder, and return its list. For a URI it is made here and uploaded."""
    corpus = request.recipe.corpus
    if isinstance(store, LocalStore):
        return str(_write_corpus(corpus, Path(store.root) / "corpus"))
    with tempfile.TemporaryDirectory() as scratch:
        listed = _write_corpus(corpus, Path(scratch))
        for path in sorted(Path(scratch).rglob("*.glb")):
            store.replace(f"corpus/{path.relative_to(scratch)}", path.read_bytes())
        store.replace(f"corpus/{listed.name}", listed.read_bytes())
        return f"{store.root}/corpus/{listed.name}"


def _write_corpus(corpus: Corpus, folder: Path) -> Path:
    with Progress(console=Console(file=sys.stderr)) as progress:
        task = progress.add_task(f"Demo corpus, seed {corpus.seed}", total=corpus.count)
        return corpus.write(folder, lambda done: progress.update(task, completed=done))


def _read_rows(request: BuildRequest, store: Store) -> list[dict[str, Any]] | None:
    """Read the rows of the source; None if they come from the run's listing, or from a corpus still to be made."""
    if request.recipe.corpus:
        if request.source:
            raise RunError(
                f"--source {request.source}: this recipe makes its own corpus; omit --source, or use another recipe"
            )
        return None
    if not request.source:
        if not len(read_listing(store)):
            raise RunError("--source is missing; pass a folder, a glob, a mesh, or a list of meshes")
        return None
    return read_source(request.source, ENDINGS)


def _limited(rows: list[dict[str, Any]], request: BuildRequest, before: Listing) -> list[dict[str, Any]]:
    """The first `limit` rows of the source, and those that were listed before: a limit never removes a row."""
    if request.limit is None:
        return rows
    kept = set(before.ids.to_pylist())
    return [row for number, row in enumerate(rows) if number < request.limit or row["id"] in kept]


def open_log(store: Store, lease: Lease) -> tuple[Log, LogReader]:
    """The log to write to, and the records so far. Where a stage has many parts, a snapshot replaces them first."""
    log, records = Log(store, lease.epoch), LogReader(store, lease.bounds)
    lease.check()
    return log, LogReader(store, lease.bounds) if log.compact(records.parts) else records


class Build:
    """Works what a plan has to do. Without a recipe no dataset is written."""

    def __init__(self, plan: Plan, placement: Placement, log: Log, lease: Lease, recipe: Recipe | None = None):
        self.plan = plan
        self.placement = placement
        self.log = log
        self.lease = lease
        self.recipe = recipe
        self.store = log.store
        self.rates = Rates()
        self.report = Report({}, 0.0)
        self._index_changed = True
        self._compacted_at = self.log.sequence

    def run(self) -> Report:
        begun = time.monotonic()
        pack = self.plan.blocks.step if self.plan.blocks else None
        scheduler = Scheduler(self.plan, self.placement, self.store.root, self._record, pack)
        handlers = {number: signal.signal(number, self._interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            with Display() as display:
                self._loop(scheduler, display)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self._flush()
        self.report.figures = self._figures(scheduler)
        self.report.rows, self.report.lost = count_wanted(self.plan), count_lost(self.plan)
        self._write_index(final=not self.report.stopped_by and not self.report.unfinished)
        self.report.seconds = time.monotonic() - begun
        return self.report

    def _interrupt(self, number: int, frame: Any) -> None:
        """Note the signal for the loop, which checks several times a second. A second signal has its default effect."""
        self.report.stopped_by = number
        signal.signal(number, signal.SIG_DFL)

    def _loop(self, scheduler: Scheduler, display: Display) -> None:
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
            if display.due:
                display.show(self._figures(scheduler))
        display.show(self._figures(scheduler))

    def _flush(self) -> None:
        self.lease.check()  # what a superseded driver has not written yet must not be written
        self.log.flush()
        if self.log.sequence - self._compacted_at > _COMPACT_PARTS:
            self.log.compact(LogReader(self.store, self.lease.bounds).parts)
            self._compacted_at = self.log.sequence

    def _record(self, task: Task, result: Result, attempts: int, worker: str) -> None:
        stage, index = task
        step = self.plan.steps.get(stage)
        seen, columns = {}, result.columns
        if step is None and not result.ok:
            columns = self.plan.blocks.last_shard(result.id)  # only the last record of a block is kept for ever
        if step is not None and step.stage.keyed_by_content:
            uri = self.plan.listing.table.column("uri")[index].as_py()
            # If a failure does not name its files, the mesh itself is one of them.
            files = result.files or ([] if is_uri(uri) else [[uri, *stamp(uri)]])
            seen = {"uri": uri, "files": files}
        self.log.add(
            Record(
                id=result.id,
                stage=stage,
                key=result.key,
                status=OK if result.ok else FAILED,
                reason=result.reason,
                transient=result.transient,
                error=result.detail,
                attempts=attempts,
                seconds=result.seconds,
                worker=worker,
                columns=columns,
                seen=seen,
                content=result.content,
            )
        )
        self.rates.note(stage)
        self.report.worked[stage] += 1
        self.report.stage_seconds[stage] += result.seconds
        if result.columns.get("psnr") is not None:
            self.report.psnrs.append(result.columns["psnr"])
        self._show_captions(result)
        self._index_changed |= step is None

    def _show_captions(self, result: Result) -> None:
        shown, columns = self.report.captions, result.columns
        if columns.get("captions") and len(shown) < _SHOWN:
            shown[result.id] = columns["captions"]
        elif "caption_scores" in columns and result.id in shown:
            pairs = zip(shown[result.id], columns["caption_scores"], strict=True)
            shown[result.id] = [caption | {"score": score} for caption, score in pairs]

    def _figures(self, scheduler: Scheduler) -> Figures:
        running = {name: pool.running for name, pool in scheduler.pools.items()}
        return add_rates(count_rows(self.plan), self.rates, running)

    def _write_index(self, final: bool) -> None:
        """Write the index of the packed shards. Before the end of a build, only if that has more rows than the last."""
        if not self.plan.blocks or not self.recipe or not (self._index_changed or final):
            return
        self.lease.check()
        shards = self.plan.blocks.shards()
        written = None if final else dataset_index.read_index(self.store)
        if written and sum(written["rows"].values()) >= sum(shard["rows"] for shard in shards):
            self.report.index = written
            return
        provenance = {"recipe": self.recipe.provenance()}
        self.report.index = dataset_index.write_index(
            self.store, shards, DECLARED, provenance=provenance, weak_percent=self.recipe.pack.weak_percent
        )
        self._index_changed = False
        if final:
            self.lease.check()
            dataset_index.remove_superseded(self.store, self.report.index)
