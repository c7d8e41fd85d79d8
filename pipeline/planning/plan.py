"""The plan: the state of every row at every stage, and from it the tasks that are ready. Rows are numbers here.

A row is ready for a stage when it has no ok record under its present key and no standing failure (one that is not tried
again), the stages that this stage requires are ok, and the optional stages that it reads are ok or failed. The plan
follows from the listing and the log alone, so the one made after a crash is the same.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from manifests.listing import Listing
from manifests.log import STATE_COLUMNS, LogReader
from manifests.outcomes import Outcomes
from manifests.records import OK as RECORDED_OK
from pipeline.planning.blocks import Blocks
from pipeline.running.messages import Result
from pipeline.step import Step
from stages.contract.stage import Row

TODO, OK, FAILED = 0, 1, 2
LIFETIME_ATTEMPTS = 10  # of a transient failure, over all builds
DUPLICATE = "duplicate"
_CHUNK = 10_000

Task = tuple[str, int]  # a stage, and the number of a row (at pack: of a block)
Seen = dict[str, Any]


@dataclass(frozen=True)
class Retry:
    """Which standing failures are tried again."""

    wanted: bool = False
    reason: str = ""  # "" means every reason

    def covers(self, reason: str) -> bool:
        return self.wanted and self.reason in ("", reason)


class Plan:
    def __init__(self, steps: list[Step], listing: Listing, outcomes: Outcomes, blocks: Blocks | None = None):
        self.steps = {step.name: step for step in steps}
        self.listing = listing
        self.outcomes = outcomes
        self.blocks = blocks
        self.root = steps[0].name
        count = len(listing)
        self.states = {name: np.zeros(count, np.uint8) for name in self.steps}
        self.keys = {name: np.zeros(count, "V16") for name in self.steps}
        self.reasons: dict[str, Counter[str]] = {name: Counter() for name in self.steps}
        self.attempts: dict[Task, int] = {}
        self.duplicates = np.zeros(count, bool)
        self._keeper: dict[bytes, int] = {}
        self._frontier = 0  # every row before it is ok or failed at the root stage
        self._consumers: dict[str, list[str]] = defaultdict(list)
        self._ancestors: dict[str, set[str]] = {}
        for step in steps:
            self._ancestors[step.name] = set(step.requires).union(*(self._ancestors[name] for name in step.requires))
            for needed in step.needs:
                self._consumers[needed].append(step.name)

    # -- states from the log -------------------------------------------------------------------------------------

    def load(
        self,
        log: LogReader,
        is_unchanged: Callable[[Row, Seen], bool],
        retry: Retry = Retry(),
        as_recorded: bool = False,
    ) -> None:
        """Read the states from the log. `is_unchanged` compares a row's source with what its ingest saw.

        `as_recorded`: every failure counts as failed, even one that the next build would try again.
        """
        self._fail_unusable_rows()
        for name, step in self.steps.items():
            columns = STATE_COLUMNS + (("seen", "content") if step.stage.keyed_by_content else ())
            latest = log.latest_of(name, self.listing.ids, columns)
            for start in range(0, len(latest.rows), _CHUNK):
                indices = latest.rows[start : start + _CHUNK].tolist()
                records = latest.records.slice(start, _CHUNK).to_pylist()
                for index, row, record in zip(indices, self._source_rows(step, indices), records, strict=True):
                    self._apply_record(step, index, row, record, is_unchanged, retry, as_recorded)
            if name == self.root:
                for index in np.flatnonzero(self.states[name] == OK).tolist():
                    self._mark_duplicate(index)
        if self.blocks:
            self.blocks.load(log)

    def _source_rows(self, step: Step, indices: list[int]) -> list[Row]:
        if step.stage.reads or step.stage.also_reads or step.stage.keyed_by_content:
            return self.listing.rows(indices)
        return [{} for _ in indices]

    def _apply_record(
        self,
        step: Step,
        index: int,
        row: Row,
        record: Row,
        is_unchanged: Callable[[Row, Seen], bool],
        retry: Retry,
        as_recorded: bool,
    ) -> None:
        stage, failed = step.stage, record["status"] != RECORDED_OK
        if self.states[self.root][index] == FAILED or not self._has_needs(step.name, index):
            return
        if stage.keyed_by_content and not is_unchanged(row, json.loads(record["seen"] or "{}")):
            return
        content = record.get("content") or ""
        present = stage.key(row, self._needed_keys(step, index), content, failed)
        if record["key"] != present:
            return
        if not failed:
            self.states[step.name][index] = OK
            self.keys[step.name][index] = bytes.fromhex(present)
            if step.name == self.root and self.blocks:
                self.blocks.assign(index, row, content or present)
        elif not retry.covers(record["reason"]):
            self.attempts[step.name, index] = record["attempts"]
            if as_recorded or not record["transient"] or record["attempts"] >= LIFETIME_ATTEMPTS:
                self._set_failed(step.name, index, record["reason"])

    def _fail_unusable_rows(self) -> None:
        problems = self.listing.table.column("problem")
        for index in np.flatnonzero(problems.is_valid().to_numpy()).tolist():
            self._set_failed(self.root, index, problems[index].as_py())

    def _set_failed(self, stage: str, index: int, reason: str) -> None:
        self.states[stage][index] = FAILED
        self.reasons[stage][reason] += 1

    def _needed_keys(self, step: Step, index: int) -> list[str]:
        """The keys of the stages it reads; "" for one that is not ok."""
        return [self.key(needed, index) if self.states[needed][index] == OK else "" for needed in step.needs]

    def key(self, stage: str, index: int) -> str:
        return self.keys[stage][index].tobytes().hex()

    def _mark_duplicate(self, index: int) -> None:
        """Of rows with the same content, keep the first in the listing, whichever was ingested first."""
        key = self.keys[self.root][index].tobytes()
        kept = self._keeper.get(key)
        if kept is None or kept == index:
            self._keeper[key] = index
            self.duplicates[index] = False
        elif kept < index:
            self.duplicates[index] = True
        else:
            self._keeper[key] = index
            self.duplicates[index] = False
            self.duplicates[kept] = True

    def keeper_of(self, index: int) -> int:
        return self._keeper[self.keys[self.root][index].tobytes()]

    # -- what is to be done --------------------------------------------------------------------------------------

    def ready(self, stage: str) -> np.ndarray:
        """The rows that can be worked at a stage now, in the order of the listing."""
        if stage not in self.steps:
            return np.zeros(0, np.int64)
        return np.flatnonzero((self.states[stage] == TODO) & ~self.duplicates & self._has_needs(stage, slice(None)))

    def is_open(self, task: Task) -> bool:
        """Whether a task that was ready still has to be done."""
        stage, index = task
        return self.states[stage][index] == TODO and not self.duplicates[index]

    def has_worked(self, stage: str) -> bool:
        return stage in self.steps and bool((self.states[stage] == OK).any())

    def items(self, stage: str, indices: list[int]) -> list[Row]:
        """Rows as a worker gets them: columns of the source, their own keys, and the keys of the stages they need."""
        if self.blocks and stage == self.blocks.name:
            return [self._block_item(index) for index in indices]
        step = self.steps[stage]
        rows = self.listing.rows(indices)
        for index, row in zip(indices, rows, strict=True):
            keys = self._needed_keys(step, index)
            row["needed"] = {needed: key for needed, key in zip(step.needs, keys, strict=True) if key}
            row["failure_key"] = step.stage.key(row, keys, failed=True)
            if not step.stage.keyed_by_content:
                row["key"] = step.stage.key(row, keys)
        return rows

    def _block_item(self, number: int) -> Row:
        indices = self.blocks.members(number)
        members = []
        for index, row in zip(indices, self.listing.rows(indices), strict=True):
            extra = row.pop("extra")
            columns = {name: row[name] for name in row if name not in ("uri", "sequence", "withdrawn")}
            keys = {name: self.key(name, index) if self.states[name][index] == OK else None for name in self.steps}
            members.append({**extra, **columns, "keys": keys})
        return self.blocks.item(number, members)

    # -- results -------------------------------------------------------------------------------------------------

    def apply(self, task: Task, result: Result) -> list[Task]:
        """Update the states with the result of a task; return the tasks that become ready."""
        stage, index = task
        if self.blocks and stage == self.blocks.name:
            self.blocks.apply(index, result)
            return []
        if not result.ok:
            self._set_failed(stage, index, result.reason)
            return self._ready_consumers(stage, index) + self._advance(index)
        self.states[stage][index] = OK
        self.keys[stage][index] = bytes.fromhex(result.key)
        if stage == self.root:
            self._mark_duplicate(index)
            if self.blocks:
                self.blocks.assign(index, self.listing.rows([index])[0], result.content or result.key)
        tasks = [] if self.duplicates[index] else self._ready_consumers(stage, index)
        return tasks + self._advance(index)

    def _ready_consumers(self, stage: str, index: int) -> list[Task]:
        return [
            (name, index)
            for name in self._consumers[stage]
            if self.states[name][index] == TODO and self._has_needs(name, index)
        ]

    def _has_needs(self, stage: str, index: int | slice) -> np.ndarray | np.bool:
        """Whether the stages it needs allow a row, or each row of a slice, to be worked."""
        step, able = self.steps[stage], np.True_
        for needed in step.needs:
            state = self.states[needed][index]
            able = able & (state == OK if needed in step.requires else state != TODO)
        return able

    def redo(self, task: Task, lost: Sequence[str]) -> list[Task]:
        """Return the tasks that make the lost outcomes again which this task needs. It becomes ready after them."""
        stage, index = task
        if self.blocks and stage == self.blocks.name:
            return self._redo_members(index)
        return self._redo_stages(index, lost)

    def _redo_stages(self, index: int, lost: Sequence[str]) -> list[Task]:
        """Return the tasks that can start now; tasks that wait for these become ready later."""
        for stage in lost:
            if self.states[stage][index] == OK:
                self.states[stage][index] = TODO
        if self.blocks and index < self._frontier:
            self.blocks.reopen(index)
        tasks = [
            (stage, index) for stage in lost if self.states[stage][index] == TODO and self._has_needs(stage, index)
        ]
        return tasks or self._advance(index)

    def _redo_members(self, number: int) -> list[Task]:
        tasks = []
        for index in self.blocks.members(number):
            lost = [
                name for name in self.steps if self.states[name][index] == OK and not self._has_outcome(name, index)
            ]
            tasks += self._redo_stages(index, lost) if lost else []
        return tasks or [(self.blocks.name, number)]

    def _has_outcome(self, stage: str, index: int) -> bool:
        columns = self.outcomes.find(stage, self.key(stage, index))
        return columns is not None and self.steps[stage].stage.stands(self.outcomes.store, columns)

    def _membership(self, index: int) -> bool | None:
        """True: the row is in the dataset. False: it is settled but not in it. None: it is not settled."""
        if self.duplicates[index]:
            return False
        out: set[str] = set()
        member = True
        for name, step in self.steps.items():
            state = self.states[name][index]
            if state == OK:
                continue
            if state == TODO and not out.intersection(self._ancestors[name]):
                return None
            out.add(name)
            member = member and step.schedule.optional
        return member

    def _advance(self, index: int) -> list[Task]:
        """Settle the row in its block if it has no work left, move the frontier, and return the blocks to pack."""
        if not self.blocks:
            return []
        complete = []
        if index < self._frontier:
            member = self._membership(index)
            if member is not None:
                complete += self.blocks.settle(index, member)
        return self._pack_tasks(complete + self._move_frontier())

    def _move_frontier(self) -> list[int]:
        states, count, before = self.states[self.root], len(self.listing), self._frontier
        while self._frontier < count and states[self._frontier] != TODO:
            member = self._membership(self._frontier)
            if member is not False:
                self.blocks.join(self._frontier, settled=member is True)
            self._frontier += 1
        if self._frontier == before:
            return []
        return self.blocks.close_before(int(self.listing.sequences[self._frontier]) if self._frontier < count else None)

    def begin(self) -> list[Task]:
        """The blocks that are complete before any work and have to be packed."""
        return self._pack_tasks(self._move_frontier()) if self.blocks else []

    def _pack_tasks(self, numbers: list[int]) -> list[Task]:
        """Tasks for these blocks, without those that are packed under the same key already."""
        return [
            (self.blocks.name, number)
            for number in numbers
            if not self.blocks.is_packed(number, self._block_item(number)["key"])
        ]

    def rows_in_shards(self) -> np.ndarray:
        """For each row, whether it is in a shard that is up to date."""
        inside = np.zeros(len(self.listing), bool)
        inside[self.blocks.rows_in_shards()] = True
        return inside
