"""Find out whether a stage is broken, where the first rows that it gets fail by exceptions or deaths of workers.

The files at the start of a list may be bad, or be meant to stop a build. So rows from all over the list are tried
before one is stopped. Meanwhile the stage works no other row.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pipeline.planning.plan import Plan
from pipeline.planning.tasks import BlockTask, Result, RowTask, Task

FIRST = 10  # so many rows fail before one has worked: then others are tried
PROBES = 10  # so many of these others fail as well: then the stage is broken


@dataclass
class Suspicion:
    """What is known of one stage: whether it works at all."""

    cleared: bool = False  # a row has worked, or failed for a reason of its own; or there are no other rows to try
    failed: set[Task] = field(default_factory=set)
    probes: set[Task] = field(default_factory=set)  # tasks from elsewhere in the list that have no result yet
    probed: int = 0  # how many of them have failed
    error: str = ""  # the last one

    @property
    def active(self) -> bool:
        return not self.cleared and len(self.failed) >= FIRST

    @property
    def confirmed(self) -> bool:
        return self.active and self.probed >= PROBES

    def note_failure(self, task: Task, result: Result) -> None:
        """Note a failure that may be the stage's."""
        self.failed.add(task)
        self.error = f"{result.reason}: {result.detail}"
        self.probed += task in self.probes
        self.probes.discard(task)

    def clear(self) -> None:
        self.cleared = True
        self.probes.clear()

    def covers(self, task: Task) -> bool:
        """Whether a task is one to try, or leads to one: a row that has to go through an earlier stage."""
        if isinstance(task, BlockTask):
            return task in self.probes
        return any(isinstance(probe, RowTask) and probe.row == task.row for probe in self.probes)

    def forget_lost(self, plan: Plan) -> None:
        """Forget rows to try that cannot come any more, since an earlier stage has refused them."""
        self.probes = {probe for probe in self.probes if isinstance(probe, BlockTask) or _may_come(plan, probe)}

    def choose(self, plan: Plan, stage: str, waiting: list[Task], at_work: set[Task]) -> list[Task]:
        """Choose tasks from all over the list, the last first. `waiting`: those that the stage has before it now."""
        busy = at_work | self.failed
        if stage not in plan.steps:
            others = [task for task in waiting if task not in busy]
        else:
            known = {task.row for task in busy if isinstance(task, RowTask)}
            rows = np.flatnonzero(plan.may_come(stage)).tolist()
            others = [RowTask(stage, row) for row in rows if row not in known]
        count = min(PROBES - self.probed, len(others))
        return [others[number] for number in np.linspace(len(others) - 1, 0, count, dtype=int).tolist()]


def _may_come(plan: Plan, task: RowTask) -> bool:
    return bool(plan.may_come(task.stage, task.row))
