"""Simulate the rest of a build from the mean cost of each stage's rows, to find how long it takes.

It follows the rules of pools.py in short: later stages first, full batches, two batches waiting before a stage, CPUs of
busy workers, GPUs of all workers.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_MOST_ROWS = 200  # of a stage; in longer builds, one row of the simulation stands for several
_OPEN_BLOCKS = 3  # how many blocks are filled at the same time, since each split has its own


@dataclass(frozen=True)
class StageLoad:
    """What is left to do in a stage, and what its workers need."""

    left: int  # rows or blocks, those at work included
    needs: tuple[str, ...]
    workers: int  # the most
    cpus: float
    gpus: float
    batch: int
    linger_seconds: float = 0.0
    of_blocks: bool = False


@dataclass(frozen=True)
class BuildLoad:
    """What is left to do in a build, and what its workers share."""

    cpus: float
    gpus: float
    stages: Mapping[str, StageLoad]  # in the order of the build


@dataclass(frozen=True)
class Cost:
    """Seconds of a stage's worker."""

    open: float
    row: float


@dataclass(frozen=True)
class BusyWorker:
    stage: str
    rows: int  # without a result
    seconds: float  # until it is idle


def simulate(load: BuildLoad, costs: Mapping[str, Cost], busy: Sequence[BusyWorker], idle: Mapping[str, int]) -> float:
    """Return the seconds until all is done. `idle`: open workers without a batch, by stage."""
    return _Simulation(load, costs, busy, idle).run()


class _Simulation:
    def __init__(self, load: BuildLoad, costs: Mapping[str, Cost], busy: Sequence[BusyWorker], idle: Mapping[str, int]):
        most = max((stage.left for stage in load.stages.values()), default=0)
        self._scale = max(1, math.ceil(most / _MOST_ROWS))
        self._load, self._stages, self._costs = load, load.stages, costs
        self._left = {name: self._scaled(stage.left) for name, stage in load.stages.items()}
        self._rows = max(self._left.values(), default=0)
        self._idle = {name: idle.get(name, 0) for name in load.stages}
        self._running = dict.fromkeys(load.stages, 0)
        self._busy = dict.fromkeys(load.stages, 0)
        self._waiting_since = dict.fromkeys(load.stages, 0.0)
        self._now = 0.0
        self._ends: list[tuple[float, int, str, int]] = []
        self._consumers = {
            name: [other for other, stage in load.stages.items() if name in stage.needs] for name in load.stages
        }
        for worker in busy:
            rows = min(self._scaled(worker.rows), self._left[worker.stage] - self._running[worker.stage])
            self._give(worker.stage, rows, worker.seconds)

    def _scaled(self, rows: int) -> int:
        return math.ceil(rows / self._scale)

    def _give(self, name: str, rows: int, seconds: float) -> None:
        self._running[name] += rows
        self._busy[name] += 1
        self._waiting_since[name] = self._now
        heapq.heappush(self._ends, (self._now + seconds, len(self._ends), name, rows))

    def run(self) -> float:
        while True:
            for name in reversed(list(self._stages)):
                while self._can_start(name) and self._take_worker(name):
                    pass
            if not self._ends:
                return self._now
            self._now, _, name, rows = heapq.heappop(self._ends)
            self._busy[name] -= 1
            self._idle[name] += 1
            self._running[name] -= rows
            self._left[name] -= rows

    def _waiting(self, name: str) -> int:
        """How many rows or blocks are ready for a stage and not at work."""
        stage = self._stages[name]
        before = max((self._left[needed] for needed in stage.needs if needed in self._left), default=0)
        ready = self._left[name] - (self._unfilled(name, before) if stage.of_blocks else before)
        return max(0, ready - self._running[name])

    def _unfilled(self, name: str, rows: int) -> int:
        """How many of the blocks that are left wait for rows: the last ones for the last row."""
        if not rows:
            return 0
        left = self._left[name]
        return min(left, _OPEN_BLOCKS + math.ceil((left - _OPEN_BLOCKS) * rows / self._rows))

    def _can_start(self, name: str) -> bool:
        stage, waiting = self._stages[name], self._waiting(name)
        if not waiting:
            self._waiting_since[name] = self._now
            return False
        producing = any(self._running.get(needed) for needed in stage.needs)
        lingered = self._now - self._waiting_since[name] >= stage.linger_seconds
        if waiting < self._batch(name) and producing and not lingered:
            return False
        for consumer in self._consumers[name]:
            allowed = 2 * self._batch(consumer) * self._stages[consumer].workers
            if self._waiting(consumer) + self._running[name] >= allowed:
                return False
        used = sum(self._busy[other] * self._stages[other].cpus for other in self._stages)
        return not used or used + stage.cpus <= self._load.cpus + 0.5

    def _batch(self, name: str) -> int:
        return max(1, self._stages[name].batch // self._scale)

    def _take_worker(self, name: str) -> bool:
        """Give a batch to an idle worker, or to a new one; return False where there can be none."""
        seconds = 0.0
        if self._idle[name]:
            self._idle[name] -= 1
        elif self._busy[name] < self._stages[name].workers and self._make_room(name):
            seconds = self._costs[name].open
        else:
            return False
        rows = min(self._batch(name), math.ceil(self._waiting(name) / self._stages[name].workers))
        self._give(name, rows, seconds + rows * self._scale_of(name) * self._costs[name].row)
        return True

    def _scale_of(self, name: str) -> float:
        """How many rows stand behind one row of the simulation."""
        return self._stages[name].left / max(1, self._scaled(self._stages[name].left))

    def _make_room(self, name: str) -> bool:
        """Whether there are GPUs for one more worker; idle workers of other stages are stopped for it."""
        wanted = self._stages[name].gpus
        if not wanted:
            return True
        for other in self._stages:
            while self._idle[other] and other != name and self._free_gpus() < wanted and self._stages[other].gpus:
                self._idle[other] -= 1
        return self._free_gpus() >= wanted or not any(self._busy[other] for other in self._stages)

    def _free_gpus(self) -> float:
        placed = sum((self._busy[name] + self._idle[name]) * stage.gpus for name, stage in self._stages.items())
        return self._load.gpus - placed + 0.001
