"""Find the files of a run that are damaged or missing."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from manifests import dataset, dataset_index, lease, listing
from manifests.dataset_card import card
from manifests.log import read_part
from manifests.outcomes import FOLDER, DamagedFile, Outcomes, Recorded
from manifests.records import SCHEMA
from manifests.shards import DatasetIndex, ListedShard
from manifests.store import LocalStore, Store
from manifests.text import message
from pipeline.planning.row_states import State
from pipeline.planning.run import RECIPE, Run, recipe_is_whole
from pipeline.recipe import DECLARED
from stages.common.prefetch import prefetch
from stages.contract.stage import Stage

MANIFEST, DATASET = "manifest", "dataset"
_REMOTE_THREADS = 16


@dataclass(frozen=True)
class Damage:
    """A file that is damaged or missing, and what has to be made again."""

    part: str  # the stage that made it, MANIFEST or DATASET
    file: str
    why: str
    missing: bool = False
    key: str = ""  # of the outcome to be withdrawn
    rows: tuple[int, ...] = ()  # the rows to be worked again, as numbers in the listing
    block: str = ""  # the id of the block to be packed again


@dataclass
class Findings:
    checked: Counter[str] = field(default_factory=Counter)  # by part
    damages: list[Damage] = field(default_factory=list)


Check = Callable[[], tuple[str, Damage | None]]  # checks a file with what it refers to; returns also its part


def find_damage(run: Run, deep: bool, report: Callable[[int, int], None]) -> Findings:
    """Check the files of a run: that they exist, have their sizes and can be read; `deep`: also their content."""
    findings = Findings()
    index = _check_index(run, findings)
    outcomes = sum(int((states == State.OK).sum()) for states in run.plan.states.values())
    shards = _listed_shards(run, index)
    count = len(run.log.parts) + outcomes + len(shards)
    checks = chain(_log_checks(run), _outcome_checks(run, deep), _shard_checks(run, shards, deep))
    threads = (os.cpu_count() or 1) if isinstance(run.store, LocalStore) else _REMOTE_THREADS
    for done, (part, damage) in enumerate(prefetch(lambda check: check(), checks, threads), 1):
        findings.checked[part] += 1
        if damage:
            findings.damages.append(damage)
        report(min(done, count - 1), count)  # rows may share an outcome
    report(count, count)
    cleaned = _cleaned_rows(run, findings.damages)
    findings.damages = [damage for damage in findings.damages if not damage.rows or not cleaned.issuperset(damage.rows)]
    return findings


def manifest_damage(store: Store) -> Findings:
    """Check the recipe, the lease and the listing, before a new lease takes the place of the last one."""
    findings = Findings(Counter({MANIFEST: 1 + len(store.list(lease.FOLDER)) + len(store.list(listing.FOLDER))}))
    if not recipe_is_whole(store):
        findings.damages.append(Damage(MANIFEST, RECIPE, "it is not what the last build wrote"))
    for name in lease.damaged_files(store):
        findings.damages.append(Damage(MANIFEST, name, "it is not the file of a lease", not store.exists(name)))
    for name in listing.damaged_files(store):
        findings.damages.append(
            Damage(MANIFEST, name, "it is not a listing, or differs from its copy", not store.exists(name))
        )
    return findings


def _log_checks(run: Run) -> Iterator[Check]:
    return (partial(_check_part, run.store, part.name) for part in run.log.parts)


def _check_part(store: Store, name: str) -> tuple[str, Damage | None]:
    data = store.read(name)
    try:
        read_part(data).cast(SCHEMA)
    except (pa.ArrowException, OSError, ValueError) as error:
        return MANIFEST, Damage(MANIFEST, name, message(error, 200))
    return MANIFEST, None


# -- outcomes and artifacts ----------------------------------------------------------------------------------------


def _outcome_checks(run: Run, deep: bool) -> Iterator[Check]:
    plan = run.plan
    for name, step in plan.steps.items():
        rows_by_key: dict[str, list[int]] = defaultdict(list)
        for row in np.flatnonzero(plan.states[name] == State.OK).tolist():
            rows_by_key[plan.key(name, row)].append(row)
        sizes = run.store.list(f"{FOLDER}/{name}") if rows_by_key else {}
        for key, rows in rows_by_key.items():
            yield partial(_check_outcome, run.plan.outcomes, step.stage, key, tuple(rows), sizes, deep)


def _check_outcome(
    outcomes: Outcomes, stage: Stage, key: str, rows: tuple[int, ...], sizes: dict[str, int], deep: bool
) -> tuple[str, Damage | None]:
    file = outcomes.name(stage.name, key)
    try:
        stored = outcomes.read(stage.name, key)
        file = stored.artifact or file
        if stored.artifact:
            _check_size(file, sizes.get(file), stored.recorded)
        if deep and stored.artifact:
            stage.check_artifact(outcomes.read_artifact(stored))
    except FileNotFoundError:
        return stage.name, Damage(stage.name, file, "missing", True, key, rows)
    except ValueError as error:
        return stage.name, Damage(stage.name, file, message(error, 300), key=key, rows=rows)
    return stage.name, None


def _check_size(file: str, size: int | None, recorded: Recorded | None) -> None:
    if size is None:
        raise FileNotFoundError(file)
    if recorded and size != recorded.size:
        raise DamagedFile(f"{file} has {size} bytes, expected {recorded.size}")


def _cleaned_rows(run: Run, damages: Iterable[Damage]) -> set[int]:
    """The rows whose outcomes are all gone and whose shard exists: `clean --packed` has removed them."""
    inside = run.plan.rows_in_shards()
    gone = Counter(row for damage in damages if damage.missing for row in damage.rows if inside[row])
    made = sum((run.plan.states[name] == State.OK).astype(np.int64) for name in run.plan.steps)
    return {row for row, count in gone.items() if count == made[row]}


# -- the dataset ---------------------------------------------------------------------------------------------------


def _check_index(run: Run, findings: Findings) -> DatasetIndex | None:
    """Check index.json and the card against what is recorded of the shards."""
    shards = run.plan.blocks.shards() if run.plan.blocks else []
    try:
        index = dataset_index.read_index(run.store)
    except dataset_index.DatasetError as error:
        findings.damages.append(Damage(DATASET, dataset.INDEX, message(error)))
        return None
    if index is None:
        if run.store.exists(dataset.CARD):
            findings.damages.append(Damage(DATASET, dataset.INDEX, "missing", True))
        return None
    findings.checked[DATASET] += 2
    if {shard["shard"] for shard in index["shards"]} == {shard["shard"].removeprefix("dataset/") for shard in shards}:
        provenance = {"recipe": run.recipe.provenance()}
        expected = dataset_index.make_index(shards, provenance=provenance, weak_percent=run.recipe.weak_percent)
        if wrong := [name for name, value in index.items() if value != expected.get(name)]:
            why = f"{', '.join(wrong)}: not what the records of its shards say"
            findings.damages.append(Damage(DATASET, dataset.INDEX, why))
            return index
    _check_card(run.store, index, findings)
    return index


def _check_card(store: Store, index: DatasetIndex, findings: Findings) -> None:
    try:
        if store.read(dataset.CARD) != card(index, DECLARED).encode():
            findings.damages.append(Damage(DATASET, dataset.CARD, "it is not the card of index.json"))
    except FileNotFoundError:
        findings.damages.append(Damage(DATASET, dataset.CARD, "missing", True))


def _listed_shards(run: Run, index: DatasetIndex | None) -> dict[str, ListedShard]:
    """By file name: the shards that index.json lists, and those that were packed, which it may not list or no more."""
    listed = {f"{dataset.FOLDER}/{shard['shard']}": shard for shard in (index["shards"] if index else [])}
    packed = run.plan.blocks.recorded_shards() if run.plan.blocks else []
    return listed | {shard["shard"]: dataset_index.listed(shard) for shard in packed}


def _shard_checks(run: Run, shards: dict[str, ListedShard], deep: bool) -> Iterator[Check]:
    if blocks := run.plan.blocks:
        sizes = run.store.list(dataset.DATA)
        for file, shard in shards.items():
            block = f"{shard['split']}-{shard['index']:05d}"
            damage = Damage(blocks.name, file, "missing", True, blocks.packed_key(block), block=block)
            yield partial(_check_shard, run.plan.outcomes, shard, sizes.get(file), deep, damage)


def _check_shard(
    outcomes: Outcomes, shard: ListedShard, size: int | None, deep: bool, missing: Damage
) -> tuple[str, Damage | None]:
    """Check a shard, then the outcome of its block; `missing` is what to report if there is no shard."""
    store, file, recorded = outcomes.store, missing.file, Recorded(shard["bytes"], shard["sha256"])
    try:
        _check_size(file, size, recorded)
        if deep:
            recorded.check(store.read(file), file)
        with store.open(file) as opened, pq.ParquetFile(opened) as shard_file:
            if shard_file.metadata.num_rows != shard["rows"]:
                raise DamagedFile(f"{file} has {shard_file.metadata.num_rows} rows, expected {shard['rows']}")
            for group in range(shard_file.num_row_groups if deep else 0):
                shard_file.read_row_group(group)
    except FileNotFoundError:
        return missing.part, missing
    except (ValueError, OSError, pa.ArrowException) as error:
        return missing.part, replace(missing, why=message(error, 300), missing=False)
    try:
        if missing.key:
            outcomes.read(missing.part, missing.key)
    except (FileNotFoundError, DamagedFile) as error:
        gone, name = isinstance(error, FileNotFoundError), outcomes.name(missing.part, missing.key)
        return missing.part, replace(missing, file=name, why="missing" if gone else str(error), missing=gone)
    return missing.part, None
