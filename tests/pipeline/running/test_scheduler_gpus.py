"""The scheduler where GPUs are few: stages take turns, and workers share cards."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.running.local_placement import LocalPlacement
from pipeline.running.messages import BatchEnd, Message, WorkerDied, WorkerSpec
from pipeline.running.placement import Capacity, WorkerId
from pipeline.step import Step
from stages.contract.schedule import Schedule
from stages.contract.stage import Row
from tests.pipeline.run_steps import QUICK, make_rows, run_steps
from tests.pipeline.tiny_stages import Hold, HoldLast, HoldToo, ShowCards, Start


class Reserving(LocalPlacement):
    """A cluster as Ray keeps it: a worker has its GPUs until it is stopped, or waits for them with its batch."""

    def __init__(self, cpus: float, gpus: float):
        super().__init__()
        self._capacity = Capacity(cpus, gpus)
        self._placed: dict[WorkerId, float] = {}  # GPUs
        self._homeless: dict[WorkerId, tuple[WorkerSpec, list[Row]]] = {}
        self._working: set[WorkerId] = set()
        self.started: list[str] = []  # stages
        self.most_gpus = 0.0  # that were asked for at once

    def capacity(self) -> Capacity:
        return self._capacity

    def start(self, worker: WorkerId, spec: WorkerSpec) -> None:
        self.started.append(spec.stage.name)
        self._homeless[worker] = spec, []
        self._place()
        asked = sum(self._placed.values()) + sum(spec.gpus for spec, _ in self._homeless.values())
        self.most_gpus = max(self.most_gpus, asked)

    def _place(self) -> None:
        for worker, (spec, rows) in list(self._homeless.items()):
            if sum(self._placed.values()) + spec.gpus <= self._capacity.gpus:
                del self._homeless[worker]
                self._placed[worker] = spec.gpus
                super().start(worker, spec)
                if rows:
                    self.send(worker, rows)

    def send(self, worker: WorkerId, rows: list[Row]) -> None:
        if worker in self._homeless:
            self._homeless[worker][1].extend(rows)
        else:
            self._working.add(worker)
            super().send(worker, rows)

    def wait(self, seconds: float) -> list[tuple[WorkerId, Message]]:
        assert self._working or not self._homeless, "all that have work wait for a GPU that idle ones hold"
        messages = super().wait(seconds)
        self._working -= {worker for worker, message in messages if isinstance(message, (BatchEnd, WorkerDied))}
        return messages

    def stop(self, worker: WorkerId) -> None:
        if self._homeless.pop(worker, None) is None:
            del self._placed[worker]
            super().stop(worker)
            self._place()


@pytest.mark.parametrize("cpus", [pytest.param(1.0, marks=pytest.mark.slow), 4.0])
def test_stages_take_turns_on_one_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpus: float) -> None:
    """As in a preset where fit takes all four CPUs, and embed and align a GPU each."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    schedule = Schedule(cpus=1, gpus=1, batch=4, linger_seconds=0.05)
    steps = [
        Step(Start(), QUICK),
        Step(Hold(), schedule.model_copy(update={"cpus": cpus})),
        Step(HoldToo(), schedule),
        Step(HoldLast(), schedule),
    ]
    placement = Reserving(cpus=4, gpus=1)
    names = {f"row{number}" for number in range(24)}
    ran = run_steps(tmp_path, make_rows(**dict.fromkeys(names, "")), steps, placement)
    assert ran.ok("hold") == ran.ok("holdtoo") == ran.ok("holdlast") == names
    assert placement.most_gpus == 1
    # There are 18 batches, and a turn is worth two unless a stage runs dry.
    assert 3 <= sum(name != "start" for name in placement.started) < 15, placement.started


def test_workers_share_cards_and_no_worker_is_spread_over_two(tmp_path: Path) -> None:
    schedule = Schedule(cpus=0.1, gpus=0.6, batch=1, linger_seconds=0.0)
    placement = Reserving(cpus=4, gpus=2)
    rows = make_rows(**{f"row{number}": "" for number in range(12)})
    ran = run_steps(tmp_path, rows, [Step(Start(), QUICK), Step(ShowCards(workers=2), schedule)], placement)
    assert len(ran.ok("showcards")) == 12
    assert placement.started.count("showcards") == 2  # there would be 0.8 for a third, of no one card
