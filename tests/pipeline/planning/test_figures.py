"""The figures of a run: which rows count where, and how they are written."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pipeline.planning.counting import count_lost, count_rows, count_wanted
from pipeline.planning.figures import choice_line, to_line
from stages.render import Render
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


def test_what_auto_chose_is_counted() -> None:
    counts: Counter[str] = Counter()
    choice = Render().shown.choice
    assert choice is not None
    for up, sure in (("z", True), ("z", False), ("y", True)):
        choice.count({"up": up, "up_sure": sure}, counts)
    choice.count({}, counts)  # a row that does not say auto
    assert choice_line(choice, counts) == (
        "up: auto took y for 1 row, z for 2 rows; 1 of them unsure (to list them: status --warnings)"
    )
