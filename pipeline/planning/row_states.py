"""The state of every row at every stage, from the listing and the log. Rows are numbers here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import cast

import numpy as np

from manifests.listing import Listing
from manifests.log import STATE_COLUMNS, LogReader, read_object
from manifests.records import OK as RECORDED_OK
from manifests.records import Seen
from pipeline.planning.tasks import RowTask, Task
from pipeline.step import Step
from stages.contract.stage import Row

LIFETIME_ATTEMPTS = 10  # of a transient failure, over all builds
_CHUNK = 10_000


class State(IntEnum):
    """What is known of a row at a stage; a byte in an array."""

    TODO = 0
    OK = 1
    FAILED = 2


@dataclass(frozen=True)
class Retry:
    """Which standing failures are tried again."""

    wanted: bool = False
    reason: str = ""  # "" means every reason

    def covers(self, reason: str) -> bool:
        return self.wanted and self.reason in ("", reason)


@dataclass(frozen=True)
class ReadingRules:
    """How the log is read: which of its records still hold."""

    is_unchanged: Callable[[Row, Seen], bool]  # compares a row's source with what its ingest saw
    retry: Retry = Retry()
    as_recorded: bool = False  # count every failure as failed, even one that the next build would try again


class RowStates:
    """States, keys and reasons of all rows. The root is the first stage; it says what a row's content is."""

    def __init__(self, steps: list[Step], listing: Listing):
        self.steps = {step.name: step for step in steps}
        self.listing = listing
        self.root = steps[0].name
        count = len(listing)
        self.states = {name: np.zeros(count, np.uint8) for name in self.steps}
        self.keys = {name: np.zeros(count, "V16") for name in self.steps}
        self.reasons: dict[str, Counter[str]] = {name: Counter() for name in self.steps}
        self.attempts: dict[Task, int] = {}
        self.duplicates = np.zeros(count, bool)
        self._keeper: dict[bytes, int] = {}
        self._ancestors: dict[str, set[str]] = {}
        for step in steps:
            self._ancestors[step.name] = set(step.requires).union(*(self._ancestors[name] for name in step.requires))

    def key(self, stage: str, row: int) -> str:
        return self.keys[stage][row].tobytes().hex()

    def needed_keys(self, step: Step, row: int) -> list[str]:
        """The keys of the stages it reads; "" for one that is not ok."""
        return [self.key(name, row) if self.states[name][row] == State.OK else "" for name in step.needs]

    def has_needs(self, stage: str, rows: int | slice) -> np.ndarray | np.bool:
        """Whether the stages it needs allow a row, or each row of a slice, to be worked."""
        step, able = self.steps[stage], np.True_
        for needed in step.needs:
            state = self.states[needed][rows]
            able = able & (state == State.OK if needed in step.requires else state != State.TODO)
        return able

    def has_worked(self, stage: str) -> bool:
        return stage in self.steps and bool((self.states[stage] == State.OK).any())

    def is_member(self, row: int) -> bool | None:
        """True: the row is in the dataset. False: it is settled but not in it. None: it is not settled."""
        if self.duplicates[row]:
            return False
        out: set[str] = set()
        member = True
        for name, step in self.steps.items():
            state = self.states[name][row]
            if state == State.OK:
                continue
            if state == State.TODO and not out.intersection(self._ancestors[name]):
                return None
            out.add(name)
            member = member and step.schedule.optional
        return member

    def keeper_of(self, row: int) -> int:
        """The row that is kept of those with the same content."""
        return self._keeper[self.keys[self.root][row].tobytes()]

    # -- changes -------------------------------------------------------------------------------------------------

    def set_ok(self, stage: str, row: int, key: str) -> None:
        self.states[stage][row] = State.OK
        self.keys[stage][row] = bytes.fromhex(key)

    def set_failed(self, stage: str, row: int, reason: str) -> None:
        self.states[stage][row] = State.FAILED
        self.reasons[stage][reason] += 1

    def mark_duplicate(self, row: int) -> None:
        """Of rows with the same content, keep the first in the listing, whichever was ingested first."""
        key = self.keys[self.root][row].tobytes()
        kept = self._keeper.get(key)
        if kept is None or kept == row:
            self._keeper[key] = row
            self.duplicates[row] = False
        elif kept < row:
            self.duplicates[row] = True
        else:
            self._keeper[key] = row
            self.duplicates[row] = False
            self.duplicates[kept] = True

    # -- reading the log -----------------------------------------------------------------------------------------

    def read_log(self, log: LogReader, rules: ReadingRules, on_content: Callable[[int, Row, str], None]) -> None:
        """Set the states from the log. `on_content` gets every row whose content is known, with its hash."""
        self._fail_unusable_rows()
        for name, step in self.steps.items():
            columns = STATE_COLUMNS + (("seen", "content") if step.stage.keyed_by_content else ())
            latest = log.latest_of(name, self.listing.ids, columns)
            for start in range(0, len(latest.rows), _CHUNK):
                indices = latest.rows[start : start + _CHUNK].tolist()
                records = latest.records.slice(start, _CHUNK).to_pylist()
                for index, row, record in zip(indices, self._source_rows(step, indices), records, strict=True):
                    if self._apply_record(step, index, row, record, rules) and name == self.root:
                        on_content(index, row, record.get("content") or record["key"])
            if name == self.root:
                for index in np.flatnonzero(self.states[name] == State.OK).tolist():
                    self.mark_duplicate(index)

    def _source_rows(self, step: Step, indices: list[int]) -> list[Row]:
        if step.stage.reads or step.stage.also_reads or step.stage.keyed_by_content:
            return self.listing.rows(indices)
        return [{} for _ in indices]

    def _apply_record(self, step: Step, index: int, row: Row, record: Row, rules: ReadingRules) -> bool:
        """Apply the last record of a row at a stage, if it still holds; return whether the row is ok by it."""
        stage, failed = step.stage, record["status"] != RECORDED_OK
        if self.states[self.root][index] == State.FAILED or not self.has_needs(step.name, index):
            return False
        if stage.keyed_by_content and not rules.is_unchanged(row, cast(Seen, read_object(record["seen"]))):
            return False
        present = stage.key(row, self.needed_keys(step, index), record.get("content") or "", failed)
        if record["key"] != present:
            return False
        if not failed:
            self.set_ok(step.name, index, present)
            return True
        if not rules.retry.covers(record["reason"]):
            self.attempts[RowTask(step.name, index)] = record["attempts"]
            if rules.as_recorded or not record["transient"] or record["attempts"] >= LIFETIME_ATTEMPTS:
                self.set_failed(step.name, index, record["reason"])
        return False

    def _fail_unusable_rows(self) -> None:
        problems = self.listing.table.column("problem")
        for index in np.flatnonzero(problems.is_valid().to_numpy()).tolist():
            self.set_failed(self.root, index, problems[index].as_py())
