"""The command `clean`: delete artifacts that no row needs any more and, on request, those of packed rows."""

from __future__ import annotations

import argparse
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from manifests.lease import Lease
from manifests.outcomes import FOLDER
from manifests.store import DRAFT, Store
from pipeline.planning.row_states import State
from pipeline.planning.run import Run, open_run

_KEY = re.compile(rf"{FOLDER}/(?P<stage>[^/]+)/[0-9a-f]{{2}}/(?P<key>[0-9a-f]{{32}})(?P<rest>.*)$")


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("clean", parents=[common], help="delete artifacts that are not needed")
    parser.add_argument("--run", required=True, help="the run folder: a path or a URI")
    parser.add_argument(
        "--packed", action="store_true", help="also delete artifacts of rows that are packed into shards"
    )
    parser.add_argument("--yes", action="store_true", help="delete without asking")


def run(options: argparse.Namespace, overrides: dict[str, Any]) -> int:
    with cleaning(options.run, packed=options.packed) as (store, waste):
        print(f"{len(waste.files)} files, {waste.size / 1e6:,.1f} MB, are not needed in {store.root}")
        if not waste.files:
            return 0
        if not options.yes:
            if not sys.stdin.isatty():
                print("Nothing was deleted; pass --yes to delete them.")
                return 0
            if input("Delete them? [y/N] ").strip().lower() not in ("y", "yes"):
                return 0
        remove(store, waste)
        print("Deleted.")
        return 0


@dataclass(frozen=True)
class Waste:
    """Files that can be deleted: their names and sizes in bytes."""

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
        if len(names) > 1:  # left by a worker that died, or was not the first to publish
            columns = run.plan.outcomes.find(stage, key) or {}
            files |= {name: found[name] for name in names if name not in columns.values()}
    return Waste(files)


def _needed_keys(run: Run, packed: bool) -> dict[str, set[str]]:
    plan = run.plan
    needed: dict[str, set[str]] = defaultdict(set)
    in_shards = plan.rows_in_shards() if packed else np.zeros(len(run.listing), bool)
    for stage in plan.steps:
        for index in np.flatnonzero((plan.states[stage] == State.OK) & ~in_shards).tolist():
            needed[stage].add(plan.key(stage, index))
    if plan.blocks:
        needed[plan.blocks.name] = plan.blocks.keys()
    return needed


@contextmanager
def cleaning(root: str, packed: bool = False) -> Iterator[tuple[Store, Waste]]:
    """Hold the lease of the run while its waste is found, shown and deleted."""
    store = open_run(root).store
    lease = Lease.acquire(store)
    try:
        yield store, find_waste(open_run(root), packed)
    finally:
        lease.release()


def remove(store: Store, waste: Waste) -> None:
    # Outcomes first, so that none ever names an artifact that is deleted.
    for name in sorted(waste.files, key=lambda name: not name.endswith(".json")):
        store.delete(name)
