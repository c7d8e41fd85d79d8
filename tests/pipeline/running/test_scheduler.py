"""The scheduler with worker processes on this machine: what trouble in one row does to that row and to no other."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.planning.figures import count_rows
from pipeline.planning.plan import Retry
from pipeline.running.local_placement import LocalPlacement
from pipeline.running.messages import WorkerSpec
from pipeline.running.scheduler import RunStopped
from pipeline.running.supervisor import Supervisor
from pipeline.step import Step
from stages.contract.schedule import Schedule
from tests.pipeline.building import ROOT
from tests.pipeline.processes import workers_of
from tests.pipeline.run_steps import QUICK, Reserving, make_rows, run_steps
from tests.pipeline.tiny_stages import (
    Broken,
    Buggy,
    Dying,
    Finish,
    Hold,
    HoldLast,
    HoldToo,
    Keep,
    ShowCards,
    Start,
    Trouble,
    Use,
    UseToo,
)

GOOD = {f"good{number}": "" for number in range(6)}
SPEC = WorkerSpec(
    stage=Start(),
    run="/nowhere",
    gpus=0,
    threads=1,
    memory_gb=1,
    timeout_seconds=1,
    open_timeout_seconds=1,
    renew_rows=1,
)
LEAVE = """
import sys
from pipeline.running import supervisor
from tests.pipeline.running.test_scheduler import SPEC

if sys.argv[1] != "here":
    supervisor.pid_space = lambda: sys.argv[1]
