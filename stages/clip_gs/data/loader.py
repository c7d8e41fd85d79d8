"""Load the batches of a split in a seeded order, for one process among others, from any step on.

The content of a step depends on the settings and the step's number only: not on earlier steps, on the number of
processes that share it, or on the number of threads that read.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import count

import numpy as np
import torch

from stages.clip_gs.batch import Batch, Gaussians, Others
from stages.clip_gs.data.row_group import RowGroup, read_row_group
from stages.clip_gs.data.selection import Selection, select_rows, weak_below
from stages.clip_gs.data.shards import Dataset, DatasetError, warn_of
from stages.clip_gs.data.shuffle import Lane, draws, pools
from stages.clip_gs.settings import Data
from stages.common.prefetch import prefetch

Pick = tuple[RowGroup, int]  # a row: its row group, and its position there


@dataclass(frozen=True)
class _Task:
    """This process's share of a step. Lists have one entry per object."""

    step: int
    picks: list[Pick]
    among: list[list[Pick]]  # all rows of the lane that the object is from


@dataclass(frozen=True)
class _Part:
    """This process's share of a pool."""

    lanes: dict[int, Lane]  # by number
    each: int  # objects that a step takes from a lane
    positions: list[tuple[int, int]]  # this process's objects of a step: lane, and position in the lane's part
    skipped: int  # steps of the pool that are not loaded
    steps: int


