"""Pools of workers, one for each stage, and which of them may start a batch or a worker.

Later stages come first, so that rows are finished early; at most two batches per worker wait before a stage.

CPUs are counted for busy workers only. GPUs are counted for all workers, since a worker keeps its GPUs until it is
stopped. If no GPU is free, a pool may stop an idle worker of another pool: one that could not start a batch now, or any
if the pool itself has enough rows, which are two full batches for each of its workers and the new one, or all that are
left. So a worker does enough work to be worth opening, and no pool waits for ever.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pipeline.planning.plan import Plan
from pipeline.planning.tasks import RowTask, Task
from pipeline.running.placement import Capacity, WorkerId
from pipeline.running.suspicion import Suspicion
from pipeline.step import Step

_ROUNDING = 0.001  # tolerance for sums of fractions of a GPU

Batch = dict[str, Task]  # by id of the row or block


@dataclass
class Pool:
    """The tasks that wait for one stage, and its workers."""

    step: Step
    backlog: np.ndarray  # rows that were ready at the start; an array, since there may be a million
    taken: int = 0  # how many of the backlog were taken
    queue: deque[Task] = field(default_factory=deque)
    suspects: deque[list[Task]] = field(default_factory=deque)  # parts of batches whose worker died
    urgent: deque[Task] = field(default_factory=deque)  # worked before all others, one by one, and without waiting
    workers: dict[WorkerId, Batch] = field(default_factory=dict)  # what each has left to do
    idle_since: dict[WorkerId, float] = field(default_factory=dict)  # of the workers without a batch
    waiting_since: float = 0.0
    suspicion: Suspicion = field(default_factory=Suspicion)
    open_failures: int = 0

    @property
    def busy(self) -> int:
        return len(self.workers) - len(self.idle_since)

    @property
    def running(self) -> int:
        """How many tasks are at work."""
        return sum(len(batch) for batch in self.workers.values())

    @property
    def waiting(self) -> int:
        queued = len(self.queue) + len(self.urgent) + sum(len(tasks) for tasks in self.suspects)
        return len(self.backlog) - self.taken + queued

    @property
    def can_be_given(self) -> bool:
        """Whether there is a task that may be given to a worker now."""
        return bool(self.urgent) or bool(self.waiting) and not self.suspicion.active

    @property
    def at_work(self) -> set[Task]:
        """The tasks that workers have, and those of batches whose worker died."""
        batches = [batch.values() for batch in self.workers.values()]
        return {task for tasks in (*batches, *self.suspects) for task in tasks}

    def most_workers(self, capacity: Capacity) -> int:
        schedule, gpus = self.step.schedule, self.step.gpus
        most = math.inf if schedule.workers is None else schedule.workers
        if gpus >= 1:
            most = min(most, capacity.gpus // gpus)
        elif gpus:
            most = min(most, int(capacity.gpus) * int(1 / gpus))  # a share of a GPU is on one card
        return max(1, int(min(most, capacity.cpus // schedule.cpus)))

    def add(self, task: Task) -> None:
        if not self.waiting:
            self.waiting_since = time.monotonic()
        self.queue.append(task)

    def next_batch(self, workers: int, may_take: Callable[[RowTask], bool]) -> list[Task]:
        """Take the tasks of the next batch; those of the backlog only if they still have to be done."""
        if self.urgent:
            return [self.urgent.popleft()]
        if self.suspects:
            return self.suspects.popleft()
        # Near the end, divide the remaining rows among all workers.
        fair = math.ceil(self.waiting / workers)
        size = min(self.step.schedule.batch, fair)
        tasks: list[Task] = [self.queue.popleft() for _ in range(min(size, len(self.queue)))]
        while len(tasks) < size and self.taken < len(self.backlog):
            task = RowTask(self.step.name, int(self.backlog[self.taken]))
            self.taken += 1
            if may_take(task):
                tasks.append(task)
        return tasks

    def first_idle(self) -> WorkerId | None:
        return next((worker for worker in self.workers if worker in self.idle_since), None)

    def give(self, worker: WorkerId, batch: Batch) -> None:
        self.workers[worker] = batch
        del self.idle_since[worker]

    def set_idle(self, worker: WorkerId) -> None:
        self.workers[worker] = {}
        self.idle_since[worker] = time.monotonic()

    def forget(self, worker: WorkerId) -> None:
        del self.workers[worker], self.idle_since[worker]


class Pools(dict[str, Pool]):
    """Pools by stage, in the order of the stages."""

    def __init__(self, plan: Plan, capacity: Capacity):
        super().__init__({step.name: Pool(step, plan.ready(step.name)) for step in plan.all_steps})
        self.capacity = capacity  # of all workers together
        for name, pool in self.items():
            pool.suspicion.cleared = plan.has_worked(name)
        self._consumers = {name: [other for other in self.values() if name in other.step.needs] for name in self}

    def most_workers(self, pool: Pool) -> int:
        return pool.most_workers(self.capacity)

    def can_start_batch(self, pool: Pool) -> bool:
        """Whether the pool should start a batch now, if it has an idle worker."""
        due = bool(pool.urgent) or self._has_room(pool) and self._is_batch_due(pool)
        return pool.can_be_given and due and self._has_cpus(pool)

    def _has_room(self, pool: Pool) -> bool:
        """Whether fewer than two batches per worker wait before each stage that reads the results.

        A stage that is under suspicion takes few rows, and those it waits for may have to come through this one.
        """
        for consumer in self._consumers[pool.step.name]:
            if consumer.suspicion.active:
                continue
            allowed = 2 * consumer.step.schedule.batch * self.most_workers(consumer)
            if consumer.waiting + pool.running >= allowed:
                return False
        return True

    def _is_batch_due(self, pool: Pool) -> bool:
        """Whether a batch is full, has waited long enough, or no more rows are on the way to it."""
        if pool.suspects or pool.waiting >= pool.step.schedule.batch:
            return True
        if time.monotonic() - pool.waiting_since >= pool.step.schedule.linger_seconds:
            return True
        return not any(producer.running for producer in self._producers(pool))

    def _producers(self, pool: Pool) -> list[Pool]:
        return [self[name] for name in pool.step.needs if name in self]

    def _has_cpus(self, pool: Pool) -> bool:
        """Whether there are CPUs for one more busy worker."""
        at_work = sum(other.busy * other.step.schedule.cpus for other in self.values())
        return not at_work or at_work + pool.step.schedule.cpus <= self.capacity.cpus + 0.5

    def in_the_way_of(self, pool: Pool) -> list[tuple[Pool, WorkerId]] | None:
        """The idle workers of other pools to stop, so that there are GPUs for one more worker; None: not enough."""
        placed = sum(len(other.workers) * other.step.gpus for other in self.values())
        if not pool.step.gpus or not placed:  # if no worker has GPUs, ask even if the cluster has lost its own
            return []
        missing = placed + pool.step.gpus - self.capacity.gpus
        to_stop = []
        for other, worker in self._stoppable_for(pool):
            if missing > _ROUNDING:
                to_stop.append((other, worker))
                missing -= other.step.gpus
        return None if missing > _ROUNDING else to_stop

    def _stoppable_for(self, pool: Pool) -> list[tuple[Pool, WorkerId]]:
        """Idle workers with GPUs that may be stopped for this pool; first those that could not start a batch now."""
        others = [other for other in self.values() if other is not pool and other.step.gpus]
        if not self._has_enough_rows(pool):
            others = [other for other in others if not self.can_start_batch(other)]
        others.sort(key=self.can_start_batch)
        return [(other, worker) for other in others for worker in other.workers if worker in other.idle_since]

    def keeps_idle(self, pool: Pool) -> bool:
        """Whether the idle workers of a pool are kept: rows are to come, and opening another takes seconds.

        One with a GPU is not, even if rows wait for it that cannot be sent now. A worker of another stage may be
        waiting for the GPU: only Ray knows which fractions fit on which card.
        """
        return not pool.step.gpus and (pool.waiting > 0 or self._is_more_coming(pool))

    def _has_enough_rows(self, pool: Pool) -> bool:
        enough = 2 * pool.step.schedule.batch * (len(pool.workers) + 1)
        return pool.waiting >= enough or not self._is_more_coming(pool)

    def _is_more_coming(self, pool: Pool) -> bool:
        producers = self._producers(pool)
        return any(producer.waiting or producer.running or self._is_more_coming(producer) for producer in producers)