supervisor.Supervisor(SPEC)  # and ends without a word
"""


def steps(**changes: object) -> list[Step]:
    return [
        Step(Start(), QUICK),
        Step(Trouble(), QUICK.model_copy(update=changes)),
        Step(Finish(), QUICK),
    ]


def test_rows_walk_through_all_stages(tmp_path: Path) -> None:
    ran = run_steps(tmp_path, make_rows(**GOOD), steps())
    assert ran.ok("finish") == set(GOOD)


@pytest.mark.parametrize(
    ("deed", "reason", "changes"),
    [
        ("fail", "made_to_fail", {}),
        ("raise", "exception", {}),
        ("exit", "exited", {}),
        ("segfault", "crashed", {}),
        ("sleep", "timeout", {"timeout_seconds": 1.0}),
        ("eat", "out_of_memory", {"memory_gb": 0.4}),
    ],
)
def test_trouble_costs_its_own_row_only(tmp_path: Path, deed: str, reason: str, changes: dict[str, object]) -> None:
    ran = run_steps(tmp_path, make_rows(bad=deed, **GOOD), steps(**changes))
    assert ran.reason("trouble", "bad") == reason
    assert ran.records["trouble", "bad"].error
    assert ran.ok("finish") == set(GOOD)
    assert ("finish", "bad") not in ran.records


def test_a_crash_is_told_with_its_signal_and_place(tmp_path: Path) -> None:
    ran = run_steps(tmp_path, make_rows(bad="segfault"), steps())
    assert "SIGSEGV" in ran.records["trouble", "bad"].error
    assert "string_at" in ran.records["trouble", "bad"].error


def test_a_data_failure_stands_until_asked_for(tmp_path: Path) -> None:
    rows = make_rows(bad="fail", good="")
    run_steps(tmp_path, rows, steps())
    again = run_steps(tmp_path, rows, steps())
    assert again.records == {}
    other = run_steps(tmp_path, rows, steps(), retry=Retry(True, "another_reason"))
    assert other.records == {}
    retried = run_steps(tmp_path, rows, steps(), retry=Retry(True, "made_to_fail"))
    assert set(retried.records) == {("trouble", "bad")}


def test_a_passing_failure_is_tried_again_in_the_same_run(tmp_path: Path) -> None:
    rows = make_rows(bad="fail_once", good="")
    rows[0]["caption"] = str(tmp_path / "mark")
    ran = run_steps(tmp_path / "run", rows, steps(attempts=2))
    assert ran.ok("finish") == {"bad", "good"}
    assert ran.records["trouble", "bad"].attempts == 2


def test_a_lost_worker_is_tried_again_in_the_next_run_up_to_a_lifetime_cap(tmp_path: Path) -> None:
    rows = make_rows(bad="exit", good="")
    tried = []
    for _ in range(3):
        record = run_steps(tmp_path, rows, steps(attempts=5)).records.get(("trouble", "bad"))
        tried.append(record.attempts if record else None)
    assert tried == [5, 10, None]


def test_running_again_does_nothing_and_a_changed_setting_redoes_what_depends_on_it(tmp_path: Path) -> None:
    rows = make_rows(**GOOD)
    run_steps(tmp_path, rows, steps())
    assert run_steps(tmp_path, rows, steps()).records == {}
    changed = steps()
    changed[1] = Step(Trouble(setting=1), QUICK)
    ran = run_steps(tmp_path, rows, changed)
    assert {stage for stage, _ in ran.records} == {"trouble", "finish"}
    assert run_steps(tmp_path, rows, steps()).records.keys() == ran.records.keys()  # back: found, not worked


def test_added_and_withdrawn_rows(tmp_path: Path) -> None:
    run_steps(tmp_path, make_rows(a="", b=""), steps())
    ran = run_steps(tmp_path, make_rows(b="", c=""), steps())
    assert {name for _, name in ran.records} == {"c"}
    assert count_rows(ran.plan)["finish"]["ok"] == 2
    assert run_steps(tmp_path, make_rows(a="", b="", c=""), steps()).records == {}


def test_a_lost_log_is_recovered_from_outcomes(tmp_path: Path) -> None:
    rows = make_rows(a="slow", b="slow")
    run_steps(tmp_path, rows, steps())
    for part in (tmp_path / "manifest" / "log").rglob("*.parquet"):
        part.write_bytes(part.read_bytes()[:50])  # damaged
    ran = run_steps(tmp_path, rows, steps())
    assert ran.ok("finish") == {"a", "b"}
    assert all(record.seconds == 0 for record in ran.records.values())  # found, not worked


def test_a_lost_artifact_is_made_again(tmp_path: Path) -> None:
    rows = make_rows(a="", b="")
    run_steps(tmp_path, rows, [Step(Keep(), QUICK)])
    for file in (tmp_path / "artifacts" / "keep").rglob("*.json"):
        file.unlink()
    ran = run_steps(tmp_path, rows, [Step(Keep(), QUICK), Step(Use(), QUICK)])
    assert ran.ok("use") == {"a", "b"}
    assert ran.ok("keep") == {"a", "b"}


@pytest.mark.parametrize("damage", ["json gone", "artifact gone", "json empty"])
def test_whatever_of_an_outcome_is_lost_it_is_made_again(tmp_path: Path, damage: str) -> None:
    rows = make_rows(a="", b="")
    steps = [Step(Keep(), QUICK), Step(Use(), QUICK), Step(UseToo(), QUICK)]
    run_steps(tmp_path, rows, steps[:1])
    for file in (tmp_path / "artifacts" / "keep").rglob("*.txt" if damage == "artifact gone" else "*.json"):
        file.write_text("") if damage == "json empty" else file.unlink()
    ran = run_steps(tmp_path, rows, steps)
    assert ran.ok("use") == ran.ok("usetoo") == {"a", "b"}
    assert run_steps(tmp_path, rows, steps).records == {}


def test_what_went_before_is_made_again_from_the_start_where_all_is_lost(tmp_path: Path) -> None:
    rows = make_rows(a="", b="", c="")
    run_steps(tmp_path, rows, steps())
    shutil.rmtree(tmp_path / "artifacts")
    changed = [*steps()[:2], Step(Finish(setting=1), QUICK)]
    assert run_steps(tmp_path, rows, changed).ok("finish") == {"a", "b", "c"}


def test_rows_that_crash_again_in_a_later_run_do_not_stop_it(tmp_path: Path) -> None:
    rows = make_rows(**GOOD, **{f"bad{number}": "exit" for number in range(12)})
    run_steps(tmp_path, rows, steps(attempts=1))
    again = run_steps(tmp_path, [*rows, *make_rows(new="")], steps(attempts=1))
    assert again.ok("finish") == {"new"}


def test_workers_that_cannot_be_started_stop_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(RunStopped, match="start cannot start: cannot run a worker process: FileNotFoundError"):
        run_steps(tmp_path, make_rows(a=""), [Step(Start(), QUICK)])


def test_a_stage_that_cannot_open_stops_the_run_and_says_why(tmp_path: Path) -> None:
    with pytest.raises(RunStopped, match="broken cannot start: RuntimeError: no such model"):
        run_steps(tmp_path, make_rows(a=""), [Step(Broken(), QUICK)])


@pytest.mark.parametrize(
    ("how", "cause", "changes"),
    [
        ("exit", "exited with code 3", {}),
        ("segfault", "killed by SIGSEGV: .*string_at", {}),
        ("eat", "used more than 0.4 GiB of memory", {"memory_gb": 0.4}),
        ("sleep", "timed out after 1 s while opening; worker killed", {"open_timeout_seconds": 1.0}),
    ],
)
def test_workers_that_die_while_they_open_cost_no_row_and_stop_the_run(
    tmp_path: Path, how: str, cause: str, changes: dict[str, object]
) -> None:
    rows = make_rows(a="", b="", c="")
    schedule = QUICK.model_copy(update={"workers": 1, "attempts": 1, **changes})
    opened: list[str] = []

    class Counting(LocalPlacement):
        def send(self, worker: int, rows: list) -> None:
            opened.append("")
            super().send(worker, rows)

    with pytest.raises(RunStopped, match=f"dying cannot start: {cause}"):
        run_steps(tmp_path, rows, [Step(Dying(how=how), schedule)], Counting())
    assert len(opened) == 3
    assert not list((tmp_path / "manifest" / "log").rglob("*.parquet"))  # nothing is said of any row


def test_a_stage_whose_first_rows_all_fail_without_a_reason_stops_the_run(tmp_path: Path) -> None:
    rows = make_rows(**{f"row{number}": "" for number in range(30)})
    with pytest.raises(RunStopped, match="buggy: the first 10 rows all failed with exception.*no_such_column"):
        run_steps(tmp_path, rows, [Step(Buggy(), QUICK)])


def test_a_worker_killed_from_outside_costs_no_row(tmp_path: Path) -> None:
    rows = make_rows(**{f"row{number}": "slow" for number in range(40)})
    placement = LocalPlacement()
    stop = threading.Event()
    killed: list[int] = []

    def kill_some() -> None:
        before = 0
        while not stop.is_set() and len(killed) < 3:
            time.sleep(0.1)
            made = len(list((tmp_path / "artifacts" / "trouble").rglob("*.json")))
            for pid in workers_of(os.getpid())[:1] if made > before else ():  # three in a row while they open: a stop
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
            before = made

    killer = threading.Thread(target=kill_some)
    killer.start()
    ran = run_steps(tmp_path, rows, steps(attempts=10), placement)
    stop.set()
    killer.join()
    assert killed
    assert ran.ok("finish") == {row["id"] for row in rows}


def test_workers_are_renewed_and_leave_nothing_behind(tmp_path: Path) -> None:
    ran = run_steps(tmp_path, make_rows(**GOOD), steps(renew_rows=1, batch=1))
    assert ran.ok("finish") == set(GOOD)
    assert workers_of(os.getpid()) == []


def test_little_waits_before_a_slow_stage(tmp_path: Path) -> None:
    schedule = Schedule(cpus=0.1, batch=2, workers=1, linger_seconds=0.0)
    rows = make_rows(**{f"row{number}": "slow" for number in range(30)})
    order: list[tuple[str, str]] = []

    class Watched(LocalPlacement):
        def wait(self, seconds: float) -> list:
            told = super().wait(seconds)
            order.extend(
                ("start" if result.columns.get("started") else "trouble", result.id)
                for _, message in told
                if isinstance(message, list)
                for result in message
                if "finished" not in result.columns
            )
            return told

    run_steps(tmp_path, rows, [Step(Start(), schedule), Step(Trouble(), schedule), Step(Finish(), schedule)], Watched())
    ahead = most = 0
    for stage, _ in order:
        ahead += 1 if stage == "start" else -1
        most = max(most, ahead)
    assert most <= 3 * 2 + 2  # two batches waiting and one in work, and one on its way


@pytest.mark.parametrize("cpus", [pytest.param(1.0, marks=pytest.mark.slow), 4.0])
def test_stages_take_turns_on_one_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpus: float) -> None:
    """As in a preset where fit takes all four CPUs, and embed and align a GPU each."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    card = str(tmp_path / "card")
    schedule = Schedule(cpus=1, gpus=1, batch=4, linger_seconds=0.05)
    steps = [
        Step(Start(), QUICK),
        Step(Hold(card=card), schedule.model_copy(update={"cpus": cpus})),
        Step(HoldToo(card=card), schedule),
        Step(HoldLast(card=card), schedule),
    ]
    placement = Reserving(cpus=4, gpus=1)
    names = {f"row{number}" for number in range(40)}
    ran = run_steps(tmp_path / "run", make_rows(**dict.fromkeys(names, "")), steps, placement)
    assert ran.ok("hold") == ran.ok("holdtoo") == ran.ok("holdlast") == names
    assert placement.most_gpus == 1
    # There are thirty batches, and a turn is worth two unless a stage runs dry.
    assert 3 <= sum(name != "start" for name in placement.started) < 24, placement.started


def test_workers_share_cards_and_no_worker_is_spread_over_two(tmp_path: Path) -> None:
    schedule = Schedule(cpus=0.1, gpus=0.6, batch=1, linger_seconds=0.0)
    placement = Reserving(cpus=4, gpus=2)
    rows = make_rows(**{f"row{number}": "" for number in range(12)})
    ran = run_steps(tmp_path, rows, [Step(Start(), QUICK), Step(ShowCards(), schedule)], placement)
    assert len(ran.ok("showcards")) == 12
    assert placement.started.count("showcards") == 2  # there would be 0.8 for a third, of no one card


@pytest.mark.parametrize(("place", "stays"), [("here", False), ("elsewhere", True)])
def test_a_dead_process_leaves_scratch_to_be_cleared_by_those_who_know_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, stays: bool
) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", LEAVE, place], cwd=ROOT, env=environment, check=True)
    (left,) = tmp_path.glob("*/*")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    alive = [Supervisor(SPEC), Supervisor(SPEC)]
    assert left.exists() == stays
    assert len(list(tmp_path.glob("*/*"))) == 2 + stays
    for supervisor in alive:
        supervisor.close()
    assert list(tmp_path.glob("*/*")) == [left] * stays
