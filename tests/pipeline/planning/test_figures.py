"""The figures of a run: which rows count where, and how they are written."""

from __future__ import annotations

from pathlib import Path

from pipeline.planning.counting import count_lost, count_rows, count_wanted
from pipeline.planning.figures import to_line
from tests.pipeline.planning.plans import FOUR, PAIRS, Planned


def test_rows_are_counted_where_they_can_still_get(tmp_path: Path) -> None:
    plan = Planned(tmp_path, [*FOUR, {"id": "e", "uri": "/nowhere/e"}], splits=PAIRS)
    plan.finish("a")
    plan.apply("ingest", "b", content="a")
    plan.apply("ingest", "c", "corrupt_file")
    plan.apply("ingest", "d")
    plan.apply("shape", "d", "too_many")
    figures = count_rows(plan.plan)
    assert figures["ingest"] == {
        "todo": 1, "ok": 2, "failed": 1, "duplicates": 1, "reasons": {"corrupt_file": 1}
    }  # fmt: skip
    assert figures["shape"] == {"todo": 1, "ok": 1, "failed": 1, "reasons": {"too_many": 1}}
    assert (figures["words"]["todo"], figures["words"]["ok"]) == (2, 1)  # d does without a shape
    assert figures["pack"] == {"todo": 2, "ok": 0, "failed": 0, "reasons": {}}
    assert count_wanted(plan.plan) == 4 and count_lost(plan.plan) == 2
    assert to_line(figures).startswith("ingest 2/4 (1 failed) | shape 1/3 (1 failed) | words 1/3 | pack 0/2")
