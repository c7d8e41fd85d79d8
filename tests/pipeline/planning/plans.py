"""Plans without workers: a test says what became of which row, and the plan says what can be done next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from manifests.listing import update_listing
from manifests.log import Log, LogReader, list_parts
from manifests.outcomes import Outcomes
from manifests.records import FAILED, OK, Record
from manifests.splits import Splits
from manifests.store import open_store
from pipeline.planning.blocks import Blocks
from pipeline.planning.plan import Plan
from pipeline.planning.row_states import ReadingRules, Retry
from pipeline.planning.tasks import BlockTask, Result, RowTask, Task
from pipeline.step import Step
from stages.contract.schedule import Schedule
from stages.contract.stage import Row, Stage
from stages.pack import Pack

FOUR = [{"id": name, "uri": f"/nowhere/{name}"} for name in "abcd"]
PAIRS = Splits(shares={"train": 1.0}, rows_per_shard=2)


class Ingest(Stage):
    """The root: its keys are made of content."""

    keyed_by_content: ClassVar[bool] = True


class Shape(Stage):
    needs: ClassVar[tuple[str, ...]] = ("ingest",)
    limits: ClassVar[tuple[str, ...]] = ("most",)
    setting: int = 0
    most: int = 10


class Words(Stage):
    """Optional, as is what it reads of shape."""

    needs: ClassVar[tuple[str, ...]] = ("ingest",)

    @property
    def may_need(self) -> tuple[str, ...]:
        return ("shape",)


def three_steps(**shape: int) -> list[Step]:
    names = frozenset({"ingest", "shape", "words"})
    return [Step(Ingest()), Step(Shape(**shape)), Step(Words(), Schedule(optional=True), names)]


class Planned:
    """A plan of a run folder whose tasks are named by stage and row (or block) id. What is applied is logged too."""

    def __init__(
        self,
        root: Path,
        rows: list[dict[str, Any]] = FOUR,
        steps: list[Step] | None = None,
        splits: Splits | None = None,
        retry: Retry = Retry(),
        changed: Sequence[str] = (),
        as_recorded: bool = False,
    ):
        store = open_store(root)
        epoch = max((part.epoch for part in list_parts(store)), default=0) + 1
        listing = update_listing(store, rows, epoch)
        blocks = Blocks(Step(Pack()), splits, listing, "ingest", store.list("dataset/data")) if splits else None
        self.store, self.log = store, Log(store, epoch)
        self.plan = Plan(steps or three_steps(), listing, Outcomes(store), blocks)
        rules = ReadingRules(lambda row, seen: row["id"] not in changed, retry, as_recorded)
        self.plan.load(LogReader(store), rules)
        self.blocks: dict[str, BlockTask] = {}  # that were to be packed, by id
        self.to_pack = self._named(self.plan.begin())

    def _index(self, name: str) -> int:
        return self.plan.listing.ids.to_pylist().index(name)

    def _named(self, tasks: list[Task]) -> set[tuple[str, str]]:
        found = set()
        for task in tasks:
            name = self.plan.items([task])[0]["id"]
            found.add((task.stage, name))
            if isinstance(task, BlockTask):
                self.blocks[name] = task
        return found

    def ready(self, stage: str) -> list[str]:
        return [self.plan.listing.ids[int(index)].as_py() for index in self.plan.ready(stage)]

    def apply(
        self, stage: str, name: str, reason: str = "", content: str = "", transient: bool = False, attempts: int = 1
    ) -> set[tuple[str, str]]:
        """A row is worked, or fails for a reason; return what becomes ready."""
        task = RowTask(stage, self._index(name))
        (item,) = self.plan.items([task])
        content = content if stage == "ingest" and content else name
        key = item["failure_key"] if reason else item.get("key") or self.plan.steps[stage].stage.key(item, (), content)
        found = self.plan.apply(task, Result(name, key, not reason, reason, content=content))
        self._log(name, stage, key, reason, transient=transient, attempts=attempts, content=content)
        return self._named(found)

    def finish(self, *names: str, **failing: str) -> set[tuple[str, str]]:
        """Rows go through every stage, but for those (by stage) that fail; return what becomes ready by it."""
        found: set[tuple[str, str]] = set()
        for name in names:
            for stage in self.plan.steps:
                found |= self.apply(stage, name, failing.get(stage, ""))
        return {(stage, name) for stage, name in found if stage == "pack"}

    def redo(self, stage: str, name: str, *lost: str) -> set[tuple[str, str]]:
        """A row's stage finds that what these made of the row is lost."""
        return self._named(self.plan.redo(RowTask(stage, self._index(name)), {name: lost}))

    def redo_block(self, block: str, **lost: tuple[str, ...]) -> set[tuple[str, str]]:
        """Packing a block finds that what these stages made of its members is lost."""
        return self._named(self.plan.redo(self.blocks[block], lost))

    def members(self, name: str) -> list[str]:
        return [member["id"] for member in self._block(name)["members"]]

    def _block(self, name: str) -> Row:
        return self.plan.items([self.blocks[name]])[0]

    def pack(self, name: str, reason: str = "", gaussians: int = 8) -> str:
        """A block is packed, or cannot be; return the name of its shard."""
        item = self._block(name)
        shard = f"dataset/data/{name}-{item['key'][:12]}.parquet"
        columns = {
            "shard": shard, "split": item["split"], "index": item["index"], "rows": len(item["members"]),
            "marks": item["marks"], "bytes": 0, "sha256": "", "shape": [4, 8, gaussians], "float_type": "float16",
            "categories": {}, "licences": {}, "scores": {},
        }  # fmt: skip
        if reason:
            columns = {}
        else:
            self.store.replace(shard, b"")
        self.plan.apply(self.blocks[name], Result(name, item["key"], not reason, reason, columns=columns))
        kept = columns or self.plan.blocks.last_shard(name)
        self._log(name, "pack", item["key"], reason, columns=kept)
        return shard

    def shards(self) -> set[str]:
        return {shard["shard"] for shard in self.plan.blocks.shards()}

    def _log(self, name: str, stage: str, key: str, reason: str, **more: Any) -> None:
        self.log.add(Record(name, stage, key, FAILED if reason else OK, reason, **more))
        self.log.flush()
