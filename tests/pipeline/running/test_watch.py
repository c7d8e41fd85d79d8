"""A worker is watched from outside: it is ended at its limits whatever it is doing, even while Python is busy."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipeline.running.messages import OUT_OF_MEMORY, TIMEOUT, BatchEnd, WorkerDied
from pipeline.running.watch import memory_of
from tests.pipeline.processes import children_of, wait_until
from tests.pipeline.running.test_supervisor import Supervise, rows_of, supervise, work
from tests.pipeline.tiny_stages import Trouble

__all__ = ["supervise"]  # a fixture
LITTLE = {"memory_gb": 0.4}
TOO_MUCH = "used more than 0.4 GiB of memory (memory_gb); worker ended"
QUICK = {"timeout_seconds": 1}


@pytest.mark.parametrize(
    ("deed", "reason", "message", "changes"),
    [
        ("list", OUT_OF_MEMORY, TOO_MUCH, LITTLE),
        pytest.param("json", OUT_OF_MEMORY, TOO_MUCH, LITTLE, marks=pytest.mark.slow),
        pytest.param("child", OUT_OF_MEMORY, TOO_MUCH, LITTLE, marks=pytest.mark.slow),
        ("stop", TIMEOUT, "timed out after 1 s without a result; worker killed", QUICK),
        ("half", TIMEOUT, "timed out after 1 s without a result; worker killed", QUICK),
    ],
)
def test_a_worker_is_ended_at_its_limits_whatever_it_does(
    supervise: Supervise, tmp_path: Path, deed: str, reason: str, message: str, changes: dict[str, Any]
) -> None:
    before = children_of(os.getpid())
    supervisor = supervise(Trouble(), **changes)
    rows = rows_of(tmp_path, deed, "")
    done, died = work(supervisor, rows[:1])
    assert (done, died) == ([], WorkerDied(reason, message))
    assert children_of(os.getpid()) == before
    assert isinstance(work(supervisor, rows[1:])[1], BatchEnd)  # another follows


def test_a_worker_that_never_stops_sending_is_ended_too(supervise: Supervise, tmp_path: Path) -> None:
    done, died = work(supervise(Trouble(), **LITTLE), rows_of(tmp_path, *["leak"] * 400))
    assert isinstance(died, WorkerDied) and died.reason == OUT_OF_MEMORY
    assert 1 < len(done) < 100


def test_what_a_worker_prints_takes_little_of_the_disk(
    supervise: Supervise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.running.watch._OUTPUT_BYTES", 1000)
    supervisor = supervise(Trouble())
    _, last = work(supervisor, rows_of(tmp_path, "print"))
    assert isinstance(last, BatchEnd)  # what it printed was dropped, else it would not have ended
    _, died = work(supervisor, rows_of(tmp_path, "exit"))
    assert isinstance(died, WorkerDied)
    assert died.detail.startswith("exited with code 3:")  # its last line may be dropped with the lines before it


def test_a_worker_that_died_between_batches_costs_no_row(supervise: Supervise, tmp_path: Path) -> None:
    supervisor = supervise(Trouble())
    rows = rows_of(tmp_path, "", "")
    (first,), _ = work(supervisor, rows[:1])
    os.kill(first.columns["pid"], 9)
    wait_until(lambda: first.columns["pid"] not in children_of(os.getpid()), "the worker has ended")
    (second,), last = work(supervisor, rows[1:])
    assert isinstance(last, BatchEnd) and second.columns["pid"] != first.columns["pid"]


def test_memory_of_a_process_that_has_ended_is_none() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert memory_of(ended.pid, with_children=True) == 0 < memory_of(os.getpid())
