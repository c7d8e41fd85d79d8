"""The scheduler with worker processes on this machine: what trouble in one row does to that row and to no other."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pipeline.planning.row_states import LIFETIME_ATTEMPTS, Retry
from pipeline.running import scheduler
from pipeline.running.local_placement import LocalPlacement
from pipeline.running.messages import Message, WorkerSpec
from pipeline.running.placement import WorkerId
from pipeline.running.scheduler import RunStopped
from pipeline.step import Step
from stages.contract.schedule import Schedule
from stages.contract.stage import Row
from tests.pipeline.processes import children_of
from tests.pipeline.run_steps import QUICK, make_rows, run_steps
from tests.pipeline.tiny_stages import Broken, Buggy, Dying, Finish, Keep, Read, Start, Tell, Trouble, Use, UseToo

GOOD = {f"good{number}": "" for number in range(6)}
REASONS = {
    "fail": "made_to_fail",
    "busy": "busy",
    "raise": "exception",
    "exit": "exited",
    "segfault": "crashed",
    "hang": "timeout",
    "eat": "out_of_memory",
}
OPTIONAL = QUICK.model_copy(update={"optional": True})


class Watched(LocalPlacement):
    """Keeps the stages of the workers that are started, the batches that are sent, and the results as they come."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[str] = []
        self.batches: list[list[str]] = []  # row ids
        self.columns: list[Row] = []

    def start(self, worker: WorkerId, spec: WorkerSpec) -> None:
        self.started.append(spec.stage.name)
        super().start(worker, spec)

    def send(self, worker: WorkerId, rows: list[Row]) -> None:
        self.batches.append([row["id"] for row in rows])
        super().send(worker, rows)

    def wait(self, seconds: float) -> list[tuple[WorkerId, Message]]:
        messages = super().wait(seconds)
        self.columns += [result.columns for _, message in messages if isinstance(message, list) for result in message]
        return messages


def steps(**changes: object) -> list[Step]:
    return [Step(Start(), QUICK), Step(Trouble(), QUICK.model_copy(update=changes)), Step(Finish(), QUICK)]


def test_trouble_costs_its_own_row_only(tmp_path: Path) -> None:
    rows = make_rows(**{deed: deed for deed in REASONS}, **GOOD)
    three = steps(workers=2, batch=8, attempts=1, timeout_seconds=3, memory_gb=0.4)
    tell = Step(Tell(), OPTIONAL, frozenset({"start", "trouble", "tell"}))
    ran = run_steps(tmp_path, rows, [*three, tell])
    assert {deed: ran.reason("trouble", deed) for deed in REASONS} == REASONS
    assert all(ran.records["trouble", deed].error for deed in REASONS)
    assert ran.ok("finish") == set(GOOD)
    assert not any(("finish", deed) in ran.records for deed in REASONS)
    values = {row["id"]: ran.records["tell", row["id"]].columns["told"] for row in rows}
    assert values == dict.fromkeys(REASONS) | {name: name for name in GOOD}  # it may do without


def test_of_a_batch_whose_worker_dies_the_first_row_is_tried_alone_and_the_others_in_halves(tmp_path: Path) -> None:
    placement = Watched()
    rows = make_rows(first="", bad="exit", **dict.fromkeys("abcdef", ""))
    schedule = QUICK.model_copy(update={"batch": 8, "linger_seconds": 60.0, "attempts": 1})
    ran = run_steps(tmp_path, rows, [Step(Start(), schedule), Step(Trouble(), schedule)], placement)
    assert ran.ok("trouble") == {"first", *"abcdef"}
    _, *batches = placement.batches
    assert batches == [["first", "bad", *"abcdef"], ["bad"], [*"abc"], [*"def"]]


def test_a_worker_killed_from_outside_costs_no_row(tmp_path: Path) -> None:
    deeds = ["kill_once" if number in (3, 11, 19) else "" for number in range(24)]
    rows = make_rows(**{f"row{number}": deed for number, deed in enumerate(deeds)})
    ran = run_steps(tmp_path, rows, steps(workers=2))
    assert ran.ok("finish") == {row["id"] for row in rows}


def test_a_passing_failure_is_tried_again_in_the_same_build(tmp_path: Path) -> None:
    ran = run_steps(tmp_path, make_rows(bad="busy_once", good=""), steps(attempts=2))
    assert ran.ok("finish") == {"bad", "good"}
    assert ran.records["trouble", "bad"].attempts == 2


