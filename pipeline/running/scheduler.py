"""The scheduler: sends batches of tasks to workers until no task is left. Each stage has a pool of workers.

Later stages come first, so that rows are finished early; at most two batches per worker wait before a stage. If a
worker dies, its batch is halved, again and again, until the row at fault is alone.

CPUs are counted for busy workers only. GPUs are counted for all workers, since a worker keeps its GPUs until it is
stopped. If no GPU is free, a pool may stop an idle worker of another pool: one that could not start a batch now, or any
if the pool itself has enough rows, which are two full batches for each of its workers and the new one, or all that are
left. So a worker does enough work to be worth opening, and no pool waits for ever.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pipeline.planning.plan import Plan
from pipeline.planning.tasks import RowTask, Task
from pipeline.running.messages import (
    DEATHS,
    EXCEPTION,
    LOST,
    OPEN_FAILED,
    BatchEnd,
    Message,
    Result,
    WorkerDied,
    WorkerSpec,
)
from pipeline.running.placement import Placement, WorkerId
from pipeline.step import Step
from stages.contract.stage import MISSING_INPUT

_SUSPICIOUS = 10  # if this many rows fail before any succeeds, the stage has a bug, not the rows
_OPEN_ATTEMPTS = 3  # consecutive, without a result between them
_MISSING_ROUNDS = 3  # how often missing inputs are made again for one task
_IDLE_SECONDS = 30.0
_ROUNDING = 0.001  # tolerance for sums of fractions of a GPU
_NOT_DATA = {EXCEPTION, *DEATHS}  # reasons that the data may not be to blame for


class RunStopped(Exception):
    """The build cannot continue, and the rows are not to blame."""


_Batch = dict[str, Task]  # by row id


@dataclass
class _Pool:
    step: Step
    backlog: np.ndarray  # rows that were ready at the start; an array, since there may be a million
    taken: int = 0  # how many of the backlog were taken
    queue: deque[Task] = field(default_factory=deque)
    suspects: deque[list[Task]] = field(default_factory=deque)  # parts of batches whose worker died
    workers: dict[WorkerId, _Batch | None] = field(default_factory=dict)  # None means idle
    idle_since: dict[WorkerId, float] = field(default_factory=dict)
    waiting_since: float = 0.0
    running: int = 0  # tasks
    has_worked: bool = False  # some row has succeeded, or failed for a reason of its own
    broken: set[str] = field(default_factory=set)  # ids of rows that failed with a reason in _NOT_DATA
    open_failures: int = 0

    @property
    def busy(self) -> int:
        return sum(1 for batch in self.workers.values() if batch is not None)

    @property
    def waiting(self) -> int:
        return len(self.backlog) - self.taken + len(self.queue) + sum(len(tasks) for tasks in self.suspects)


class Scheduler:
    """Calls `record(task, result, attempts, worker)` once for each finished task."""

    def __init__(
        self,
        plan: Plan,
        placement: Placement,
        run: str,
        record: Callable[[Task, Result, int, str], None],
    ):
        self.plan = plan
        self.placement = placement
        self.run_root = run
        self.record = record
        self.pools = {step.name: _Pool(step, plan.ready(step.name)) for step in plan.all_steps}
        self._consumers = {
            name: [other for other in self.pools.values() if name in other.step.needs] for name in self.pools
        }
        self._active: set[Task] = set()  # queued or running
        self._tries: Counter[Task] = Counter()
        self._missed: Counter[Task] = Counter()
        self._next_worker: WorkerId = 0
        self._pool_of: dict[WorkerId, _Pool] = {}
        self._capacity = placement.capacity()
        self._capacity_at = time.monotonic()
        for name, pool in self.pools.items():
            pool.has_worked = plan.has_worked(name)
        self.add(plan.begin())

    def add(self, tasks: list[Task]) -> None:
        for task in tasks:
            if task not in self._active:
                self._active.add(task)
                pool = self.pools[task.stage]
                if not pool.waiting:
                    pool.waiting_since = time.monotonic()
                pool.queue.append(task)

    @property
    def done(self) -> bool:
        return all(pool.waiting == 0 and pool.running == 0 for pool in self.pools.values())

    def step(self, seconds: float) -> None:
        """Send all batches that can be sent, then handle messages of workers, waiting up to `seconds` for them."""
        self._send_batches()
        for worker, message in self.placement.wait(seconds):
            self._handle_message(worker, message)
        self._stop_idle()

    # -- sending batches -----------------------------------------------------------------------------------------

    def _send_batches(self) -> None:
        if time.monotonic() - self._capacity_at > 5:
            self._capacity, self._capacity_at = self.placement.capacity(), time.monotonic()
        for pool in reversed(list(self.pools.values())):
            while self._can_start_batch(pool):
                worker = self._idle_worker(pool)
                if worker is None:
                    break
                self._send(pool, worker)

    def _can_start_batch(self, pool: _Pool) -> bool:
        """Whether the pool should start a batch now, if it has an idle worker."""
        return bool(pool.waiting) and self._has_room(pool) and self._is_batch_due(pool) and self._has_cpus(pool)

    def _has_room(self, pool: _Pool) -> bool:
        """Whether fewer than two batches per worker wait before each stage that reads the results."""
        for consumer in self._consumers[pool.step.name]:
            allowed = 2 * consumer.step.schedule.batch * self._most_workers(consumer.step)
            if consumer.waiting + pool.running >= allowed:
                return False
        return True

    def _is_batch_due(self, pool: _Pool) -> bool:
        """Whether a batch is full, has waited long enough, or no more rows are on the way to it."""
        if pool.suspects or pool.waiting >= pool.step.schedule.batch:
            return True
        if time.monotonic() - pool.waiting_since >= pool.step.schedule.linger_seconds:
            return True
        return not any(producer.running for producer in self._producers(pool))

    def _producers(self, pool: _Pool) -> list[_Pool]:
        return [self.pools[name] for name in pool.step.needs if name in self.pools]

    def _has_cpus(self, pool: _Pool) -> bool:
        """Whether there are CPUs for one more busy worker."""
        at_work = sum(other.busy * other.step.schedule.cpus for other in self.pools.values())
        return not at_work or at_work + pool.step.schedule.cpus <= self._capacity.cpus + 0.5

    def _most_workers(self, step: Step) -> int:
        schedule = step.schedule
        most = math.inf if schedule.workers is None else schedule.workers
        if step.gpus >= 1:
            most = min(most, self._capacity.gpus // step.gpus)
        elif step.gpus:
            most = min(most, int(self._capacity.gpus) * int(1 / step.gpus))  # a share of a GPU is on one card
        return max(1, int(min(most, self._capacity.cpus // schedule.cpus)))

    def _idle_worker(self, pool: _Pool) -> WorkerId | None:
        for worker, batch in pool.workers.items():
            if batch is None:
                return worker
        if len(pool.workers) < self._most_workers(pool.step) and self._find_gpus(pool):
            return self._start(pool)
        return None

    def _find_gpus(self, pool: _Pool) -> bool:
        """Whether there are GPUs for one more worker, if needed after idle workers of other pools are stopped."""
        placed = sum(len(other.workers) * other.step.gpus for other in self.pools.values())
        if not pool.step.gpus or not placed:  # if no worker has GPUs, ask even if the cluster has lost its own
            return True
        missing = placed + pool.step.gpus - self._capacity.gpus
        to_stop = []
        for other, worker in self._stoppable_for(pool):
            if missing > _ROUNDING:
                to_stop.append((other, worker))
                missing -= other.step.gpus
        if missing > _ROUNDING:
            return False
        for other, worker in to_stop:
            self._stop(other, worker)
        return True

    def _stoppable_for(self, pool: _Pool) -> list[tuple[_Pool, WorkerId]]:
        """Idle workers with GPUs that may be stopped for this pool; first those that could not start a batch now."""
        others = [other for other in self.pools.values() if other is not pool and other.step.gpus]
        if not self._has_enough_rows(pool):
            others = [other for other in others if not self._can_start_batch(other)]
        others.sort(key=self._can_start_batch)
        return [(other, worker) for other in others for worker, batch in other.workers.items() if batch is None]

    def _has_enough_rows(self, pool: _Pool) -> bool:
        enough = 2 * pool.step.schedule.batch * (len(pool.workers) + 1)
        return pool.waiting >= enough or not self._is_more_coming(pool)

    def _is_more_coming(self, pool: _Pool) -> bool:
        producers = self._producers(pool)
        return any(producer.waiting or producer.running or self._is_more_coming(producer) for producer in producers)

    def _start(self, pool: _Pool) -> WorkerId:
        schedule = pool.step.schedule
        self._next_worker += 1
        spec = WorkerSpec(
            stage=pool.step.stage,
            run=self.run_root,
            gpus=pool.step.gpus,
            threads=max(1, round(schedule.cpus)),
            memory_gb=schedule.memory_gb,
            timeout_seconds=schedule.timeout_seconds,
            open_timeout_seconds=schedule.open_timeout_seconds,
            renew_rows=schedule.renew_rows,
        )
        self.placement.start(self._next_worker, spec)
        pool.workers[self._next_worker] = None
        pool.idle_since[self._next_worker] = time.monotonic()
        self._pool_of[self._next_worker] = pool
        return self._next_worker

    def _send(self, pool: _Pool, worker: WorkerId) -> None:
        tasks = self._next_batch(pool)
        if not tasks:
            return
        items = self.plan.items(tasks)
        pool.workers[worker] = {item["id"]: task for item, task in zip(items, tasks, strict=True)}
        pool.running += len(tasks)
        self.placement.send(worker, items)

    def _next_batch(self, pool: _Pool) -> list[Task]:
        if pool.suspects:
            return pool.suspects.popleft()
        # Near the end, divide the remaining rows among all workers.
        fair = math.ceil(pool.waiting / self._most_workers(pool.step))
        size = min(pool.step.schedule.batch, fair)
        tasks: list[Task] = [pool.queue.popleft() for _ in range(min(size, len(pool.queue)))]
        while len(tasks) < size and pool.taken < len(pool.backlog):
            task = RowTask(pool.step.name, int(pool.backlog[pool.taken]))
            pool.taken += 1
            if task not in self._active and self.plan.is_open(task):
                self._active.add(task)
                tasks.append(task)
        return tasks

    # -- handling messages ---------------------------------------------------------------------------------------

    def _handle_message(self, worker: WorkerId, message: Message) -> None:
        pool = self._pool_of.get(worker)
        if pool is None:
            return
        if isinstance(message, list):
            for result in message:
                self._handle_result(pool, worker, result)
            return
        batch = pool.workers[worker]
        pool.workers[worker] = None
        pool.idle_since[worker] = time.monotonic()
        left = list(batch.values()) if batch else []
        pool.running -= len(left)
        if isinstance(message, BatchEnd):
            pool.queue.extendleft(reversed(left))
            return
        if message.reason == LOST:
            self._forget(pool, worker)
        self._handle_worker_death(pool, message, left)

    def _handle_result(self, pool: _Pool, worker: WorkerId, result: Result) -> None:
        task = pool.workers[worker].pop(result.id)
        pool.running -= 1
        self._check_stage_works(pool, result)
        self._finish(pool, task, result, f"{self.placement.name}-{worker}")

    def _finish(self, pool: _Pool, task: Task, result: Result, worker: str) -> None:
        """Record a result and queue the tasks that become ready; or try the task again if the failure is transient."""
        if result.reason == MISSING_INPUT:
            self._missed[task] += 1
            if self._missed[task] <= _MISSING_ROUNDS:
                self._active.discard(task)
                self.add(self.plan.redo(task, result.lost))
                return
        if not result.ok:
            self._tries[task] += 1
            if result.transient and self._tries[task] < pool.step.schedule.attempts:
                pool.queue.append(task)
                return
        self._active.discard(task)
        tries = self._tries.pop(task, 0) + result.ok + self.plan.attempts.pop(task, 0)
        self.record(task, result, tries, worker)
        self.add(self.plan.apply(task, result))

    def _check_stage_works(self, pool: _Pool, result: Result) -> None:
        if result.ok or result.reason not in _NOT_DATA:
            pool.has_worked = True
            pool.open_failures = 0
            return
        pool.broken.add(result.id)
        if not pool.has_worked and len(pool.broken) >= _SUSPICIOUS:
            raise RunStopped(
                f"{pool.step.name}: the first {_SUSPICIOUS} rows all failed with {result.reason}, so the stage or "
                f"the set-up is broken; last error: {result.detail}"
            )

    def _handle_worker_death(self, pool: _Pool, died: WorkerDied, left: list[Task]) -> None:
        if died.reason == OPEN_FAILED:
            pool.open_failures += 1
            if pool.open_failures >= _OPEN_ATTEMPTS:
                raise RunStopped(f"{pool.step.name} cannot start: {died.detail}")
            pool.queue.extendleft(reversed(left))
        elif len(left) > 1:
            middle = len(left) // 2
            pool.suspects += [left[:middle], left[middle:]]
        elif left:
            item = self.plan.items(left)[0]
            result = Result(item["id"], item["failure_key"], False, died.reason, died.detail, transient=True)
            self._check_stage_works(pool, result)
            self._finish(pool, left[0], result, self.placement.name)

    def _stop_idle(self) -> None:
        """Stop workers that have been idle for long, even if rows wait for them that cannot be sent now.

        A worker of another stage may be waiting for the GPU: only Ray knows which fractions fit on which card.
        """
        now = time.monotonic()
        for pool in self.pools.values():
            for worker, since in list(pool.idle_since.items()):
                if pool.workers[worker] is not None:
                    del pool.idle_since[worker]
                elif now - since > _IDLE_SECONDS:
                    self._stop(pool, worker)

    def _stop(self, pool: _Pool, worker: WorkerId) -> None:
        self.placement.stop(worker)
        self._forget(pool, worker)

    def _forget(self, pool: _Pool, worker: WorkerId) -> None:
        del pool.workers[worker], pool.idle_since[worker], self._pool_of[worker]
