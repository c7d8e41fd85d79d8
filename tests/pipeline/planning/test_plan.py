"""The plan: what is to be done for which row, from the listing and the log alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.planning.row_states import LIFETIME_ATTEMPTS, Retry
from pipeline.planning.tasks import RowTask
from tests.pipeline.planning.plans import FOUR, Planned, three_steps

TWO = FOUR[:2]


def test_a_row_is_ready_where_what_it_needs_is_done(tmp_path: Path) -> None:
    plan = Planned(tmp_path, TWO)
    assert plan.ready("ingest") == ["a", "b"] and not plan.ready("shape")
    assert plan.apply("ingest", "a") == {("shape", "a")}
    assert (plan.ready("ingest"), plan.ready("shape"), plan.ready("words")) == (["b"], ["a"], [])
    assert plan.apply("shape", "a") == {("words", "a")}
    assert plan.apply("words", "a") == set()
    assert not plan.ready("no such stage")


def test_where_a_stage_failed_only_what_can_do_without_it_is_ready(tmp_path: Path) -> None:
    plan = Planned(tmp_path, TWO)
    assert plan.apply("ingest", "a", "corrupt_file") == set()
    plan.apply("ingest", "b")
    assert plan.apply("shape", "b", "too_many") == {("words", "b")}
    assert plan.ready("words") == ["b"]


def test_what_is_done_is_not_done_again_by_a_later_build(tmp_path: Path) -> None:
    Planned(tmp_path, TWO).finish("a")
    later = Planned(tmp_path, TWO)
    assert [later.ready(stage) for stage in ("ingest", "shape", "words")] == [["b"], [], []]


@pytest.mark.parametrize(
    ("retry", "again"),
    [(Retry(), []), (Retry(True), ["a"]), (Retry(True, "too_many"), ["a"]), (Retry(True, "too_few"), [])],
)
def test_a_failure_of_the_data_stands_until_it_is_asked_for(tmp_path: Path, retry: Retry, again: list[str]) -> None:
    Planned(tmp_path, TWO).finish("a", shape="too_many")
    assert Planned(tmp_path, TWO, retry=retry).ready("shape") == again


@pytest.mark.parametrize(("attempts", "again"), [(LIFETIME_ATTEMPTS - 1, ["a"]), (LIFETIME_ATTEMPTS, [])])
def test_a_transient_failure_is_tried_again_by_later_builds_up_to_a_cap(
    tmp_path: Path, attempts: int, again: list[str]
) -> None:
    plan = Planned(tmp_path, TWO)
    plan.apply("ingest", "a")
    plan.apply("shape", "a", "timeout", transient=True, attempts=attempts)
    later = Planned(tmp_path, TWO)
    assert later.ready("shape") == again
    assert later.plan.attempts[RowTask("shape", 0)] == attempts  # the next record counts from there
    assert Planned(tmp_path, TWO, as_recorded=True).ready("shape") == []


def test_a_changed_setting_redoes_its_stage_and_what_needs_it(tmp_path: Path) -> None:
    Planned(tmp_path, TWO).finish("a", "b")
    changed = Planned(tmp_path, TWO, three_steps(setting=1))
    assert [changed.ready(stage) for stage in ("ingest", "shape", "words")] == [[], ["a", "b"], []]
    assert changed.apply("shape", "a") == {("words", "a")}


def test_a_raised_limit_redoes_only_what_it_refused(tmp_path: Path) -> None:
    plan = Planned(tmp_path, TWO)
    plan.finish("a")
    plan.finish("b", shape="too_many")
    assert Planned(tmp_path, TWO, three_steps(most=10)).ready("shape") == []
    raised = Planned(tmp_path, TWO, three_steps(most=11))
    assert [raised.ready(stage) for stage in ("ingest", "shape", "words")] == [[], ["b"], []]


def test_an_optional_stage_is_worked_again_when_what_it_did_without_has_come(tmp_path: Path) -> None:
    Planned(tmp_path, TWO).finish("a", shape="too_many")
    later = Planned(tmp_path, TWO, retry=Retry(True))
    assert later.ready("words") == []  # it waits for the second try
    assert later.apply("shape", "a") == {("words", "a")}


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_of_rows_with_equal_content_the_first_listed_is_kept(tmp_path: Path, order: str) -> None:
    plan = Planned(tmp_path)
    for name in order:
        plan.apply("ingest", name, content="same")
    plan.apply("ingest", "c")
    assert plan.ready("shape") == ["a", "c"]
    assert plan.plan.duplicates.tolist() == [False, True, False, False]
    assert Planned(tmp_path).ready("shape") == ["a", "c"]
    assert Planned(tmp_path, FOUR[1:]).ready("shape") == ["b", "c"]  # the first is withdrawn: the other is kept


def test_rows_that_left_the_source_have_no_work_and_take_up_theirs_when_they_return(tmp_path: Path) -> None:
    plan = Planned(tmp_path, TWO)
    plan.apply("ingest", "a")
    plan.finish("b")
    assert Planned(tmp_path, FOUR[1:3]).ready("ingest") == ["c"]
    returned = Planned(tmp_path, FOUR[:3])
    assert [returned.ready(stage) for stage in ("ingest", "shape", "words")] == [["c"], ["a"], []]


def test_a_row_whose_source_changed_is_ingested_again(tmp_path: Path) -> None:
    Planned(tmp_path, TWO).finish("a", "b")
    later = Planned(tmp_path, TWO, changed=["b"])
    assert [later.ready(stage) for stage in ("ingest", "shape", "words")] == [["b"], [], []]
    assert later.apply("ingest", "b", content="other") == {("shape", "b")}


def test_a_row_that_the_source_describes_wrongly_fails_with_that_reason(tmp_path: Path) -> None:
    plan = Planned(tmp_path, [{**FOUR[0], "problem": "bad_row"}, FOUR[1]])
    assert plan.ready("ingest") == ["b"]
    assert plan.plan.reasons["ingest"] == {"bad_row": 1}


def test_what_is_lost_is_made_again_and_then_what_needed_it(tmp_path: Path) -> None:
    plan = Planned(tmp_path, TWO)
    plan.apply("ingest", "a")
    plan.apply("shape", "a")
    assert plan.redo("words", "a", "ingest", "shape") == {("ingest", "a")}
    assert not plan.ready("words")
    assert plan.apply("ingest", "a") == {("shape", "a")}
    assert plan.apply("shape", "a") == {("words", "a")}
