"""Blocks: which rows are packed into one shard, and when.

A block is a range of sequence numbers within a split; its members are the rows of the range that are in the dataset, or
may yet be. A row is settled when no work is left for it. A block is complete, and can be packed, when every row before
its end is ingested, so that its members and duplicates are known, and all members are settled. Its key is made of its
position (split and index) and its members' keys, so it is packed again exactly when one of them changes.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from manifests.listing import Listing
from manifests.log import LogReader, read_object
from manifests.records import OK
from manifests.shards import Shard, check_shard, marks
from manifests.splits import Splits
from pipeline.planning.figures import StageFigures
from pipeline.planning.tasks import Result
from pipeline.step import Step
from stages.contract.stage import Member, Row


@dataclass
class _Block:
    split: str
    index: int
    rows: dict[int, bool] = field(default_factory=dict)  # row number: whether it is settled
    unsettled: int = 0
    closed: bool = False  # every row before its end is ingested
    shard: Shard | None = None  # its outcome
    kept: Shard | None = None  # the outcome of its earlier shard, if that can replace it
    failed: str = ""  # the reason

    @property
    def id(self) -> str:
        return f"{self.split}-{self.index:05d}"


class Blocks:
    def __init__(self, step: Step, splits: Splits, listing: Listing, root: str, shards_there: dict[str, int]):
        self.step = step
        self.name = step.name
        self._root = root  # the stage whose key says what a row's content is
        self._splits = splits
        self._sequences = listing.sequences
        self._there = shards_there  # name and size of the shards that exist
        self._position_of: dict[int, tuple[str, int]] = {}  # by row: split and index, until the frontier passes it
        self._blocks: list[_Block] = []
        self._numbers: dict[tuple[str, int], int] = {}
        self._number_of: dict[int, int] = {}  # by row: block number
        self._unclosed: list[tuple[int, int]] = []  # heap of (first sequence number after the block, block)
        self._packed: dict[str, str] = {}  # by block id: the key of its last shard
        self._last: dict[str, Shard] = {}  # by block id: the outcome of its last shard

    def load(self, log: LogReader) -> None:
        for record in log.latest(self.name).to_pylist():
            try:
                self._last[record["id"]] = check_shard(read_object(record["columns"]))
            except ValueError:
                continue  # it has none, or the record is damaged; the outcome is found again
            if record["status"] == OK:
                self._packed[record["id"]] = record["key"]

    def assign(self, index: int, row: Row, content: str) -> None:
        """Decide the split and the block of a row whose content is known."""
        split = self._splits.split_of(row, content)
        self._position_of[index] = split, int(self._sequences[index]) // self._splits.span_of(row, split)

    def join(self, index: int, settled: bool) -> None:
        """Add a row to its block: the frontier has passed it, and it is in the dataset or may yet be."""
        position = self._position_of.pop(index)
        number = self._numbers.get(position)
        if number is None:
            number = self._numbers[position] = len(self._blocks)
            block = _Block(*position)
            self._blocks.append(block)
            heapq.heappush(self._unclosed, ((block.index + 1) * self._splits.longest_span(block.split), number))
        self._number_of[index] = number
        self._blocks[number].rows[index] = settled
        self._blocks[number].unsettled += not settled

    def reopen(self, index: int) -> None:
        """Mark a settled row as unsettled: there is work for it again."""
        number = self._number_of.get(index)
        if number is None:
            return
        block = self._blocks[number]
        if block.rows.get(index):
            block.rows[index] = False
            block.unsettled += 1

    def settle(self, index: int, member: bool) -> list[int]:
        """Mark a row as settled, `member` or not; return its block, in a list, if that completes it."""
        number = self._number_of.get(index)
        if number is None:
            return []
        block = self._blocks[number]
        if block.rows.get(index, True):
            return []
        block.unsettled -= 1
        if member:
            block.rows[index] = True
        else:
            del block.rows[index]
        return self._if_complete(number)

    def close_before(self, reached: int | None) -> list[int]:
        """Note that rows before this sequence number (None: all) are ingested; return the blocks completed by it."""
        found = []
        while self._unclosed and (reached is None or self._unclosed[0][0] <= reached):
            _, number = heapq.heappop(self._unclosed)
            self._blocks[number].closed = True
            found += self._if_complete(number)
        return found

    def _if_complete(self, number: int) -> list[int]:
        block = self._blocks[number]
        return [number] if block.closed and block.unsettled == 0 and block.rows else []

    def members(self, number: int) -> list[int]:
        return sorted(self._blocks[number].rows)

    def item(self, number: int, members: list[Member], stages: Sequence[str]) -> Row:
        """A block as a worker gets it. Its key says of each member what the source list says, and its keys."""
        block = self._blocks[number]
        row: Row = {"id": block.id, "split": block.split, "index": block.index}
        keys = ({stage: member["needed"].get(stage) for stage in stages} for member in members)
        described = [member["source"] | {"keys": own} for member, own in zip(members, keys, strict=True)]
        content = json.dumps(row | {"members": described}, sort_keys=True, default=str)
        row["key"] = row["failure_key"] = self.step.stage.key(row, (), content)
        row["members"] = members
        row["marks"] = marks((member["id"], member["needed"][self._root]) for member in members)
        block.kept = self._usable_shard(block, row["marks"])
        return row

    def _usable_shard(self, block: _Block, present: str) -> Shard | None:
        """The block's last shard, if it exists and none of its rows has left the block or has another mesh now."""
        last = self._last.get(block.id)
        if last is None or not self._is_there(last) or "marks" not in last:
            return None
        return last if set(last["marks"].split()) <= set(present.split()) else None

    def _is_there(self, shard: Shard) -> bool:
        """Whether the file exists and has its size."""
        return self._there.get(shard["shard"]) == shard["bytes"]

    def is_packed(self, number: int, key: str) -> bool:
        """Whether the block was packed under this key and its shard exists."""
        block = self._blocks[number]
        if self._packed.get(block.id) != key or not self._is_there(self._last[block.id]):
            return False
        block.shard = self._last[block.id]
        return True

    def recorded_shards(self) -> list[Shard]:
        """The shards that exist of all blocks that were packed, also of those that are not complete now."""
        return [self._last[name] for name in self._packed if self._last[name]["shard"] in self._there]

    def packed_key(self, name: str) -> str:
        """The key under which a block was packed last, "" if it was not."""
        return self._packed.get(name, "")

    def last_shard(self, name: str) -> Row:
        """The outcome of a block's last shard; the record of a failure keeps it."""
        return {**self._last.get(name, {})}

    def apply(self, number: int, result: Result) -> None:
        block = self._blocks[number]
        block.shard = cast(Shard, result.columns) if result.ok else None
        block.failed = "" if result.ok else result.reason

    def shards(self) -> list[Shard]:
        """The shards of the dataset so far. A block that cannot be packed keeps its last shard, if that still fits."""
        fresh = [block.shard for block in self._blocks if block.shard]
        kept = [block.kept for block in self._blocks if block.failed and block.kept]
        return fresh + [shard for shard in kept if _form(shard) == _form((fresh or kept)[0])]

    def rows_in_shards(self) -> list[int]:
        return [index for block in self._blocks if block.shard for index in block.rows]

    def keys(self) -> set[str]:
        """The keys of the shards that exist."""
        return {key for name, key in self._packed.items() if self._is_there(self._last[name])}

    def count(self) -> StageFigures:
        failed = Counter(block.failed for block in self._blocks if block.failed)
        done = sum(1 for block in self._blocks if block.shard)
        return {
            "todo": sum(1 for block in self._blocks if block.rows) - done - failed.total(),
            "ok": done,
            "failed": failed.total(),
            "reasons": dict(failed),
        }


def _form(shard: Shard) -> tuple[list[int], str, str]:
    """Shape and float type, which all shards of a dataset share."""
    return shard["shape"], shard["float_type"], shard.get("contract", "")
