"""Which blocks can be worked: moves the frontier over the rows, and makes the tasks and items of complete blocks.

The frontier is the first row whose content is not known yet. The members and duplicates of a block are known when it is
past the end of the block.
"""

from __future__ import annotations

from manifests.text import published
from pipeline.planning.blocks import Blocks
from pipeline.planning.row_states import RowStates, State
from pipeline.planning.tasks import BlockTask
from stages.contract.stage import Member, Row

_NOT_OF_THE_SOURCE = ("uri", "sequence", "withdrawn")  # columns of the listing that a block does not depend on


class BlockPlan:
    def __init__(self, rows: RowStates, blocks: Blocks):
        self._rows = rows
        self._blocks = blocks
        self._frontier = 0

    def begin(self) -> list[BlockTask]:
        """The blocks that are complete before any work and have to be worked."""
        return self._tasks(self._move_frontier())

    def advance(self, row: int) -> list[BlockTask]:
        """Settle the row in its block if it has no work left, move the frontier, and return the blocks to work."""
        complete = []
        if row < self._frontier:
            member = self._rows.is_member(row)
            if member is not None:
                complete += self._blocks.settle(row, member)
        return self._tasks(complete + self._move_frontier())

    def reopen(self, row: int) -> None:
        """Note that there is work for a row again."""
        if row < self._frontier:
            self._blocks.reopen(row)

    def _move_frontier(self) -> list[int]:
        rows = self._rows
        states, count, before = rows.states[rows.root], len(rows.listing), self._frontier
        while self._frontier < count and states[self._frontier] != State.TODO:
            member = rows.is_member(self._frontier)
            if member is not False:
                self._blocks.join(self._frontier, settled=member is True)
            self._frontier += 1
        if self._frontier == before:
            return []
        reached = int(rows.listing.sequences[self._frontier]) if self._frontier < count else None
        return self._blocks.close_before(reached)

    def _tasks(self, numbers: list[int]) -> list[BlockTask]:
        """Tasks for these blocks, without those that have a shard under the same key already."""
        return [
            BlockTask(self._blocks.name, number)
            for number in numbers
            if not self._blocks.is_packed(number, self.item(number)["key"])
        ]

    def item(self, number: int) -> Row:
        """A block as a worker gets it."""
        indices = self._blocks.members(number)
        members: list[Member] = []
        for index, row in zip(indices, self._rows.listing.rows(indices), strict=True):
            extra = row.pop("extra")
            columns = {name: value for name, value in row.items() if name not in _NOT_OF_THE_SOURCE}
            source = published({**extra, **columns})  # an older version may have listed the row
            members.append({"id": row["id"], "source": source, "needed": self._keys(index)})
        return self._blocks.item(number, members, [*self._rows.steps])

    def _keys(self, row: int) -> dict[str, str]:
        rows = self._rows
        return {name: rows.key(name, row) for name in rows.steps if rows.states[name][row] == State.OK}