class Loader:
    """Loads `batch` objects per step over all `world` processes. The incomplete last batch of an epoch is left out."""

    def __init__(
        self,
        dataset: Dataset,
        data: Data,
        gaussians: int,
        batch: int,
        rank: int = 0,
        world: int = 1,
        selection: Selection | None = None,
    ):
        if batch % world:
            raise ValueError(f"batch: {batch} is not a multiple of the number of processes, {world}")
        self._dataset = dataset
        self._data = data
        self._gaussians = gaussians
        self._batch = batch
        self._rank = rank
        self._share = batch // world
        self._warned: set[str] = set()
        self._pinned = torch.cuda.is_available()
        dataset.groups(data.split)
        dataset.require_vectors()
        self.selection = selection or select_rows(dataset, data)
        self._groups, self._kept = self.selection.groups, self.selection.kept
        self._captions = self.selection.captions
        self.rows = self.selection.rows
        self.steps_per_epoch = self.rows // batch
        self._weak_below = weak_below(dataset, data)
        self._sizes = [len(kept) for kept in self._kept]
        self._lanes = math.gcd(batch, min(data.lanes, max(1, data.shuffle_rows // max(self._sizes, default=1))))
        if not self.steps_per_epoch:
            others = f" (left out: {self.selection.left_out_summary})" if self.selection.left_out else ""
            raise DatasetError(
                f"{dataset.place}: split {data.split!r} has {self.rows} rows to train on{others}, fewer than a batch "
                f"of {batch}; set batch to {self.rows} or less"
            )

    def batches(self, first_step: int = 0) -> Generator[Batch]:
        """Yield this process's share of each step from `first_step` on, without end."""
        readers = ThreadPoolExecutor(self._data.readers, "reader")
        try:
            yield from prefetch(self._load, self._tasks(first_step, readers), self._data.readers)
        finally:
            readers.shutdown(cancel_futures=True)

    def _tasks(self, first_step: int, readers: ThreadPoolExecutor) -> Iterator[_Task]:
        step = first_step
        for part, loaded in self._read(self._parts(first_step), readers):
            rows = {number: self._usable(number, lane, part.each, loaded) for number, lane in part.lanes.items()}
            among = [rows[lane] for lane, _ in part.positions]
            for within in range(part.skipped, part.steps):
                picks = [rows[lane][within * part.each + position] for lane, position in part.positions]
                yield _Task(step, picks, among)
                step += 1

    def _parts(self, first_step: int) -> Iterator[_Part]:
        """Yield this process's share of each pool from `first_step` on, epoch after epoch."""
        first_epoch, skipped = divmod(first_step, self.steps_per_epoch)
        shuffle_rows, seed = self._data.shuffle_rows, self._data.seed
        share = range(self._rank * self._share, (self._rank + 1) * self._share)
        for epoch in count(first_epoch):
            for pool in pools(self._sizes, shuffle_rows, self._lanes, self._batch, seed, epoch):
                if skipped < pool.steps:
                    each = self._batch // len(pool.lanes)
                    positions = [divmod(position, each) for position in share]
                    lanes = {lane: pool.lanes[lane] for lane, _ in positions}
                    yield _Part(lanes, each, positions, skipped, pool.steps)
                skipped = max(skipped - pool.steps, 0)

    def _read(self, parts: Iterator[_Part], readers: ThreadPoolExecutor) -> Iterator[tuple[_Part, dict[int, RowGroup]]]:
        """Yield each part with its row groups, by number; the row groups of the next part are read meanwhile."""
        part = next(parts)
        reading = self._begin(part, {}, readers)
        for next_part in parts:
            loaded = {number: future.result() for number, future in reading.items()}
            reading = self._begin(next_part, reading, readers)
            yield part, loaded
            part = next_part

    def _begin(
        self, part: _Part, there: dict[int, Future[RowGroup]], readers: ThreadPoolExecutor
    ) -> dict[int, Future[RowGroup]]:
        """Start to read the part's row groups. Those in `there` are kept, so a split of one pool is read once."""
        numbers = [number for lane in part.lanes.values() for number in lane.groups]
        return {number: there.get(number) or readers.submit(self._row_group, number) for number in numbers}

    def _usable(self, number: int, lane: Lane, each: int, loaded: dict[int, RowGroup]) -> list[Pick]:
        """Return the lane's rows in order, with the next usable row in place of each that cannot be used."""

        def picked(order: np.ndarray) -> list[Pick]:
            return [(loaded[group], loaded[group].positions[row]) for group, row in order.tolist()]

        bad = {row_id: why for group in lane.groups for row_id, why in loaded[group].unusable.items()}
        if not bad:
            return picked(lane.order)
        if self._rank == number * each // self._share:  # the first of all processes that read the lane
            warn_of({row_id: why for row_id, why in bad.items() if row_id not in self._warned})
        self._warned |= set(bad)
        usable = np.array([row in loaded[group].positions for group, row in lane.order.tolist()])
        if not usable.any():
            return self._replacements(lane, bad)
        good = np.flatnonzero(usable)
        order = lane.order.copy()
        missing = np.flatnonzero(~usable)
        order[missing] = lane.order[good[np.searchsorted(good, missing) % len(good)]]
        return picked(order)

    def _replacements(self, lane: Lane, bad: dict[str, str]) -> list[Pick]:
        """Return as many rows of the next row group that has usable ones: the same rows in every process."""
        for further in range(1, len(self._groups)):
            number = (lane.groups[0] + further) % len(self._groups)
            group = self._row_group(number) if self._sizes[number] else None
            if group and group.positions:
                rows = list(group.positions.values())
                return [(group, rows[index % len(rows)]) for index in range(len(lane.order))]
        row_id, why = next(iter(bad.items()))
        raise DatasetError(
            f"{self._dataset.place}: no row of split {self._data.split!r} can be used: {why} ({row_id}, ...); build "
            "the rows again"
        )

    def _row_group(self, number: int) -> RowGroup:
        drawn = self._data.subset == "drawn"
        count = self._dataset.shape.gaussians if drawn else self._gaussians
        return read_row_group(self._dataset, self._groups[number], self._kept[number], count, self._weak_below)

    def _load(self, task: _Task) -> Batch:
        picks, first = task.picks, self._rank * self._share
        randoms = [draws(self._data.seed, task.step, first + index) for index in range(len(picks))]
        views, texts, meanings, own_meanings, parts = [], [], [], [], []
        for (group, row), random in zip(picks, randoms, strict=True):
            views.append(group.views[row][_drawn_views(len(group.views[row]), self._data.views, random)])
            caption = random.integers(len(group.meanings[row]))
            texts.append(group.texts[row][caption])
            meanings.append(group.meanings[row][caption])
            own = group.own_meanings[row]
            own_meanings.append(own + own[:1] * (self._captions - len(own)))
            parts.append(self._subset(int(group.counts[row]), random))
        batch = Batch(
            ids=[group.ids[row] for group, row in picks],
            gaussians=_gathered(picks, parts),
            views=_unit(np.stack(views)),
            texts=_unit(np.stack(texts)),
            objects=torch.tensor([group.objects[row] for group, row in picks]),
            meanings=torch.tensor(meanings),
            own_meanings=torch.tensor(own_meanings),
            others=self._others(task.among, randoms) if self._data.others else None,
        )
        return batch.each(torch.Tensor.pin_memory) if self._pinned else batch

    def _others(self, among: list[list[Pick]], randoms: list[np.random.Generator]) -> Others:
        views, texts, objects, meanings = [], [], [], []
        for lane, random in zip(among, randoms, strict=True):
            for which, view, caption in random.random((self._data.others, 3)):
                group, row = lane[int(which * len(lane))]
                views.append(group.views[row][int(view * len(group.views[row]))])
                chosen = int(caption * len(group.meanings[row]))
                texts.append(group.texts[row][chosen])
                meanings.append(group.meanings[row][chosen])
                objects.append(group.objects[row])
        each = (len(among), self._data.others)
        return Others(
            views=_unit(np.stack(views)).unflatten(0, each),
            texts=_unit(np.stack(texts)).unflatten(0, each),
            objects=torch.tensor(objects).view(each),
            meanings=torch.tensor(meanings).view(each),
        )

    def _subset(self, real: int, random: np.random.Generator) -> torch.Tensor | None:
        """[N] indices of the Gaussians that the network sees, in farthest-point order; None: those that were read."""
        if self._data.subset == "first":
            return None
        if real <= self._gaussians:
            return torch.arange(self._gaussians) % real
        return torch.from_numpy(np.sort(random.choice(real, self._gaussians, replace=False)))


def _drawn_views(available: int, count: int, random: np.random.Generator) -> np.ndarray:
    """[K] numbers of views, all different if there are enough."""
    return random.permutation(available)[np.arange(count) % available]


def _gathered(picks: list[Pick], parts: list[torch.Tensor | None]) -> Gaussians:
    def gathered(name: str) -> torch.Tensor:
        per_object = [getattr(group.gaussians, name)[row] for group, row in picks]
        pairs = zip(per_object, parts, strict=True)
        return torch.stack([one if part is None else one[part] for one, part in pairs])

    return Gaussians(**{field.name: gathered(field.name) for field in fields(Gaussians)})


def _unit(vectors: np.ndarray) -> torch.Tensor:
    """[..., D] float32, of length 1 again: float16 does not keep the length exactly."""
    return torch.nn.functional.normalize(torch.from_numpy(vectors.astype(np.float32)), dim=-1)