def test_attempts_are_counted_over_all_builds(tmp_path: Path) -> None:
    rows, tried = make_rows(bad="busy"), []
    for _ in range(3):
        record = run_steps(tmp_path, rows, steps(attempts=LIFETIME_ATTEMPTS // 2)).records.get(("trouble", "bad"))
        tried.append(record and record.attempts)
    assert tried == [LIFETIME_ATTEMPTS // 2, LIFETIME_ATTEMPTS, None]


def test_a_later_build_does_what_a_changed_setting_asks_and_finds_what_was_made_before(tmp_path: Path) -> None:
    rows = make_rows(a="", b="")
    run_steps(tmp_path, rows, steps())
    changed = steps()
    changed[1] = Step(Trouble(setting=1), QUICK)
    ran = run_steps(tmp_path, rows, changed)
    assert {stage for stage, _ in ran.records} == {"trouble", "finish"}
    back = run_steps(tmp_path, rows, steps())
    assert back.records.keys() == ran.records.keys()
    assert all(record.seconds == 0 for record in back.records.values())  # found, not worked
    assert run_steps(tmp_path, rows, steps()).records == {}


def test_a_lost_log_is_recovered_from_outcomes(tmp_path: Path) -> None:
    rows = make_rows(a="", b="")
    run_steps(tmp_path, rows, steps())
    for part in (tmp_path / "manifest" / "log").rglob("*.parquet"):
        part.write_bytes(part.read_bytes()[:50])  # damaged
    ran = run_steps(tmp_path, rows, steps())
    assert ran.ok("finish") == {"a", "b"}
    assert all(record.seconds == 0 for record in ran.records.values())  # found, not worked


@pytest.mark.parametrize("damage", ["outcomes are gone", "artifacts are gone"])
def test_what_is_lost_of_an_outcome_is_made_again_for_all_who_need_it(tmp_path: Path, damage: str) -> None:
    rows = make_rows(a="", b="")
    three = [Step(Keep(), QUICK), Step(Use(), QUICK), Step(UseToo(), QUICK)]
    run_steps(tmp_path, rows, three[:1])
    for file in (tmp_path / "artifacts" / "keep").rglob("*.txt" if damage == "artifacts are gone" else "*.json"):
        file.unlink()
    ran = run_steps(tmp_path, rows, three)
    assert ran.ok("keep") == ran.ok("use") == ran.ok("usetoo") == {"a", "b"}


def test_what_is_damaged_is_made_again_and_nothing_else(tmp_path: Path) -> None:
    rows = make_rows(a="", b="", c="")
    run_steps(tmp_path, rows, [Step(Keep(), QUICK)])
    first, *_ = sorted((tmp_path / "artifacts" / "keep").rglob("*.txt"))
    kept = first.read_text()
    first.write_text("spoilt")
    ran = run_steps(tmp_path, rows, [Step(Keep(), QUICK), Step(Read(), QUICK)])
    assert ran.ok("keep") == {kept}
    assert {name: ran.records["read", name].columns["read"] for name in "abc"} == {"a": "a", "b": "b", "c": "c"}


def test_what_went_before_is_made_again_from_the_start_where_all_is_lost(tmp_path: Path) -> None:
    rows = make_rows(a="", b="", c="")
    run_steps(tmp_path, rows, steps())
    shutil.rmtree(tmp_path / "artifacts")
    changed = [*steps()[:2], Step(Finish(setting=1), QUICK)]
    assert run_steps(tmp_path, rows, changed).ok("finish") == {"a", "b", "c"}


def test_a_stage_that_fails_without_a_reason_on_rows_from_all_over_the_list_stops_the_build(tmp_path: Path) -> None:
    rows, placement = make_rows(**{f"row{number:02}": "" for number in range(60)}), Watched()
    with pytest.raises(
        RunStopped, match="buggy: the first 10 rows and 10 others .* failed.* exception:.*no_such_column"
    ):
        run_steps(tmp_path, rows, [Step(Buggy(), QUICK)], placement)
    first, others = placement.batches[:3], placement.batches[3:]
    assert sum(first, []) == [f"row{number:02}" for number in range(12)]  # three batches, which are recorded as usual
    assert {len(batch) for batch in others} == {1} and len(others) == 10
    assert {"row59", "row38", "row12"} < {name for batch in others for name in batch}


@pytest.mark.parametrize(
    ("deed", "ahead"),  # ahead: rows that the first stage works in a batch
    [("raise", 1), ("raise", 1000), pytest.param("exit", 1000, marks=pytest.mark.slow)],
)
def test_bad_rows_at_the_start_of_a_list_do_not_stop_a_build(tmp_path: Path, deed: str, ahead: int) -> None:
    bad = {f"bad{number:02}": deed for number in range(24)}
    rows = make_rows(**bad, **{f"good{number}": "" for number in range(12)})
    three = [Step(Start(), QUICK.model_copy(update={"batch": ahead})), *steps(attempts=1, batch=2)[1:]]
    placement = Watched()
    ran = run_steps(tmp_path, rows, three, placement)
    assert ran.ok("finish") == {f"good{number}" for number in range(12)}
    assert {ran.reason("trouble", name) for name in bad} == {REASONS[deed]}
    good = next(number for number, batch in enumerate(placement.batches) if "good11" in batch)
    assert ahead > 1 or not any("bad20" in batch for batch in placement.batches[:good])  # the last row overtook it


def test_where_no_other_row_is_left_every_row_is_tried_and_has_its_reason(tmp_path: Path) -> None:
    rows = make_rows(**{f"row{number}": "" for number in range(19)})
    ran = run_steps(tmp_path, rows, [Step(Buggy(), QUICK)])
    assert len(ran.records) == 19 and {record.reason for record in ran.records.values()} == {"exception"}


def test_rows_that_ask_for_too_much_memory_say_nothing_about_their_stage(tmp_path: Path) -> None:
    ran = run_steps(tmp_path, make_rows(**{f"row{number}": "refused" for number in range(30)}), steps(batch=8))
    assert {record.reason for (stage, _), record in ran.records.items() if stage == "trouble"} == {"out_of_memory"}


def test_rows_that_fail_again_in_a_later_build_do_not_stop_it(tmp_path: Path) -> None:
    rows = make_rows(**GOOD, **{f"bad{number}": "raise" for number in range(12)})
    run_steps(tmp_path, rows, steps())
    again = run_steps(tmp_path, [*rows, *make_rows(new="")], steps(), retry=Retry(True))
    assert again.ok("finish") == {"new"} and len(again.records) == 12 + 3


def test_a_stage_that_cannot_open_stops_the_build_and_says_why(tmp_path: Path) -> None:
    with pytest.raises(RunStopped, match="broken cannot start: RuntimeError: no such model"):
        run_steps(tmp_path, make_rows(a=""), [Step(Broken(), QUICK)])


def test_workers_that_die_while_they_open_cost_no_row_and_stop_the_build(tmp_path: Path) -> None:
    placement = Watched()
    schedule = QUICK.model_copy(update={"attempts": 1})
    with pytest.raises(RunStopped, match="dying cannot start: killed by SIGSEGV: .*string_at"):
        run_steps(tmp_path, make_rows(a="", b=""), [Step(Dying(how="segfault"), schedule)], placement)
    assert placement.batches == [["a", "b"]] * 3
    assert not list((tmp_path / "manifest" / "log").rglob("*.parquet"))  # no row has a record


def test_renewed_workers_leave_nothing_behind(tmp_path: Path) -> None:
    before = children_of(os.getpid())  # such as a process that an earlier test's training has left to Python
    ran = run_steps(tmp_path, make_rows(**GOOD), steps(renew_rows=2, batch=1))
    assert ran.ok("finish") == set(GOOD)
    assert len({ran.records["trouble", name].columns["pid"] for name in GOOD}) == 3
    assert children_of(os.getpid()) == before


def test_little_waits_before_a_slow_stage(tmp_path: Path) -> None:
    schedule = Schedule(cpus=0.1, batch=2, workers=1, linger_seconds=0.0)
    rows = make_rows(**{f"row{number}": "slow" for number in range(20)})
    placement = Watched()
    run_steps(tmp_path, rows, [Step(stage, schedule) for stage in (Start(), Trouble(), Finish())], placement)
    ahead = most = 0
    for columns in placement.columns:
        ahead += ("started" in columns) - ("survived" in columns)
        most = max(most, ahead)
    assert most <= 3 * 2 + 2  # two batches waiting and one in work, and one on its way


def test_later_stages_come_first(tmp_path: Path) -> None:
    """On one CPU a row is finished before another is begun."""
    one = Schedule(cpus=1, batch=1, workers=1, linger_seconds=0.0)

    class OneCpu(Watched):
        def capacity(self):
            return type(super().capacity())(cpus=1, gpus=0)

    placement = OneCpu()
    run_steps(
        tmp_path, make_rows(a="", b="", c=""), [Step(stage, one) for stage in (Start(), Trouble(), Finish())], placement
    )
    assert placement.batches == [[name] for name in "aaabbbccc"]


def test_an_idle_worker_without_a_gpu_is_kept_while_rows_are_to_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of the last stage come one by one."""
    monkeypatch.setattr(scheduler, "_IDLE_SECONDS", 0.0)
    single = QUICK.model_copy(update={"batch": 1, "linger_seconds": 0.0})
    placement = Watched()
    rows = {f"row{number}": "slow" for number in range(8)}
    steps = [Step(Start(), QUICK), Step(Trouble(), single), Step(Finish(), single)]
    assert run_steps(tmp_path, make_rows(**rows), steps, placement).ok("finish") == set(rows)
    assert placement.started == ["start", "trouble", "finish"]
