"""What a worker does with a batch: it finds, completes, works and publishes each row, and says why one failed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

from manifests.outcomes import Outcomes
from manifests.store import Store, open_store
from pipeline.planning.tasks import Result
from pipeline.running.messages import EXCEPTION, OUT_OF_MEMORY
from pipeline.running.worker import StageRunner
from stages.contract.stage import MISSING_INPUT, STORE_FAILED, Context, Done, Member, Row, Stage, Work, each
from tests.pipeline.tiny_stages import Gather, Keep, Read, Silent, Start, Trouble, Use

Run = Callable[..., dict[str, Result]]
TORCH = "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path)


@pytest.fixture
def run(store: Store, tmp_path: Path) -> Run:
    """Run a stage on rows, here and not in a process of its own; the results by row id."""

    def run(stage: Stage, *rows: Row) -> dict[str, Result]:
        context = Context(store, tmp_path / "scratch")
        sent: list[Result] = []
        StageRunner(stage, context, stage.open(context)).run(list(rows), sent.extend)
        assert len(sent) == len(rows)
        return {result.id: result for result in sent}

    return run


def item(stage: Stage, row_id: str, needed: dict[str, str] | None = None, **columns: Any) -> Row:
    """A row as the plan gives it."""
    row = {"id": row_id, **columns}
    keys = list((needed or {}).values())
    return row | {
        "needed": needed or {}, "key": stage.key(row, keys), "failure_key": stage.key(row, keys, failed=True)
    }  # fmt: skip


def test_an_outcome_is_published_with_its_artifact(run: Run, store: Store) -> None:
    row = item(Keep(), "a")
    result = run(Keep(), row)["a"]
    assert result.ok and result.key == row["key"]
    assert result.columns == {"length": 1, "kept": result.columns["kept"]}
    assert store.read(result.columns["kept"]) == b"a"
    assert set(store.list("artifacts")) == {
        f"artifacts/keep/{row['key'][:2]}/{row['key']}.json",
        result.columns["kept"],
    }


def test_an_outcome_that_exists_is_found_and_not_worked_again(run: Run) -> None:
    first = run(Keep(), item(Keep(), "a"))["a"]
    again = run(Keep(), item(Keep(), "a"))["a"]
    assert again.columns == first.columns and again.seconds == 0 < first.seconds


@pytest.mark.parametrize("damage", ["outcome is cut", "artifact is gone"])
def test_an_outcome_that_is_damaged_is_made_again(run: Run, tmp_path: Path, damage: str) -> None:
    row = item(Keep(), "a")
    first = run(Keep(), row)["a"]
    if damage == "artifact is gone":
        (tmp_path / first.columns["kept"]).unlink()
    else:
        (tmp_path / "artifacts" / "keep" / row["key"][:2] / f"{row['key']}.json").write_text("{")
    again = run(Keep(), row)["a"]
    assert again.ok and (tmp_path / again.columns["kept"]).read_bytes() == b"a"


def test_a_row_is_completed_with_what_the_stages_it_needs_made(run: Run) -> None:
    started = run(Start(), item(Start(), "a"))["a"]
    result = run(Trouble(), item(Trouble(), "a", {"start": started.key}))["a"]
    assert result.columns["survived"] == "a"


@pytest.mark.parametrize("gone", ["outcome", "artifact"])
def test_a_row_whose_input_is_gone_names_the_stage_that_made_it(run: Run, tmp_path: Path, gone: str) -> None:
    kept = {name: run(Keep(), item(Keep(), name))[name] for name in "ab"}
    for path in (tmp_path / "artifacts").rglob(f"{kept['a'].key}*{'.json' if gone == 'outcome' else '.txt'}"):
        path.unlink()
    results = run(Use(), *[item(Use(), name, {"keep": kept[name].key}) for name in "ab"])
    assert (results["a"].reason, results["a"].lost) == (MISSING_INPUT, {"a": ("keep",)})
    assert results["b"].ok


def test_a_damaged_input_is_withdrawn(run: Run, store: Store) -> None:
    kept = run(Keep(), item(Keep(), "a"))["a"]
    store.replace(kept.columns["kept"], b"b")  # of the same size
    result = run(Read(), item(Read(), "a", {"keep": kept.key}))["a"]
    assert (result.reason, result.lost) == (MISSING_INPUT, {"a": ("keep",)}) and "its sha256 differs" in result.detail
    assert not any(name.endswith(".json") for name in store.list("artifacts/keep"))


def block_of(kept: dict[str, Result]) -> Row:
    """A block as the plan gives it."""
    members: list[Member] = [{"id": name, "source": {}, "needed": {"keep": kept[name].key}} for name in kept]
    return {"id": "train-00000", "key": "0" * 32, "failure_key": "0" * 32, "members": members}


def test_a_block_is_worked_with_what_was_made_of_its_members(run: Run) -> None:
    kept = {name: run(Keep(), item(Keep(), name))[name] for name in "abc"}
    assert run(Gather(), block_of(kept))["train-00000"].columns == {"gathered": ["a", "b", "c"]}


def test_a_block_names_all_members_whose_input_is_gone(run: Run, tmp_path: Path) -> None:
    kept = {name: run(Keep(), item(Keep(), name))[name] for name in "abc"}
    (tmp_path / kept["a"].columns["kept"]).unlink()
    next((tmp_path / "artifacts").rglob(f"{kept['c'].key}.json")).unlink()
    result = run(Gather(), block_of(kept))["train-00000"]
    assert (result.reason, result.lost) == (MISSING_INPUT, {"a": ("keep",), "c": ("keep",)})


def test_a_block_does_without_artifacts_that_its_stage_does_not_read(run: Run, store: Store) -> None:
    block = block_of({"a": run(Keep(), item(Keep(), "a"))["a"]})
    unread = Outcomes(store).publish("other", "1" * 32, {}, b"unread", "other", ".bin")
    store.delete(unread["other"])
    block["members"][0]["needed"]["other"] = "1" * 32
    assert run(Gather(), block)["train-00000"].columns == {"gathered": ["a"]}


def test_of_a_block_only_the_member_with_a_damaged_input_is_made_again(run: Run, store: Store) -> None:
    kept = {name: run(Keep(), item(Keep(), name))[name] for name in "abc"}
    store.replace(kept["b"].columns["kept"], b"spoilt")
    result = run(Gather(), block_of(kept))["train-00000"]
    assert (result.reason, result.lost) == (MISSING_INPUT, {"b": ("keep",)}) and "b: " in result.detail
    assert [Outcomes(store).find("keep", kept[name].key) is None for name in "abc"] == [False, True, False]


@pytest.mark.parametrize("reader", [Read(), Use()])
def test_an_input_that_cannot_be_read_now_may_be_later(run: Run, tmp_path: Path, reader: Stage) -> None:
    """Whether the stage minds (Read) or not (Use). A folder in a file's place stands for a disk that fails."""
    kept = run(Keep(), item(Keep(), "a"))["a"]
    path = tmp_path / kept.columns["kept"]
    path.unlink()
    path.mkdir()
    row = item(reader, "a", {"keep": kept.key})
    failed = run(reader, row)["a"]
    assert (failed.reason, failed.transient) == (STORE_FAILED, True) and path.name in failed.detail
    path.rmdir()
    path.write_text("a")
    assert run(reader, row)["a"].ok


