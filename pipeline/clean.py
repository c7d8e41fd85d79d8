"""Free space: artifacts that no present key needs and, on request, those of rows that are packed already."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from manifests.lease import Lease
from manifests.outcomes import FOLDER
from manifests.store import DRAFT, Store
from pipeline.plan import OK
from pipeline.run import Run, open_run

_KEY = re.compile(rf"{FOLDER}/(?P<stage>[^/]+)/[0-9a-f]{{2}}/(?P<key>[0-9a-f]{{32}})(?P<rest>.*)$")


@dataclass(frozen=True)
class Waste:
    """What can go: file names and their bytes."""

    files: dict[str, int]

    @property
    def size(self) -> int:
        return sum(self.files.values())


def find_waste(run: Run, packed: bool = False) -> Waste:
    needed = _needed_keys(run, packed)
    files: dict[str, int] = {}
    artifacts: dict[tuple[str, str], list[str]] = defaultdict(list)
    found = run.store.list(FOLDER)
    for name, size in found.items():
        match = _KEY.match(name)
        if match is None or name.endswith(DRAFT) or match["key"] not in needed[match["stage"]]:
            files[name] = size
        elif match["rest"] != ".json":
            artifacts[match["stage"], match["key"]].append(name)
    for (stage, key), names in artifacts.items():
        if len(names) > 1:  # a worker that lost the race, or died before its outcome, left one behind
            columns = run.plan.outcomes.find(stage, key) or {}
            files |= {name: found[name] for name in names if name not in columns.values()}
    return Waste(files)


def _needed_keys(run: Run, packed: bool) -> dict[str, set[str]]:
    plan = run.plan
    needed: dict[str, set[str]] = defaultdict(set)
    in_shards = plan.rows_in_shards() if packed else np.zeros(len(run.listing), bool)
    for stage in plan.steps:
        for index in np.flatnonzero((plan.states[stage] == OK) & ~in_shards).tolist():
            needed[stage].add(plan.key(stage, index))
    if plan.blocks:
        needed[plan.blocks.name] = plan.blocks.keys()
    return needed


@contextmanager
def cleaning(root: str, packed: bool = False) -> Iterator[tuple[Store, Waste]]:
    """Holds the run while its waste is looked at, asked about and removed."""
    store = open_run(root).store
    lease = Lease.acquire(store)
    try:
        yield store, find_waste(open_run(root), packed)
    finally:
        lease.release()


def remove(store: Store, waste: Waste) -> None:
    # Outcomes go before the artifacts they name, so that none ever speaks of what is gone.
    for name in sorted(waste.files, key=lambda name: not name.endswith(".json")):
        store.delete(name)
