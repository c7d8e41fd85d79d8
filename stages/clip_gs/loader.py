"""Batches of a split, in a seeded order, for one process among others, from any step on.

What a step sees follows from the settings and its number alone: not from what was seen before, nor from how many
processes share it, nor from how many threads read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import count

import numpy as np
import torch

from stages.clip_gs.batch import Batch, Gaussians, Others
from stages.clip_gs.census import Census, weak_below
from stages.clip_gs.census import take as take_census
from stages.clip_gs.order import Lane, draws, pools
from stages.clip_gs.pieces import Piece, read_piece
from stages.clip_gs.settings import Data
from stages.clip_gs.shards import Dataset, DatasetError, warn_of
from stages.common.prefetch import prefetch

Pick = tuple[Piece, int]  # and the row in it


@dataclass(frozen=True)
class _Task:
    """What this process makes of a step. Lists have an entry an object."""

    step: int
    picks: list[Pick]
    among: list[list[Pick]]  # all rows of the lane that the object is of


@dataclass(frozen=True)
class _Part:
    """What one process sees of a pool."""

    lanes: dict[int, Lane]  # by number
    each: int  # objects that a step takes of a lane
    places: list[tuple[int, int]]  # of this process's objects in a step: lane, and which of its
    skipped: int  # steps of the pool
    steps: int


class Loader:
    """`batch` objects a step over all of `world` processes; an epoch's incomplete last batch is left out."""

    def __init__(
        self,
        dataset: Dataset,
        data: Data,
        gaussians: int,
        batch: int,
        rank: int = 0,
        world: int = 1,
        census: Census | None = None,
    ):
        if batch % world:
            raise ValueError(f"a batch of {batch} cannot be shared by {world} processes alike: take a multiple of them")
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
        self.census = census or take_census(dataset, data)
        self._groups, self._kept = self.census.groups, self.census.kept
        self._captions = self.census.captions
        self.rows = self.census.rows
        self.steps_per_epoch = self.rows // batch
        self._weak_below = weak_below(dataset, data)
        self._sizes = [len(kept) for kept in self._kept]
        self._lanes = math.gcd(batch, min(data.lanes, max(1, data.shuffle_rows // max(self._sizes, default=1))))
        if not self.steps_per_epoch:
            others = f" (left out: {self.census.left_out_told})" if self.census.left_out else ""
            raise DatasetError(
                f"{dataset.place}: split {data.split!r} has {self.rows} rows to train on{others}, fewer than a batch "
                f"of {batch}; take a smaller batch"
            )

    def batches(self, first_step: int = 0) -> Iterator[Batch]:
        """For ever, this process's share of each step from this one on."""
        readers = ThreadPoolExecutor(self._data.readers, "reader")
        try:
            yield from prefetch(self._made, self._tasks(first_step, readers), self._data.readers)
        finally:
            readers.shutdown(cancel_futures=True)

    def _tasks(self, first_step: int, readers: ThreadPoolExecutor) -> Iterator[_Task]:
        step = first_step
        for part, pieces in self._read(self._parts(first_step), readers):
            rows = {number: self._usable(number, lane, part.each, pieces) for number, lane in part.lanes.items()}
            among = [rows[lane] for lane, _ in part.places]
            for within in range(part.skipped, part.steps):
                yield _Task(step, [rows[lane][within * part.each + place] for lane, place in part.places], among)
                step += 1

    def _parts(self, first_step: int) -> Iterator[_Part]:
        """What this process sees of the pools from the step on, epoch after epoch."""
        first_epoch, skipped = divmod(first_step, self.steps_per_epoch)
        shuffle_rows, seed = self._data.shuffle_rows, self._data.seed
        share = range(self._rank * self._share, (self._rank + 1) * self._share)
        for epoch in count(first_epoch):
            for pool in pools(self._sizes, shuffle_rows, self._lanes, self._batch, seed, epoch):
                if skipped < pool.steps:
                    each = self._batch // len(pool.lanes)
                    places = [divmod(position, each) for position in share]
                    seen = {lane: pool.lanes[lane] for lane, _ in places}
                    yield _Part(seen, each, places, skipped, pool.steps)
                skipped = max(skipped - pool.steps, 0)

    def _read(self, parts: Iterator[_Part], readers: ThreadPoolExecutor) -> Iterator[tuple[_Part, dict[int, Piece]]]:
        """With the pieces of its row groups; those of the next are read meanwhile."""
        part = next(parts)
        reading = self._begin(part, {}, readers)
        for next_part in parts:
            pieces = {group: piece.result() for group, piece in reading.items()}
            reading = self._begin(next_part, reading, readers)
            yield part, pieces
            part = next_part

    def _begin(
        self, part: _Part, there: dict[int, Future[Piece]], readers: ThreadPoolExecutor
    ) -> dict[int, Future[Piece]]:
        """Have the groups read; what is there is kept, so a split that fits into one pool is read once."""
        groups = [group for lane in part.lanes.values() for group in lane.groups]
        return {group: there.get(group) or readers.submit(self._piece, group) for group in groups}

    def _usable(self, number: int, lane: Lane, each: int, pieces: dict[int, Piece]) -> list[Pick]:
        """The lane's rows in order, in which the next usable row stands for one that is not."""

        def picked(order: np.ndarray) -> list[Pick]:
            return [(pieces[group], pieces[group].places[row]) for group, row in order.tolist()]

        bad = {row_id: why for group in lane.groups for row_id, why in pieces[group].unusable.items()}
        if not bad:
            return picked(lane.order)
        if self._rank == number * each // self._share:  # of all that read the lane the first
            warn_of({row_id: why for row_id, why in bad.items() if row_id not in self._warned})
        self._warned |= set(bad)
        usable = np.array([row in pieces[group].places for group, row in lane.order.tolist()])
        if not usable.any():
            return self._instead_of(lane, bad)
        good = np.flatnonzero(usable)
        order = lane.order.copy()
        missing = np.flatnonzero(~usable)
        order[missing] = lane.order[good[np.searchsorted(good, missing) % len(good)]]
        return picked(order)

    def _instead_of(self, lane: Lane, bad: dict[str, str]) -> list[Pick]:
        """As many rows of the next group that has usable ones: the same ones whichever process asks."""
        for further in range(1, len(self._groups)):
            group = (lane.groups[0] + further) % len(self._groups)
            piece = self._piece(group) if self._sizes[group] else None
            if piece and piece.places:
                rows = list(piece.places.values())
                return [(piece, rows[place % len(rows)]) for place in range(len(lane.order))]
        row_id, why = next(iter(bad.items()))
        raise DatasetError(
            f"{self._dataset.place}: no row of split {self._data.split!r} can be used: {why} ({row_id}, ...); build "
            "them again"
        )

    def _piece(self, group: int) -> Piece:
        drawn = self._data.subset == "drawn"
        held = self._dataset.shape.gaussians if drawn else self._gaussians
        return read_piece(self._dataset, self._groups[group], self._kept[group], held, self._weak_below)

    def _made(self, task: _Task) -> Batch:
        picks, first = task.picks, self._rank * self._share
        randoms = [draws(self._data.seed, task.step, first + place) for place in range(len(picks))]
        views, texts, meanings, own_meanings, parts = [], [], [], [], []
        for (piece, row), random in zip(picks, randoms, strict=True):
            views.append(piece.views[row][_drawn_views(len(piece.views[row]), self._data.views, random)])
            caption = random.integers(len(piece.meanings[row]))
            texts.append(piece.texts[row][caption])
            meanings.append(piece.meanings[row][caption])
            own = piece.own_meanings[row]
            own_meanings.append(own + own[:1] * (self._captions - len(own)))
            parts.append(self._part(int(piece.counts[row]), random))
        batch = Batch(
            ids=[piece.ids[row] for piece, row in picks],
            gaussians=_gathered(picks, parts),
            views=_unit(np.stack(views)),
            texts=_unit(np.stack(texts)),
            objects=torch.tensor([piece.objects[row] for piece, row in picks]),
            meanings=torch.tensor(meanings),
            own_meanings=torch.tensor(own_meanings),
            others=self._others(task.among, randoms) if self._data.others else None,
        )
        return batch.each(torch.Tensor.pin_memory) if self._pinned else batch

    def _others(self, among: list[list[Pick]], randoms: list[np.random.Generator]) -> Others:
        views, texts, objects, meanings = [], [], [], []
        for lane, random in zip(among, randoms, strict=True):
            for which, view, caption in random.random((self._data.others, 3)):
                piece, row = lane[int(which * len(lane))]
                views.append(piece.views[row][int(view * len(piece.views[row]))])
                chosen = int(caption * len(piece.meanings[row]))
                texts.append(piece.texts[row][chosen])
                meanings.append(piece.meanings[row][chosen])
                objects.append(piece.objects[row])
        each = (len(among), self._data.others)
        return Others(
            views=_unit(np.stack(views)).unflatten(0, each),
            texts=_unit(np.stack(texts)).unflatten(0, each),
            objects=torch.tensor(objects).view(each),
            meanings=torch.tensor(meanings).view(each),
        )

    def _part(self, real: int, random: np.random.Generator) -> torch.Tensor | None:
        """[N] which of an object's Gaussians are seen, in farthest-point order still; None: those that were read."""
        if self._data.subset == "first":
            return None
        if real <= self._gaussians:
            return torch.arange(self._gaussians) % real
        return torch.from_numpy(np.sort(random.choice(real, self._gaussians, replace=False)))


def _drawn_views(there: int, wanted: int, random: np.random.Generator) -> np.ndarray:
    """[K] numbers of views, none twice where there are enough."""
    return random.permutation(there)[np.arange(wanted) % there]


def _gathered(picks: list[Pick], parts: list[torch.Tensor | None]) -> Gaussians:
    def gathered(name: str) -> torch.Tensor:
        of_objects = [getattr(piece.gaussians, name)[row] for piece, row in picks]
        pairs = zip(of_objects, parts, strict=True)
        return torch.stack([one if part is None else one[part] for one, part in pairs])

    return Gaussians(**{field.name: gathered(field.name) for field in fields(Gaussians)})


def _unit(vectors: np.ndarray) -> torch.Tensor:
    """[..., D] float32 of length 1, which float16 has lost."""
    return torch.nn.functional.normalize(torch.from_numpy(vectors.astype(np.float32)), dim=-1)