def test_a_bug_costs_its_own_row_and_is_said_with_its_place(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    started = run(Start(), *[item(Start(), name) for name in "abc"])
    rows = [item(Trouble(), name, {"start": started[name].key}, name="raise" * (name == "b")) for name in "abc"]
    results = run(Trouble(), *rows)
    assert results["a"].ok and results["c"].ok
    assert (results["b"].reason, results["b"].transient) == (EXCEPTION, False)
    assert results["b"].key == rows[1]["failure_key"]
    assert results["b"].detail.startswith("ZeroDivisionError: a bug (tiny_stages.py:")
    assert "Traceback" in capsys.readouterr().err


def _raise_from(error: Exception, *, by: Exception) -> None:
    try:
        raise error
    except type(error):
        raise by  # noqa: B904


def _raise(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("ask", "asked"),
    [
        (lambda: bytearray(1 << 60), "MemoryError (test_worker.py:"),
        (lambda: np.ones((1 << 20, 1 << 36)), "MemoryError: Unable to allocate 512. PiB for an array with shape"),
        (lambda: pa.allocate_buffer(1 << 60), "ArrowMemoryError: malloc of size 1152921504606846976 failed"),
        (lambda: _raise(RuntimeError(TORCH)), f"RuntimeError: {TORCH} (test_worker.py:"),
        (lambda: _raise_from(MemoryError("a list"), by=ValueError("cannot decode")), "MemoryError: a list ("),
    ],
)
def test_more_memory_than_there_is_fails_its_row_and_the_worker_goes_on(
    run: Run, ask: Callable[[], object], asked: str
) -> None:
    class Ask(Stage):
        def open(self, context: Context) -> Work:
            return each(lambda row: Done({"asked": row["id"] == "b" and ask() is None}))

    results = run(Ask(), *[item(Ask(), name) for name in "abc"])
    assert results["a"].ok and results["c"].ok
    assert (results["b"].reason, results["b"].transient) == (OUT_OF_MEMORY, False)
    assert results["b"].detail.startswith(f"more memory was asked for than there is: {asked}"), results["b"].detail


def test_a_store_that_raises_anything_costs_its_own_row(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = {"a": MemoryError(), "b": RuntimeError("no credentials")}
    rows = {name: item(Keep(), name) for name in "abc"}
    keys = {rows[name]["key"]: error for name, error in faults.items()}
    find = Outcomes.find_stored
    monkeypatch.setattr(
        Outcomes, "find_stored", lambda self, stage, key: _raise(keys[key]) if key in keys else find(self, stage, key)
    )
    results = run(Keep(), *rows.values())
    assert (results["a"].reason, results["b"].reason) == (OUT_OF_MEMORY, STORE_FAILED) and results["c"].ok
    assert results["b"].transient and results["b"].detail.startswith("RuntimeError: no credentials (")


def test_a_row_of_which_the_stage_says_nothing_has_failed(run: Run) -> None:
    results = run(Silent(), item(Silent(), "a"), item(Silent(), "_b"))
    assert results["a"].ok and results["_b"].reason == EXCEPTION
    assert results["_b"].detail == "the stage silent returned no outcome for this row"


def test_a_store_that_cannot_be_written_is_a_transient_failure(run: Run, tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("where the store makes a folder")
    failed = run(Start(), item(Start(), "a"))["a"]
    assert (failed.ok, failed.transient) == (False, True) and failed.reason == STORE_FAILED


def test_a_key_made_of_content_is_that_of_the_outcome(run: Run) -> None:
    class ByContent(Stage):
        keyed_by_content: ClassVar[bool] = True

        def open(self, context: Context) -> Work:
            return each(lambda row: Done({"size": 1}, content="content"))

    row = {"id": "a", "needed": {}, "failure_key": "f"}
    result = run(ByContent(), row)["a"]
    assert (result.content, result.key) == ("content", ByContent().key(row, (), "content"))
