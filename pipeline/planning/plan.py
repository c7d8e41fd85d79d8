"""The plan: from the states of all rows, the tasks that are ready.

A row is ready for a stage when it has no ok record under its present key and no standing failure (one that is not tried
again), the stages that this stage requires are ok, and the optional stages that it reads are ok or failed. The plan
follows from the listing and the log alone, so the one made after a crash is the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import pyarrow as pa

from manifests.listing import Listing
from manifests.log import LogReader
from manifests.outcomes import Outcomes
from pipeline.planning.block_plan import BlockPlan
from pipeline.planning.blocks import Blocks
from pipeline.planning.row_states import ReadingRules, RowStates, State
from pipeline.planning.tasks import BlockTask, LostInputs, Result, RowTask, Task
from pipeline.step import Step
from stages.contract.stage import Row, Stage


class Plan(RowStates):
    def __init__(self, steps: list[Step], listing: Listing, outcomes: Outcomes, blocks: Blocks | None = None):
        super().__init__(steps, listing)
        self.outcomes = outcomes
        self.blocks = blocks
        self._block_plan = BlockPlan(self, blocks) if blocks else None
        self._consumers: dict[str, list[str]] = defaultdict(list)
        for step in steps:
            for needed in step.needs:
                self._consumers[needed].append(step.name)

    @property
    def all_steps(self) -> list[Step]:
        """The steps over rows, and the step over blocks where there is one."""
        return [*self.steps.values(), *([self.blocks.step] if self.blocks else [])]

    def makers(self, step: Step) -> tuple[Stage, ...]:
        """The stages whose outcomes a step reads."""
        names = self.steps if step.stage.of_blocks else step.needs
        return tuple(self.steps[name].stage for name in names)

    def load(self, log: LogReader, rules: ReadingRules) -> None:
        self.read_log(log, rules, self._note_content)
        if self.blocks:
            self.blocks.load(log)

    def _note_content(self, index: int, row: Row, content: str) -> None:
        if self.blocks:
            self.blocks.assign(index, row, content)

    # -- what is to be done --------------------------------------------------------------------------------------

    def begin(self) -> list[Task]:
        """The blocks that are complete before any work and have to be packed."""
        return self._first_tasks

    @cached_property
    def _first_tasks(self) -> list[Task]:
        return [*self._block_plan.begin()] if self._block_plan else []

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing to do, seen before any work."""
        return not self.begin() and not any(len(self.ready(stage)) for stage in self.steps)

    def ready(self, stage: str) -> np.ndarray:
        """The rows that can be worked at a stage now, in the order of the listing."""
        if stage not in self.steps:
            return np.zeros(0, np.int64)
        todo = self.states[stage] == State.TODO
        return np.flatnonzero(todo & ~self.duplicates & self.has_needs(stage, slice(None)))

    def is_open(self, task: RowTask) -> bool:
        """Whether a row that was ready still has to be worked."""
        return self.states[task.stage][task.row] == State.TODO and not self.duplicates[task.row]

    def may_come(self, stage: str, rows: int | slice = slice(None)) -> np.ndarray:
        """Whether a row, or each row of a slice, is to be worked at a stage, now or after earlier stages."""
        able = (self.states[stage][rows] == State.TODO) & ~self.duplicates[rows]
        for earlier in self._ancestors[stage]:
            able = able & (self.states[earlier][rows] != State.FAILED)
        return able

    def leading_to(self, task: RowTask) -> list[Task]:
        """The tasks that can start now and that a task waits for; the task itself if it can start."""
        stages = [task.stage]
        for stage in stages:
            stages += [needed for needed in self.steps[stage].needs if needed not in stages]
        return self._ready_tasks(stages, task.row)

    def items(self, tasks: Sequence[Task]) -> list[Row]:
        """Rows or blocks of one stage as a worker gets them: with their keys, and the keys of what they need."""
        items: list[Row] = []
        rows: list[int] = []
        for task in tasks:
            if isinstance(task, RowTask):
                rows.append(task.row)
            elif self._block_plan:
                items.append(self._block_plan.item(task.block))
        return items + (self._row_items(tasks[0].stage, rows) if rows else [])

    def _row_items(self, stage: str, indices: list[int]) -> list[Row]:
        step = self.steps[stage]
        rows = self.listing.rows(indices)
        for index, row in zip(indices, rows, strict=True):
            keys = self.needed_keys(step, index)
            row["needed"] = {needed: key for needed, key in zip(step.needs, keys, strict=True) if key}
            row["failure_key"] = step.stage.key(row, keys, failed=True)
            if not step.stage.keyed_by_content:
                row["key"] = step.stage.key(row, keys)
        return rows

    # -- results -------------------------------------------------------------------------------------------------

    def apply(self, task: Task, result: Result) -> list[Task]:
        """Update the states with the result of a task; return the tasks that become ready."""
        if isinstance(task, RowTask):
            return self._apply_to_row(task.stage, task.row, result)
        if self.blocks:
            self.blocks.apply(task.block, result)
        return []

    def _apply_to_row(self, stage: str, index: int, result: Result) -> list[Task]:
        if not result.ok:
            self.set_failed(stage, index, result.reason)
            return self._ready_consumers(stage, index) + self._advance(index)
        self.set_ok(stage, index, result.key)
        if stage == self.root:
            self.mark_duplicate(index)
            self._note_content(index, self.listing.rows([index])[0], result.content or result.key)
        tasks = [] if self.duplicates[index] else self._ready_consumers(stage, index)
        return tasks + self._advance(index)

    def _ready_consumers(self, stage: str, index: int) -> list[Task]:
        return self._ready_tasks(self._consumers[stage], index)

    def _ready_tasks(self, stages: Iterable[str], index: int) -> list[Task]:
        return [
            RowTask(stage, index)
            for stage in stages
            if self.states[stage][index] == State.TODO and self.has_needs(stage, index)
        ]

    def _advance(self, index: int) -> list[Task]:
        return [*self._block_plan.advance(index)] if self._block_plan else []

    def redo(self, task: Task, lost: LostInputs) -> list[Task]:
        """Return the tasks that make the lost outcomes again. The task that needs them becomes ready after them."""
        indices = [task.row] if isinstance(task, RowTask) else self.blocks.members(task.block) if self.blocks else []
        names = self.listing.ids.take(pa.array(indices, pa.int64())).to_pylist()
        if isinstance(task, BlockTask) and lost.keys().isdisjoint(names):
            return [task]  # the stage did not say of which member
        tasks: list[Task] = []
        for index, name in zip(indices, names, strict=True):
            tasks += self._redo_stages(index, lost.get(name, ()))
        if not tasks and isinstance(task, RowTask):
            return self._ready_tasks([task.stage], task.row)  # what was lost has failed meanwhile, and it is optional
        return tasks

    def _redo_stages(self, index: int, lost: Sequence[str]) -> list[Task]:
        """Return the tasks that can start now; tasks that wait for these become ready later."""
        if not lost:
            return []
        for stage in lost:
            if self.states[stage][index] == State.OK:
                self.states[stage][index] = State.TODO
        if self._block_plan:
            self._block_plan.reopen(index)
        return self._ready_tasks(lost, index) or self._advance(index)

    def rows_in_shards(self) -> np.ndarray:
        """For each row, whether it is in a shard that is up to date."""
        inside = np.zeros(len(self.listing), bool)
        if self.blocks:
            inside[self.blocks.rows_in_shards()] = True
        return inside
