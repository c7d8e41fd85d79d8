"""The scheduler: sends batches of tasks to workers until no task is left. Each stage has a pool of workers.

If a worker dies, the first row that has no result is tried alone, and the others in halves, until the row at fault is
alone. Which stage may start a batch or a worker is decided in pools.py.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from pipeline.planning.plan import Plan
from pipeline.planning.tasks import Result, RowTask, Task
from pipeline.running.messages import (
    EXCEPTION,
    LOST,
    OPEN_FAILED,
    BatchEnd,
    Message,
    Opened,
    Opening,
    WorkerDied,
    WorkerSpec,
)
from pipeline.running.placement import Placement, WorkerId
from pipeline.running.pools import Pool, Pools
from pipeline.running.suspicion import FIRST, PROBES
from pipeline.running.time_left import ENDED, OPENED, OPENING, SENT, STOPPED, WORKED, Note
from stages.contract.stage import MISSING_INPUT

_OPEN_ATTEMPTS = 3  # consecutive, without a result between them
_MISSING_ROUNDS = 3  # how often missing inputs are made again for one task
_IDLE_SECONDS = 30.0


class RunStopped(Exception):
    """The build cannot continue, and the rows are not to blame."""


class Scheduler:
    """Calls `record(task, result, attempts, worker)` once for each finished task, and `note` for what workers do."""

    def __init__(
        self,
        plan: Plan,
        placement: Placement,
        run: str,
        record: Callable[[Task, Result, int, str], None],
        note: Note,
    ):
        self.plan = plan
        self.placement = placement
        self.run_root = run
        self.record = record
        self.note = note
        self.pools = Pools(plan, placement.capacity())
        self._active: set[Task] = set()  # queued or running
        self._tries: Counter[Task] = Counter()
        self._missed: Counter[Task] = Counter()
        self._next_worker: WorkerId = 0
        self._pool_of: dict[WorkerId, Pool] = {}
        self._capacity_at = time.monotonic()
        self.add(plan.begin())

    def add(self, tasks: list[Task]) -> None:
        for task in tasks:
            if task not in self._active:
                self._active.add(task)
                if self._is_urgent(task):
                    self.pools[task.stage].urgent.append(task)
                else:
                    self.pools[task.stage].add(task)

    @property
    def done(self) -> bool:
        return all(pool.waiting == 0 and pool.running == 0 for pool in self.pools.values())

    def step(self, seconds: float) -> None:
        """Send all batches that can be sent, then handle messages of workers, waiting up to `seconds` for them."""
        self._send_batches()
        for worker, message in self.placement.wait(seconds):
            self._handle_message(worker, message)
        self._examine_suspicions()
        self._stop_idle()

    # -- sending batches -----------------------------------------------------------------------------------------

    def _send_batches(self) -> None:
        if time.monotonic() - self._capacity_at > 5:
            self.pools.capacity, self._capacity_at = self.placement.capacity(), time.monotonic()
        for pool in reversed(list(self.pools.values())):
            while self.pools.can_start_batch(pool):
                worker = self._idle_worker(pool)
                if worker is None:
                    break
                self._send(pool, worker)

    def _idle_worker(self, pool: Pool) -> WorkerId | None:
        """An idle worker of the pool; a new one, if there is none and there are GPUs for it."""
        if (idle := pool.first_idle()) is not None:
            return idle
        if len(pool.workers) >= self.pools.most_workers(pool):
            return None
        to_stop = self.pools.in_the_way_of(pool)
        if to_stop is None:
            return None
        for other, worker in to_stop:
            self._stop(other, worker)
        return self._start(pool)

    def _start(self, pool: Pool) -> WorkerId:
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
            source_schemes=self.plan.listing.schemes if pool.step.stage.opens_sources else (),
            makers=self.plan.makers(pool.step),
        )
        self.placement.start(self._next_worker, spec)
        pool.set_idle(self._next_worker)
        self._pool_of[self._next_worker] = pool
        return self._next_worker

    def _send(self, pool: Pool, worker: WorkerId) -> None:
        tasks = pool.next_batch(self.pools.most_workers(pool), self._may_take)
        if not tasks:
            return
        items = self.plan.items(tasks)
        pool.give(worker, {item["id"]: task for item, task in zip(items, tasks, strict=True)})
        self.placement.send(worker, items)
        self.note(SENT, pool.step.name, worker, len(items))

    def _may_take(self, task: RowTask) -> bool:
        """Whether a row of the backlog still has to be worked."""
        if task in self._active or not self.plan.is_open(task):
            return False
        self._active.add(task)
        return True

    # -- handling messages ---------------------------------------------------------------------------------------

    def _handle_message(self, worker: WorkerId, message: Message) -> None:
        pool = self._pool_of.get(worker)
        if pool is None:
            return
        if isinstance(message, list):
            self.note(WORKED, pool.step.name, worker, len(message))
            for result in message:
                self._handle_result(pool, worker, result)
            return
        if isinstance(message, (Opening, Opened)):
            self.note(OPENING if isinstance(message, Opening) else OPENED, pool.step.name, worker)
            return
        self.note(ENDED, pool.step.name, worker)
        left = [*pool.workers[worker].values()]
        pool.set_idle(worker)
        if isinstance(message, BatchEnd):
            self._put_back(pool, left)
            return
        if message.reason == LOST:
            self._forget(pool, worker)
        self._handle_worker_death(pool, message, left)

    def _handle_result(self, pool: Pool, worker: WorkerId, result: Result) -> None:
        task = pool.workers[worker].pop(result.id)
        self._note_result(pool, task, result, may_be_broken=result.reason == EXCEPTION)
        self._finish(pool, task, result, f"{self.placement.name}-{worker}")

    def _finish(self, pool: Pool, task: Task, result: Result, worker: str) -> None:
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

    def _note_result(self, pool: Pool, task: Task, result: Result, may_be_broken: bool) -> None:
        """Note whether a stage works. `may_be_broken`: the row failed for a reason that may be the stage's."""
        if may_be_broken:
            pool.suspicion.note_failure(task, result)
        else:
            pool.suspicion.clear()
            pool.open_failures = 0

    def _handle_worker_death(self, pool: Pool, died: WorkerDied, left: list[Task]) -> None:
        if died.reason == OPEN_FAILED:
            pool.open_failures += 1
            if pool.open_failures >= _OPEN_ATTEMPTS:
                raise RunStopped(f"{pool.step.name} cannot start: {died.detail}")
            self._put_back(pool, left)
        elif len(left) > 1:
            pool.suspects += _parts(left)
        elif left:
            item = self.plan.items(left)[0]
            result = Result(item["id"], item["failure_key"], False, died.reason, died.detail, transient=True)
            self._note_result(pool, left[0], result, may_be_broken=True)
            self._finish(pool, left[0], result, self.placement.name)

    def _put_back(self, pool: Pool, tasks: list[Task]) -> None:
        """Put tasks back that a worker was given and has not worked."""
        for task in reversed(tasks):
            (pool.urgent if self._is_urgent(task) else pool.queue).appendleft(task)

    # -- stages whose first rows fail ----------------------------------------------------------------------------

    def _is_urgent(self, task: Task) -> bool:
        return any(pool.suspicion.covers(task) for pool in self.pools.values())

    def _examine_suspicions(self) -> None:
        """Where the first rows of a stage have failed, try others; stop the build if these fail as well."""
        for pool in self.pools.values():
            suspicion = pool.suspicion
            if suspicion.confirmed:
                raise RunStopped(
                    f"{pool.step.name}: the first {FIRST} rows and {PROBES} others from all over the list failed, so "
                    f"the stage or the set-up is broken; last error: {suspicion.error}"
                )
            if suspicion.active:
                self._examine(pool)

    def _examine(self, pool: Pool) -> None:
        suspicion, stage = pool.suspicion, pool.step.name
        suspicion.forget_lost(self.plan)
        if suspicion.probes:
            return
        probes = suspicion.choose(self.plan, stage, list(pool.queue), pool.at_work)
        suspicion.probes = set(probes)
        for probe in probes:
            self._hurry(probe)
        if not probes and not self._more_blocks_may_come(pool):
            suspicion.clear()  # all rows were tried: each has its reason

    def _more_blocks_may_come(self, pool: Pool) -> bool:
        if pool.step.name in self.plan.steps:
            return False
        return any(other.waiting or other.running for other in self.pools.values() if other is not pool)

    def _hurry(self, probe: Task) -> None:
        """Let a task be worked next, or what it waits for."""
        for task in self.plan.leading_to(probe) if isinstance(probe, RowTask) else [probe]:
            pool = self.pools[task.stage]
            if task in pool.queue:
                pool.queue.remove(task)
                self._active.discard(task)
            self.add([task])

    def _stop_idle(self) -> None:
        """Stop workers that have been idle for long and are not worth keeping."""
        now = time.monotonic()
        for pool in self.pools.values():
            for worker, since in list(pool.idle_since.items()):
                if now - since > _IDLE_SECONDS and not self.pools.keeps_idle(pool):
                    self._stop(pool, worker)

    def _stop(self, pool: Pool, worker: WorkerId) -> None:
        self.placement.stop(worker)
        self._forget(pool, worker)

    def _forget(self, pool: Pool, worker: WorkerId) -> None:
        self.note(STOPPED, pool.step.name, worker)
        pool.forget(worker)
        del self._pool_of[worker]


def _parts(left: list[Task]) -> list[list[Task]]:
    """The first task alone, at which a stage that works row by row has died; and the others in halves."""
    middle = (len(left) + 1) // 2
    return [part for part in (left[:1], left[1:middle], left[middle:]) if part]
