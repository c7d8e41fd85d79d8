"""Which tasks are tried before a build stops because the first ones of a stage have failed."""

from __future__ import annotations

from pathlib import Path

from pipeline.planning.tasks import BlockTask, Result, RowTask
from pipeline.running.suspicion import FIRST, PROBES, Suspicion
from tests.pipeline.planning.plans import Planned

FAILED = Result("id", "key", False, "exception", "a bug")


def suspected(tasks: list[BlockTask]) -> Suspicion:
    suspicion = Suspicion()
    for task in tasks:
        suspicion.note_failure(task, FAILED)
    return suspicion


def test_blocks_are_chosen_from_those_that_wait(tmp_path: Path) -> None:
    plan = Planned(tmp_path).plan
    blocks = [BlockTask("pack", number) for number in range(100)]
    suspicion = suspected(blocks[:FIRST])
    assert suspicion.active and not suspicion.confirmed
    chosen = suspicion.choose(plan, "pack", blocks[5:], {blocks[50]})
    assert (chosen[0], chosen[-1], len(chosen)) == (blocks[99], blocks[FIRST], PROBES) and blocks[50] not in chosen
    suspicion.probes = set(chosen)
    assert suspicion.covers(blocks[99]) and not suspicion.covers(blocks[98])
    for block in chosen:
        suspicion.note_failure(block, FAILED)
    assert suspicion.confirmed and suspicion.error == "exception: a bug"


def test_rows_that_an_earlier_stage_refuses_are_not_waited_for(tmp_path: Path) -> None:
    plan = Planned(tmp_path).plan
    suspicion = Suspicion()
    suspicion.probes = set(suspicion.choose(plan, "shape", [], {RowTask("shape", 0)}))
    assert suspicion.probes == {RowTask("shape", row) for row in (1, 2, 3)}
    assert suspicion.covers(RowTask("ingest", 3)) and not suspicion.covers(RowTask("ingest", 0))
    plan.set_failed("ingest", 3, "not_found")
    suspicion.forget_lost(plan)
    assert suspicion.probes == {RowTask("shape", row) for row in (1, 2)}
