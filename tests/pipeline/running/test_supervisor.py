"""The supervisor of one worker process: what it says when that ends, hangs or eats too much, and what it leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from manifests.outcomes import Outcomes
from manifests.store import open_store
from pipeline.running.messages import (
    CRASHED,
    EXITED,
    OPEN_FAILED,
    OUT_OF_MEMORY,
    TIMEOUT,
    BatchEnd,
    Message,
    WorkerDied,
    WorkerSpec,
)
from pipeline.running.supervisor import Supervisor
from stages.contract.stage import Row, Stage
from tests.pipeline.building import ROOT
from tests.pipeline.processes import is_alive, wait_until
from tests.pipeline.tiny_stages import Broken, Dying, ShowCards, Start, Trouble

Supervise = Callable[..., Supervisor]
LEAVE = """
import os, sys
from pipeline.running import supervisor
from tests.pipeline.running.test_supervisor import spec_of
from tests.pipeline.tiny_stages import Start

if sys.argv[1] != "here":
    supervisor.pid_space = lambda: sys.argv[1]
supervisor.Supervisor(spec_of(Start()))
os._exit(0)  # without a word
"""
ORPHAN = """
import os, sys
from pipeline.running.supervisor import Supervisor
from tests.pipeline.running.test_supervisor import rows_of, spec_of
from tests.pipeline.tiny_stages import Trouble

