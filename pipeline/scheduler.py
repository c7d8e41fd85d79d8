"""The scheduler: moves tasks through pools of workers until nothing is left to do. It knows tasks, not what they mean.

Downstream goes first, so that rows arrive early and half-done ones do not pile up; at most two batches wait before a
stage. A batch whose worker died is halved until the row it died of stands alone.

CPUs are counted for workers that are busy, GPUs for all that are placed, since a worker keeps its GPUs until it is
stopped. A pool gets those of another's idle worker where that could be given nothing now, or where its own rows press:
two full batches wait for each of its workers and the new one, or no more are coming. So a turn on a GPU is worth the
opening of its worker, and nobody waits for ever.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pipeline.messages import DEATHS, EXCEPTION, LOST, OPEN_FAILED, BatchEnd, Died, Message, Post, Result
from pipeline.placement import Placement, WorkerId
from pipeline.plan import Plan, Task
from pipeline.step import Step
from stages.stage import MISSING_INPUT

_SUSPICIOUS = 10  # so many first rows failing without one success are a bug of the stage, not of the rows
_OPEN_ATTEMPTS = 3  # in a row, without a result between them
_MISSING_ROUNDS = 3  # so often an input is made again for a task
_IDLE_SECONDS = 30.0
_ROUNDING = 0.001  # of sums of fractions of a GPU
_NOT_DATA = {EXCEPTION, *DEATHS}


class RunStopped(Exception):
    """The run cannot go on, and the rows are not to blame."""


_Batch = dict[str, Task]  # by row id


@dataclass
class _Pool:
    step: Step
    backlog: np.ndarray  # rows that were ready when the run began; a million of them must not be a million tuples
    taken: int = 0  # of the backlog
    queue: deque[Task] = field(default_factory=deque)
    suspects: deque[list[Task]] = field(default_factory=deque)  # batches to be worked alone, after a death
    workers: dict[WorkerId, _Batch | None] = field(default_factory=dict)  # None: idle
    idle_since: dict[WorkerId, float] = field(default_factory=dict)
    fed_at: float = 0.0
    running: int = 0
    works: bool = False  # some row's outcome says that the stage itself works
    broken: set[str] = field(default_factory=set)  # rows that failed for no reason of their own
    open_failures: int = 0

    @property
    def busy(self) -> int:
        return sum(1 for batch in self.workers.values() if batch is not None)

    @property
    def waiting(self) -> int:
        return len(self.backlog) - self.taken + len(self.queue) + sum(len(tasks) for tasks in self.suspects)


class Scheduler:
    """`record(task, result, attempts, worker)` is called once for every task that is through."""

    def __init__(
        self,
        plan: Plan,
        placement: Placement,
        run: str,
        record: Callable[[Task, Result, int, str], None],
        pack: Step | None = None,
    ):
        self.plan = plan
        self.placement = placement
        self.run_root = run
        self.record = record
        steps = [*plan.steps.values(), *([pack] if pack else [])]
        self.pools = {step.name: _Pool(step, plan.ready(step.name)) for step in steps}
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
            pool.works = plan.has_worked(name)
        self.add(plan.begin())

    def add(self, tasks: list[Task]) -> None:
        for task in tasks:
            if task not in self._active:
                self._active.add(task)
                pool = self.pools[task[0]]
                if not pool.waiting:
                    pool.fed_at = time.monotonic()
                pool.queue.append(task)

    @property
    def done(self) -> bool:
        return all(pool.waiting == 0 and pool.running == 0 for pool in self.pools.values())

    def step(self, seconds: float) -> None:
        """Hand out what can be handed out, and take in what workers tell for up to so many seconds."""
        self._hand_out()
        for worker, message in self.placement.wait(seconds):
            self._take_in(worker, message)
        self._retire_idle()

    # -- handing out ---------------------------------------------------------------------------------------------

    def _hand_out(self) -> None:
        if time.monotonic() - self._capacity_at > 5:
            self._capacity, self._capacity_at = self.placement.capacity(), time.monotonic()
        for pool in reversed(list(self.pools.values())):
            while self._can_go(pool):
                worker = self._idle_worker(pool)
                if worker is None:
                    break
                self._send(pool, worker)

    def _can_go(self, pool: _Pool) -> bool:
        """Whether a worker, if it has one, is to be given a batch now."""
        return bool(pool.waiting) and self._has_room(pool) and self._is_due(pool) and self._has_cpus(pool)

    def _has_room(self, pool: _Pool) -> bool:
        """Whether what it makes will not wait behind two batches already."""
        for consumer in self._consumers[pool.step.name]:
            allowed = 2 * consumer.step.schedule.batch * self._most_workers(consumer.step)
            if consumer.waiting + pool.running >= allowed:
                return False
        return True

    def _is_due(self, pool: _Pool) -> bool:
        """A batch goes when it is full, when it has waited long enough, or when nothing more is coming."""
        if pool.suspects or pool.waiting >= pool.step.schedule.batch:
            return True
        if time.monotonic() - pool.fed_at >= pool.step.schedule.linger_seconds:
            return True
        return not any(feeder.running for feeder in self._feeders(pool))

    def _feeders(self, pool: _Pool) -> list[_Pool]:
        return [self.pools[name] for name in pool.step.needs if name in self.pools]

    def _has_cpus(self, pool: _Pool) -> bool:
        """CPUs are counted for workers at work, so waiting ones cost none."""
        at_work = sum(other.busy * other.step.schedule.cpus for other in self.pools.values())
        return not at_work or at_work + pool.step.schedule.cpus <= self._capacity.cpus + 0.5

    def _most_workers(self, step: Step) -> int:
        schedule = step.schedule
        most = math.inf if schedule.workers is None else schedule.workers
        if step.gpus >= 1:
            most = min(most, self._capacity.gpus // step.gpus)
        elif step.gpus:
            most = min(most, int(self._capacity.gpus) * int(1 / step.gpus))  # a share is never of two cards
        return max(1, int(min(most, self._capacity.cpus // schedule.cpus)))

    def _idle_worker(self, pool: _Pool) -> WorkerId | None:
        for worker, batch in pool.workers.items():
            if batch is None:
                return worker
        if len(pool.workers) < self._most_workers(pool.step) and self._make_way(pool):
            return self._start(pool)
        return None

    def _make_way(self, pool: _Pool) -> bool:
        """Whether one more worker has its GPUs, after idle ones of other pools are stopped where that is needed."""
        placed = sum(len(other.workers) * other.step.gpus for other in self.pools.values())
        if not pool.step.gpus or not placed:  # with none placed it asks even for GPUs that a cluster has lost
            return True
        lacking = placed + pool.step.gpus - self._capacity.gpus
        leaving = []
        for other, worker in self._spared_for(pool):
            if lacking > _ROUNDING:
                leaving.append((other, worker))
                lacking -= other.step.gpus
        if lacking > _ROUNDING:
            return False
        for other, worker in leaving:
            self._stop(other, worker)
        return True

    def _spared_for(self, pool: _Pool) -> list[tuple[_Pool, WorkerId]]:
        """Idle workers whose GPUs a pool may have, first those that could be given nothing now."""
        others = [other for other in self.pools.values() if other is not pool and other.step.gpus]
        if not self._is_pressing(pool):
            others = [other for other in others if not self._can_go(other)]
        others.sort(key=self._can_go)
        return [(other, worker) for other in others for worker, batch in other.workers.items() if batch is None]

    def _is_pressing(self, pool: _Pool) -> bool:
        enough = 2 * pool.step.schedule.batch * (len(pool.workers) + 1)
        return pool.waiting >= enough or not self._is_more_coming(pool)

    def _is_more_coming(self, pool: _Pool) -> bool:
        feeders = self._feeders(pool)
        return any(feeder.waiting or feeder.running or self._is_more_coming(feeder) for feeder in feeders)

    def _start(self, pool: _Pool) -> WorkerId:
        schedule = pool.step.schedule
        self._next_worker += 1
        post = Post(
            stage=pool.step.stage,
            run=self.run_root,
            gpus=pool.step.gpus,
            threads=max(1, round(schedule.cpus)),
            memory_gb=schedule.memory_gb,
            timeout_seconds=schedule.timeout_seconds,
            open_timeout_seconds=schedule.open_timeout_seconds,
            renew_rows=schedule.renew_rows,
        )
        self.placement.start(self._next_worker, post)
        pool.workers[self._next_worker] = None
        pool.idle_since[self._next_worker] = time.monotonic()
        self._pool_of[self._next_worker] = pool
        return self._next_worker

    def _send(self, pool: _Pool, worker: WorkerId) -> None:
        tasks = self._next_batch(pool)
        if not tasks:
            return
        items = self.plan.items(pool.step.name, [index for _, index in tasks])
        pool.workers[worker] = {item["id"]: task for item, task in zip(items, tasks, strict=True)}
        pool.running += len(tasks)
        self.placement.send(worker, items)

    def _next_batch(self, pool: _Pool) -> list[Task]:
        if pool.suspects:
            return pool.suspects.popleft()
        # Near the end the rows left are shared out, so that no worker idles while another has a full batch.
        fair = math.ceil(pool.waiting / self._most_workers(pool.step))
        size = min(pool.step.schedule.batch, fair)
        tasks = [pool.queue.popleft() for _ in range(min(size, len(pool.queue)))]
        while len(tasks) < size and pool.taken < len(pool.backlog):
            task = pool.step.name, int(pool.backlog[pool.taken])
            pool.taken += 1
            if task not in self._active and self.plan.is_open(task):
                self._active.add(task)
                tasks.append(task)
        return tasks

    # -- taking in -----------------------------------------------------------------------------------------------

    def _take_in(self, worker: WorkerId, message: Message) -> None:
        pool = self._pool_of.get(worker)
        if pool is None:
            return
        if isinstance(message, list):
            for result in message:
                self._settle(pool, worker, result)
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
        self._mourn(pool, message, left)

    def _settle(self, pool: _Pool, worker: WorkerId, result: Result) -> None:
        task = pool.workers[worker].pop(result.id)
        pool.running -= 1
        self._judge(pool, result)
        self._finish(pool, task, result, f"{self.placement.name}-{worker}")

    def _finish(self, pool: _Pool, task: Task, result: Result, worker: str) -> None:
        """Record a result and queue what it makes ready, or try again where the failure may pass."""
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

    def _judge(self, pool: _Pool, result: Result) -> None:
        if result.ok or result.reason not in _NOT_DATA:
            pool.works = True
            pool.open_failures = 0
            return
        pool.broken.add(result.id)
        if not pool.works and len(pool.broken) >= _SUSPICIOUS:
            raise RunStopped(
                f"{pool.step.name}: the first {_SUSPICIOUS} rows all failed with {result.reason}, which is not the "
                f"rows' doing; the last: {result.detail}"
            )

    def _mourn(self, pool: _Pool, died: Died, left: list[Task]) -> None:
        if died.reason == OPEN_FAILED:
            pool.open_failures += 1
            if pool.open_failures >= _OPEN_ATTEMPTS:
                raise RunStopped(f"{pool.step.name} cannot start: {died.detail}")
            pool.queue.extendleft(reversed(left))
        elif len(left) > 1:
            middle = len(left) // 2
            pool.suspects += [left[:middle], left[middle:]]
        elif left:
            item = self.plan.items(pool.step.name, [left[0][1]])[0]
            result = Result(item["id"], item["failure_key"], False, died.reason, died.detail, transient=True)
            self._judge(pool, result)
            self._finish(pool, left[0], result, self.placement.name)

    def _retire_idle(self) -> None:
        """Stop what has long been idle, also where rows wait that it cannot be given: their stage may stand still for
        a worker that waits for the GPU held here, since only Ray knows which fractions fit on which card."""
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
