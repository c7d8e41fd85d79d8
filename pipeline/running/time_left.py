"""Estimate how long a build still takes, from what its workers did so far.

The cost of a row and of opening a worker is measured at each stage, from the driver's side. With these means the rest
of the build is simulated. As long as a stage has not worked a row, its cost may be anything between two bounds, and the
estimate is a range.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from pipeline.running.simulation import BuildLoad, BusyWorker, Cost, simulate

# What happens to a worker: it gets a batch; its process is started for that; it is open; rows have results; the batch
# has ended, or the process has died; it is stopped.
SENT, OPENING, OPENED, WORKED, ENDED, STOPPED = "sent", "opening", "opened", "worked", "ended", "stopped"

_FORGET = 0.99  # of the earlier rows' weight with each row, so that a machine that became slower is noticed
_ROWS_OF_EARLIER_BUILDS = 4.0  # the weight of the cost in earlier builds, in rows of this one
_UNKNOWN_ROW = 0.05, 1.5  # bounds of the seconds of a row, where a stage has not worked any
_UNKNOWN_OPEN = 1.5, 8.0
_OVERDUE = 0.2  # what has taken longer than expected goes on for this share of the time that it has taken
_CLOSE = 1.5  # bounds with a smaller ratio are one number, which is within 25% of both


class Note(Protocol):
    """How the scheduler says what happens to a worker."""

    def __call__(self, kind: str, stage: str, worker: int, rows: int = 0) -> None: ...


class Event(NamedTuple):
    at: float  # seconds since the build began
    kind: str
    stage: str
    worker: int
    rows: int = 0  # sent, or with a result


class Estimate(NamedTuple):
    """Seconds that are left; two bounds, which are equal where enough is known."""

    low: float
    high: float


NOTHING_LEFT = Estimate(0.0, 0.0)


@dataclass
class _Mean:
    """A mean of which older values count less."""

    total: float = 0.0
    weight: float = 0.0

    def add(self, total: float, weight: float) -> None:
        forget = _FORGET**weight
        self.total, self.weight = self.total * forget + total, self.weight * forget + weight

    def value(self) -> float | None:
        return self.total / self.weight if self.weight else None


@dataclass
class _Worker:
    stage: str
    rows: int = 0  # sent and without a result
    since: float = 0.0  # when it began what it is doing
    open: bool = False


@dataclass
class TimeLeft:
    """Takes events as they happen, and estimates when it is asked."""

    earlier: Mapping[str, float] = field(default_factory=dict)  # seconds of a row in earlier builds, by stage
    _rows: dict[str, _Mean] = field(default_factory=dict)
    _opens: dict[str, _Mean] = field(default_factory=dict)
    _workers: dict[int, _Worker] = field(default_factory=dict)
    _ends: Estimate | None = None  # the last estimate, as seconds since the build began
    _estimated_at: float = 0.0

    def note(self, event: Event) -> None:
        worker = self._workers.setdefault(event.worker, _Worker(event.stage))
        took = event.at - worker.since
        if event.kind == SENT:
            worker.rows, worker.since = event.rows, event.at
        elif event.kind == OPENING:
            worker.open = False  # it may be renewed
        elif event.kind == OPENED:
            self._opens.setdefault(event.stage, _Mean()).add(took, 1.0)
            worker.open, worker.since = True, event.at
        elif event.kind == WORKED:
            self._rows.setdefault(event.stage, self._first_mean(event.stage)).add(took, event.rows)
            worker.rows, worker.since = max(0, worker.rows - event.rows), event.at
        elif event.kind == ENDED:
            worker.rows = 0
        else:
            del self._workers[event.worker]

    def _first_mean(self, stage: str) -> _Mean:
        seconds = self.earlier.get(stage)
        return _Mean() if seconds is None else _Mean(seconds * _ROWS_OF_EARLIER_BUILDS, _ROWS_OF_EARLIER_BUILDS)

    def opening(self, now: float) -> dict[str, float]:
        """For how long the workers of each stage have been opening, the longest of each."""
        found: dict[str, float] = {}
        for worker in self._workers.values():
            if worker.rows and not worker.open:
                found[worker.stage] = max(found.get(worker.stage, 0.0), now - worker.since)
        return found

    def estimate(self, now: float, load: BuildLoad) -> Estimate:
        """The seconds that are left at `now`, smoothed over the last estimates."""
        low, high = (now + self._simulated(now, load, bound) for bound in (0, 1))
        if self._ends is not None:
            share = 1 - math.exp(-(now - self._estimated_at) / min(30.0, max(1.0, 0.1 * (high - now))))
            low, high = (before + share * (end - before) for before, end in zip(self._ends, (low, high), strict=True))
        self._ends, self._estimated_at = Estimate(low, high), now
        low, high = max(0.0, low - now), max(0.0, high - now)
        return Estimate(low, high) if high > _CLOSE * low else Estimate((low + high) / 2, (low + high) / 2)

    def _simulated(self, now: float, load: BuildLoad, bound: int) -> float:
        costs = {name: self._cost(name, bound) for name in load.stages}
        busy = [
            BusyWorker(worker.stage, worker.rows, self._seconds_left(worker, costs[worker.stage], now))
            for worker in self._workers.values()
            if worker.rows
        ]
        idle: dict[str, int] = {}
        for worker in self._workers.values():
            idle[worker.stage] = idle.get(worker.stage, 0) + (worker.open and not worker.rows)
        return simulate(load, costs, busy, idle)

    def _cost(self, stage: str, bound: int) -> Cost:
        row = self._rows.get(stage, self._first_mean(stage)).value()
        opened = self._opens[stage].value() if stage in self._opens else None
        return Cost(_UNKNOWN_OPEN[bound] if opened is None else opened, _UNKNOWN_ROW[bound] if row is None else row)

    def _seconds_left(self, worker: _Worker, cost: Cost, now: float) -> float:
        took = now - worker.since
        work = worker.rows * cost.row
        if not worker.open:
            return max(cost.open - took, _OVERDUE * took) + work
        return max(work - took, _OVERDUE * took)