_, _, (result,), _ = Supervisor(spec_of(Trouble(), sys.argv[1])).run(rows_of(sys.argv[1], ""))
print(result.columns["pid"], flush=True)
sys.stdin.read()
"""


def spec_of(stage: Stage, run: Path | str = "/nowhere", **changes: Any) -> WorkerSpec:
    plain: dict[str, Any] = {
        "gpus": 0, "threads": 1, "memory_gb": 1, "timeout_seconds": 60, "open_timeout_seconds": 60, "renew_rows": 100
    }  # fmt: skip
    return WorkerSpec(stage=stage, run=str(run), **plain | changes)


def rows_of(run: Path | str, *deeds: str) -> list[Row]:
    """Rows for Trouble as the plan gives them, whose start is done."""
    outcomes, rows = Outcomes(open_store(run)), []
    for number, deed in enumerate(deeds):
        key = f"{number:032x}"
        outcomes.publish("start", key, {"started": str(number)})
        rows.append({"id": str(number), "name": deed, "needed": {"start": key}, "failure_key": "f"})
        rows[-1]["key"] = Trouble().key(rows[-1], [key])
    return rows


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Supervise]:
    made: list[Supervisor] = []

    def make(stage: Stage, environment: dict[str, str] | None = None, **changes: Any) -> Supervisor:
        made.append(Supervisor(spec_of(stage, tmp_path, **changes), environment))
        return made[-1]

    yield make
    for supervisor in made:
        supervisor.close()


def work(supervisor: Supervisor, rows: list[Row]) -> tuple[list[Any], Message]:
    """The results of a batch, and the message that ends it."""
    *messages, last = supervisor.run(rows)
    assert isinstance(last, (BatchEnd, WorkerDied))
    return [result for message in messages if isinstance(message, list) for result in message], last


def test_one_process_works_several_batches(supervise: Supervise, tmp_path: Path) -> None:
    supervisor = supervise(Trouble())
    rows = rows_of(tmp_path, "", "", "")
    done, last = work(supervisor, rows[:2])
    more, _ = work(supervisor, rows[2:])
    assert isinstance(last, BatchEnd) and [result.id for result in [*done, *more]] == ["0", "1", "2"]
    assert len({result.columns["pid"] for result in [*done, *more]}) == 1


def test_a_worker_is_renewed_after_so_many_rows(supervise: Supervise, tmp_path: Path) -> None:
    supervisor = supervise(Trouble(), renew_rows=2)
    rows = rows_of(tmp_path, "", "", "", "")
    pids = [result.columns["pid"] for row in rows for result in work(supervisor, [row])[0]]
    assert pids[0] == pids[1] != pids[2] == pids[3]
    assert not any(is_alive(pid) for pid in pids)  # the fourth row has ended the second


@pytest.mark.parametrize(
    ("deed", "reason", "message", "changes"),
    [
        ("exit", EXITED, "exited with code 3: about to exit", {}),
        ("kill", CRASHED, "killed by SIGKILL", {}),
        ("segfault", CRASHED, "killed by SIGSEGV: ", {}),
        ("hang", TIMEOUT, "timed out after 1 s without a result; worker killed", {"timeout_seconds": 1}),
        ("eat", OUT_OF_MEMORY, "used more than 0.4 GiB of memory (memory_gb); worker ended", {"memory_gb": 0.4}),
    ],
)
def test_a_worker_that_dies_is_said_to_have_died_of_its_cause_and_another_follows(
    supervise: Supervise, tmp_path: Path, deed: str, reason: str, message: str, changes: dict[str, Any]
) -> None:
    supervisor = supervise(Trouble(), **changes)
    rows = rows_of(tmp_path, deed, "")
    done, died = work(supervisor, rows[:1])
    assert not done and isinstance(died, WorkerDied)
    assert died.reason == reason and died.detail.startswith(message)
    assert deed != "segfault" or "string_at" in died.detail  # the frame it died in
    done, last = work(supervisor, rows[1:])
    assert isinstance(last, BatchEnd) and [result.id for result in done] == ["1"]


def test_what_was_sent_before_a_death_is_kept(supervise: Supervise, tmp_path: Path) -> None:
    done, died = work(supervise(Trouble()), rows_of(tmp_path, "", "kill"))
    assert isinstance(died, WorkerDied) and [result.id for result in done] == ["0"]


@pytest.mark.parametrize(
    ("stage", "message", "changes"),
    [
        (Broken(), "RuntimeError: no such model (tiny_stages.py:", {}),
        (Dying(how="exit"), "exited with code 3: about to exit", {}),
        (Dying(how="eat"), "used more than 0.4 GiB of memory", {"memory_gb": 0.4}),
        (Dying(how="hang"), "timed out after 1 s while opening; worker killed", {"open_timeout_seconds": 1}),
    ],
)
def test_a_worker_that_cannot_open_blames_no_row(
    supervise: Supervise, stage: Stage, message: str, changes: dict[str, Any]
) -> None:
    done, died = work(supervise(stage, **changes), [{"id": "a"}])
    assert not done and isinstance(died, WorkerDied)
    assert died.reason == OPEN_FAILED and died.detail.startswith(message)


def test_a_process_that_cannot_be_started_is_said_in_a_line(
    supervise: Supervise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    _, died = work(supervise(Start()), [{"id": "a"}])
    assert isinstance(died, WorkerDied) and died.reason == OPEN_FAILED
    assert died.detail.startswith("cannot run a worker process: FileNotFoundError: ")


def test_a_worker_has_the_environment_it_was_given(supervise: Supervise, tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, "")
    supervisor = supervise(ShowCards(), {"CUDA_VISIBLE_DEVICES": "7"}, gpus=1)
    (result,), _ = work(supervisor, [row])
    assert result.columns == {"cards": "7", "device": "cuda"}


def test_a_worker_dies_with_its_supervisors_process(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHAN, tmp_path], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    worker = int(parent.stdout.readline())
    assert is_alive(worker)
    parent.kill()
    parent.communicate()
    wait_until(lambda: not is_alive(worker), "the worker has ended")


@pytest.mark.parametrize(("place", "stays"), [("here", False), ("elsewhere", True)])
def test_a_dead_process_leaves_scratch_to_be_cleared_by_those_who_know_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, stays: bool
) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", LEAVE, place], cwd=ROOT, env=environment, check=True)
    (left,) = tmp_path.glob("*/*")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    alive = [Supervisor(spec_of(Start())), Supervisor(spec_of(Start()))]
    assert left.exists() == stays
    assert len(list(tmp_path.glob("*/*"))) == 2 + stays
    for supervisor in alive:
        supervisor.close()
    assert list(tmp_path.glob("*/*")) == [left] * stays
