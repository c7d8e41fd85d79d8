"""What a stage reads of earlier ones: where it is damaged, out of reach, or was never made."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from pipeline.planning.plan import Retry
from pipeline.step import Step
from stages.contract.stage import STORE_FAILED, Context, DamagedInput, Done, Row, Stage, Work, each, read_input
from tests.pipeline.building import build, ids_in_dataset, reasons, write_meshes
from tests.pipeline.run_steps import QUICK, make_rows, run_steps
from tests.pipeline.tiny_stages import Keep, Start, Trouble, Use

OPTIONAL = QUICK.model_copy(update={"optional": True})
NAMES = frozenset({"start", "trouble", "tell"})


class Read(Stage):
    """in: kept   out: read"""

    needs: ClassVar[tuple[str, ...]] = ("keep",)

    def open(self, context: Context) -> Work:
        def work(row: Row) -> Done:
            text = read_input(context.store, row["kept"], "keep").decode()
            if text != row["id"]:
                raise DamagedInput("keep", f"it says {text!r}")
            return Done({"read": text})

        return each(work)


class Tell(Stage):
    """in: started, and survived where there is a trouble   out: told"""

    needs: ClassVar[tuple[str, ...]] = ("start",)

    @property
    def may_need(self) -> tuple[str, ...]:
        return ("trouble",)

    def open(self, context: Context) -> Work:
        return each(lambda row: Done({"told": row.get("survived")}))


def test_what_is_damaged_is_taken_back_and_made_again(tmp_path: Path) -> None:
    rows = make_rows(a="", b="", c="")
    run_steps(tmp_path, rows, [Step(Keep(), QUICK)])
    first, *_ = sorted((tmp_path / "artifacts" / "keep").rglob("*.txt"))
    kept = first.read_text()
    first.write_text("spoilt")
    ran = run_steps(tmp_path, rows, [Step(Keep(), QUICK), Step(Read(), QUICK)])
    assert ran.ok("read") == {"a", "b", "c"}
    assert ran.ok("keep") == {kept}  # no other was made again
    assert {ran.records["read", name].columns["read"] for name in "abc"} == {"a", "b", "c"}


@pytest.mark.parametrize("reader", [Read(), Use()])
def test_what_cannot_be_read_now_may_be_later(tmp_path: Path, reader: Stage) -> None:
    """Whether the stage minds (Read) or not (Use). A folder in a file's place stands for a disk that fails."""
    rows, steps = make_rows(a="", b=""), [Step(Keep(), QUICK), Step(reader, QUICK)]
    run_steps(tmp_path, rows, steps[:1])
    first = min((tmp_path / "artifacts" / "keep").rglob("*.txt"))
    kept = first.read_text()
    first.unlink()
    first.mkdir()
    failed = run_steps(tmp_path, rows, steps).records[reader.name, kept]
    assert (failed.reason, failed.transient) == (STORE_FAILED, True)
    assert first.name in failed.error
    first.rmdir()
    first.write_text(kept)
    assert run_steps(tmp_path, rows, steps).ok(reader.name) == {kept}


def test_a_stage_works_without_what_it_may_do_without(tmp_path: Path) -> None:
    """And is worked again with it, once that has come."""
    rows = make_rows(good="", bad="fail")
    steps = [Step(Start(), QUICK), Step(Trouble(), OPTIONAL, NAMES), Step(Tell(), OPTIONAL, NAMES)]
    ran = run_steps(tmp_path, rows, steps)
    assert ran.reason("trouble", "bad") == "made_to_fail"
    assert {name: ran.records["tell", name].columns["told"] for name in ("good", "bad")} == {
        "good": "good",
        "bad": None,
    }
    again = run_steps(tmp_path, rows, steps)
    assert not again.records  # nothing is left to do
    mended = make_rows(good="", bad="")
    ran = run_steps(tmp_path, mended, steps, retry=Retry(True))
    assert ran.ok("trouble") == ran.ok("tell") == {"bad"}
    assert ran.records["tell", "bad"].columns["told"] == "bad"


@pytest.mark.slow
def test_a_build_mends_what_was_cut_short_on_disk(tmp_path: Path) -> None:
    """As a power cut leaves files: whole by name, and half of what they were."""
    source, run = write_meshes(tmp_path / "source", count=3), tmp_path / "run"
    for stage in ("ingest", "render"):
        build(source, run, "--only", stage)
        made = min((run / "artifacts" / stage).rglob("*.zip"))
        made.write_bytes(made.read_bytes()[: made.stat().st_size // 2])
    build(source, run)
    assert len(ids_in_dataset(run)) == 3 and not reasons(run)
