"""What must hold after a build, whatever was done to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise

from tests.chaos.disturbed import DisturbedBuild
from tests.chaos.reading import failed_rows, read_failures, read_ids, read_status
from tests.chaos.undisturbed import Undisturbed
from tests.pipeline.building import dataset_files

_LONGEST_DETAIL = 1_000
_COUNTS = ("todo", "ok", "failed", "duplicates")


def find_differences(build: DisturbedBuild, expected: Undisturbed) -> list[str]:
    """In what a build differs from the undisturbed one, and what it has left behind; an empty list: in nothing."""
    return [*_in_the_dataset(build, expected), *_in_the_status(build, expected), *_left_behind(build)]


def _in_the_dataset(build: DisturbedBuild, expected: Undisturbed) -> Iterator[str]:
    found = dataset_files(build.run)
    for name in sorted(expected.files.keys() | found.keys()):
        if name not in found:
            yield f"dataset/{name} is missing"
        elif name not in expected.files:
            yield f"dataset/{name} should not be there"
        elif found[name] != expected.files[name]:
            yield f"dataset/{name} has other bytes"
    ids = read_ids(build.run)
    if ids != expected.ids:
        yield f"the dataset has the rows {ids}, expected {expected.ids}"
    yield from (f"{one} is in the dataset twice" for one, other in pairwise(ids) if one == other)


def _in_the_status(build: DisturbedBuild, expected: Undisturbed) -> Iterator[str]:
    status = read_status(build.run)
    if failed_rows(status) != failed_rows(expected.status):
        yield f"failed rows: {failed_rows(status)}, expected {failed_rows(expected.status)}"
    for stage, counts in expected.status["stages"].items():
        for name in _COUNTS:
            if (found := status["stages"][stage].get(name)) != counts.get(name):
                yield f"status: {found} {name} at {stage}, expected {counts.get(name)}"
    for failure in read_failures(build.run):
        detail = failure["error"]
        if not failure["reason"] or not detail or "\n" in detail or len(detail) > _LONGEST_DETAIL:
            yield f"a failure without a proper reason: {failure}"


def _left_behind(build: DisturbedBuild) -> Iterator[str]:
    if read_status(build.run)["building"]:
        yield "status says that a build is at work"
    beat = max((build.run / "manifest" / "lease").glob("*-beat.json"))
    if not json.loads(beat.read_text())["released"]:
        yield f"{beat.name}: the lease was not released"
    build.reclaim_scratch()
    yield from (f"scratch is left: {folder}" for folder in build.scratch.folder.glob("gs-triplets-*/*"))
