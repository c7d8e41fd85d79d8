"""The estimate of what a build still takes, from the events of its workers."""

from __future__ import annotations

import pytest

from pipeline.running.simulation import BuildLoad, BusyWorker, Cost, StageLoad, simulate
from pipeline.running.time_left import ENDED, OPENED, OPENING, SENT, STOPPED, WORKED, Event, TimeLeft
from tests.benchmarks.progress import RECORDS, counted_estimates, replay, share

FIRST = StageLoad(left=40, needs=(), workers=2, cpus=1, gpus=0, batch=4)
SECOND = StageLoad(left=40, needs=("first",), workers=2, cpus=1, gpus=0, batch=4)
PACK = StageLoad(left=2, needs=("first", "second"), workers=2, cpus=1, gpus=0, batch=1, of_blocks=True)
BOTH = {"first": FIRST, "second": SECOND}
COSTS = {"first": Cost(0, 1), "second": Cost(0, 2), "pack": Cost(0, 5)}


@pytest.mark.parametrize(
    ("load", "seconds"),
    [
        (BuildLoad(1, 0, {"first": FIRST}), 40),
        (BuildLoad(2, 0, {"first": FIRST}), 20),
        (BuildLoad(1, 0, BOTH), 40 + 80),  # they share one CPU
        (BuildLoad(2, 0, BOTH), (40 + 80) / 2),
        (BuildLoad(8, 0, BOTH), (40 + 40) / 2),  # the second works while the first does, with two workers
        (BuildLoad(1, 0, {**BOTH, "pack": PACK}), 40 + 80 + 10),
        (BuildLoad(2, 0, {"first": StageLoad(20_000, (), 2, 1, 0, 32)}), 10_000),
    ],
)
def test_the_rest_of_a_build_takes_what_its_stages_take_of_the_cpus_they_share(load: BuildLoad, seconds: float) -> None:
    assert simulate(load, COSTS, [], {}) == pytest.approx(seconds, rel=0.1)


def test_stages_that_share_a_gpu_take_turns() -> None:
    on_gpu = {name: StageLoad(40, stage.needs, 1, 1, 1, 40) for name, stage in BOTH.items()}
    assert simulate(BuildLoad(8, 1, on_gpu), COSTS, [], {}) == pytest.approx(40 + 80)
    assert simulate(BuildLoad(8, 2, on_gpu), COSTS, [], {}) == pytest.approx(40 + 80)  # one batch each


def test_workers_that_are_busy_or_have_to_be_opened_count() -> None:
    load = BuildLoad(1, 0, {"first": StageLoad(8, (), 1, 1, 0, 4)})
    assert simulate(load, {"first": Cost(7, 1)}, [], {}) == 7 + 8
    assert simulate(load, {"first": Cost(7, 1)}, [], {"first": 1}) == 8
    assert simulate(load, {"first": Cost(7, 1)}, [BusyWorker("first", 4, 1.5)], {}) == 1.5 + 4


def one_worker(rows: int, seconds: float, opens: float = 2.0) -> tuple[TimeLeft, float]:
    """A worker that was opened and worked so many rows; and the time then."""
    time_left = TimeLeft()
    time_left.note(Event(0.0, SENT, "first", 1, rows))
    time_left.note(Event(0.5, OPENING, "first", 1))
    time_left.note(Event(opens, OPENED, "first", 1))
    for number in range(rows):
        time_left.note(Event(opens + seconds * (number + 1), WORKED, "first", 1, 1))
    time_left.note(Event(opens + rows * seconds, ENDED, "first", 1))
    return time_left, opens + rows * seconds


def left_of(rows: int) -> BuildLoad:
    return BuildLoad(1, 0, {"first": StageLoad(rows, (), 1, 1, 0, 4)})


def test_rows_cost_what_they_have_cost_without_the_opening_of_their_worker() -> None:
    time_left, now = one_worker(rows=4, seconds=3.0)
    assert time_left.estimate(now, left_of(10)) == pytest.approx((30, 30))


def test_before_a_stage_has_worked_the_estimate_is_a_range_and_then_one_number() -> None:
    load = BuildLoad(1, 0, {"first": StageLoad(0, (), 1, 1, 0, 4), "second": SECOND})
    time_left, now = one_worker(rows=4, seconds=0.1)
    low, high = time_left.estimate(now, load)
    assert high > 3 * low > 0
    time_left.note(Event(now, SENT, "second", 2, 4))
    time_left.note(Event(now + 5, OPENED, "second", 2))
    time_left.note(Event(now + 6, WORKED, "second", 2, 4))
    low, high = time_left.estimate(now + 1000, load)  # long after, so that it is not smoothed
    assert low == high


def test_earlier_builds_say_what_a_row_costs_until_this_one_does() -> None:
    load = BuildLoad(1, 0, {"second": SECOND})
    low, high = TimeLeft({"second": 2.0}).estimate(0.0, load)
    assert low == high == pytest.approx(80, rel=0.1)


def test_one_odd_estimate_moves_what_is_shown_only_a_little() -> None:
    time_left, now = one_worker(rows=4, seconds=3.0)
    before = time_left.estimate(now, left_of(100)).low
    assert before == pytest.approx(300)
    assert before < time_left.estimate(now + 0.5, left_of(200)).low < 320


def test_most_estimates_of_a_recorded_build_came_true() -> None:
    counted = counted_estimates(replay(RECORDS / "resumed.jsonl"))
    assert share([each.is_near for each in counted]) >= 0.8


def test_opening_is_told_of_new_and_of_renewed_workers() -> None:
    time_left = TimeLeft()
    time_left.note(Event(1.0, SENT, "first", 1, 4))
    assert time_left.opening(6.0) == {"first": 5.0}
    time_left.note(Event(6.0, OPENED, "first", 1))
    assert time_left.opening(7.0) == {}
    time_left.note(Event(7.0, WORKED, "first", 1, 4))
    time_left.note(Event(7.0, ENDED, "first", 1))
    time_left.note(Event(8.0, SENT, "first", 1, 4))
    time_left.note(Event(8.0, OPENING, "first", 1))
    assert time_left.opening(9.5) == {"first": 1.5}
    time_left.note(Event(10.0, STOPPED, "first", 1))
    assert time_left.opening(11.0) == {}
