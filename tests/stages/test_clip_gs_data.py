"""What clip_gs reads of a dataset, and how objects are changed: shards, loader, augment."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch

from manifests.store import LocalStore, open_store
from stages.artifacts.splat import SH_ZERO
from stages.clip_gs.batch import Batch, Gaussians, Others
from stages.clip_gs.data import shuffle
from stages.clip_gs.data.augment import augmented
from stages.clip_gs.data.columns import GAUSSIANS, read_gaussians
from stages.clip_gs.data.loader import Loader
from stages.clip_gs.data.shards import Dataset, DatasetError
from stages.clip_gs.rotations import matrices
from stages.clip_gs.settings import Augment, Data
from tests.stages.clip_gs_dataset import TEACHER, VIEWS, Thing, spoil, things, write

TRAIN, N = 22, 48
SEEN = Data(shuffle_rows=8, views=2)  # so that an epoch has several pools, and batches lie across them


@pytest.fixture(scope="module")
def made() -> list[Thing]:
    return things(TRAIN) + things(5, split="test", seed=1)


@pytest.fixture(scope="module")
def place(made, tmp_path_factory) -> str:
    return write(tmp_path_factory.mktemp("data") / "run", made)


def steps(place: str, count: int, *, data: Data = SEEN, batch=4, first=0, rank=0, world=1, gaussians=20) -> list[Batch]:
    batches = Loader(Dataset.open(place), data, gaussians, batch, rank, world).batches(first)
    return list(islice(batches, count))


def tensors(batch: Batch) -> Iterator[torch.Tensor]:
    yield from (getattr(batch.gaussians, field.name) for field in fields(Gaussians))
    yield from (batch.views, batch.texts, batch.objects, batch.meanings, batch.own_meanings)
    if batch.others:
        yield from (getattr(batch.others, field.name) for field in fields(Others))


def assert_same(left: list[Batch], right: list[Batch]) -> None:
    assert [batch.ids for batch in left] == [batch.ids for batch in right]
    for one, other in zip(left, right, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))


def ids(batches: list[Batch]) -> list[str]:
    return [row_id for batch in batches for row_id in batch.ids]


def stored(place: str, columns: Sequence[str]) -> list[str]:
    return [row_id for table in Dataset.open(place).rows("train", columns) for row_id in table["id"].to_pylist()]


# -- what is read --------------------------------------------------------------------------------------------------


def test_a_dataset_is_opened_by_its_run_or_its_own_folder(place):
    by_run, by_folder = Dataset.open(place), Dataset.open(f"{place}/dataset")
    assert by_run.identity == by_folder.identity
    assert by_run.splits == by_folder.splits == {"train": TRAIN, "test": 5}
    assert (by_folder.teacher, by_folder.dimension, by_folder.shape.gaussians) == (TEACHER, 16, N)
    first = next(by_folder.rows("train", ["id"]))
    assert first["id"].to_pylist() == ["train-000", "train-001", "train-002", "train-003"]
    assert first.column_names == ["id"]


def test_another_dataset_has_another_identity(place, tmp_path):
    assert Dataset.open(write(tmp_path, things(2))).identity != Dataset.open(place).identity


def test_an_object_is_read_as_it_was_written(made, place):
    """Against the splats themselves: centred, of radius 1, colours from the first coefficient."""
    table = next(Dataset.open(place).rows("train", GAUSSIANS))
    read = read_gaussians(table, 16)
    for row, thing in enumerate(made[: len(table)]):
        centre = thing.splat.means.mean(axis=0)
        radius = np.linalg.norm(thing.splat.means - centre, axis=1).max()
        means = (thing.splat.means[:16] - centre) / radius
        torch.testing.assert_close(read.means[row], torch.from_numpy(means), atol=1e-5, rtol=1e-4)
        scales = torch.from_numpy(thing.splat.log_scales[:16]).exp() / float(radius)
        torch.testing.assert_close(read.log_scales[row].exp(), scales)
        turns = torch.from_numpy(thing.splat.quaternions[:16])
        torch.testing.assert_close(read.quaternions[row], turns / turns.norm(dim=1, keepdim=True))
        assert torch.equal(read.opacity_logits[row], torch.from_numpy(thing.splat.opacity_logits[:16]))
        colors = np.clip(SH_ZERO * thing.splat.sh[:16, 0] + 0.5, 0, 1)
        torch.testing.assert_close(read.colors[row], torch.from_numpy(colors))


@pytest.mark.parametrize("count", [N, 3 * N])
def test_padding_is_never_seen_and_a_row_with_fewer_repeats_its_own(made, place, count):
    table = next(Dataset.open(place).rows("train", GAUSSIANS))
    read = read_gaussians(table, count)
    for row, thing in enumerate(made[: len(table)]):
        real = len(thing.splat)
        assert len(read.opacity_logits[row]) == count
        again = torch.from_numpy(thing.splat.opacity_logits)[torch.arange(count) % real]
        assert torch.equal(read.opacity_logits[row], again)
        assert read.means[row].norm(dim=1).max().item() == pytest.approx(1, abs=1e-5)
        assert read.means[row][:real].mean(0).abs().max() < 1e-5


def test_quaternions_of_length_0_and_objects_of_no_extent(tmp_path):
    one = things(1)[0]
    splat = replace(one.splat, means=np.full_like(one.splat.means, 0.25), quaternions=0 * one.splat.quaternions)
    read = read_gaussians(next(Dataset.open(write(tmp_path, [replace(one, splat=splat)])).rows("train", GAUSSIANS)), 8)
    assert torch.equal(read.quaternions, torch.tensor([1.0, 0, 0, 0]).expand(1, 8, 4))
    assert torch.equal(read.means, torch.zeros(1, 8, 3))
    assert torch.equal(read.log_scales, torch.from_numpy(splat.log_scales[None, :8]))


@pytest.mark.parametrize("float_type", ["float32", "float16"])
@pytest.mark.parametrize("terms", [1, 4])
def test_float16_and_higher_harmonics_are_read(tmp_path, float_type, terms):
    rows = things(4, terms=terms)
    write(tmp_path, rows, float_type=float_type)
    (batch,) = steps(str(tmp_path), 1, gaussians=N)
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in tensors(batch))
    splats = {thing.id: thing.splat for thing in rows}
    for row_id, colors in zip(batch.ids, batch.gaussians.colors, strict=True):
        meant = torch.from_numpy(np.clip(SH_ZERO * splats[row_id].sh[:, 0] + 0.5, 0, 1))
        torch.testing.assert_close(colors[: len(meant)], meant, atol=2e-3, rtol=0)


def test_all_rows_of_a_split_are_given_in_stored_order(made, place):
    assert stored(place, ["id", "category"]) == [thing.id for thing in made[:TRAIN]]


# -- the order -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("readers", [1, 3])
@pytest.mark.parametrize("subset", ["first", "drawn"])
def test_a_step_is_the_same_whatever_was_before_and_whoever_reads(place, readers, subset):
    data = SEEN.model_copy(update={"subset": subset, "others": 2})
    whole = steps(place, 12, data=data)  # two epochs of five steps, and more
    for first in (1, 3, 5, 9):
        resumed = steps(place, 12 - first, first=first, data=data.model_copy(update={"readers": readers}))
        assert_same(resumed, whole[first:])


@pytest.mark.parametrize("shuffle_rows", [1, 4, 8, 1000])
@pytest.mark.parametrize("batch", [4, 11])
def test_an_epoch_shows_each_row_once(place, shuffle_rows, batch):
    data = SEEN.model_copy(update={"shuffle_rows": shuffle_rows})
    count = TRAIN // batch
    for epoch in range(3):
        seen = ids(steps(place, count, data=data, batch=batch, first=epoch * count))
        assert len(seen) == len(set(seen)) == count * batch


def test_epochs_and_seeds_have_orders_of_their_own(place):
    first, second = ids(steps(place, 5)), ids(steps(place, 5, first=5))
    other = ids(steps(place, 5, data=SEEN.model_copy(update={"seed": 1})))
    assert len({tuple(first), tuple(second), tuple(other)}) == 3


def test_rows_of_all_shards_are_mixed(place):
    """A pool of two row groups takes them from anywhere, and batches mix a pool's rows."""
    shards = [[int(row_id[-3:]) // 8 for row_id in batch.ids] for batch in steps(place, 15)]
    assert any(len(set(of_batch)) > 1 for of_batch in shards)
    assert any(of_batch[0] != 0 for of_batch in shards[::5])
    data = SEEN.model_copy(update={"shuffle_rows": 1000})
    assert len({int(row_id[-3:]) // 8 for row_id in ids(steps(place, 2, data=data))}) == 3


@pytest.mark.parametrize("subset", ["first", "drawn"])
@pytest.mark.parametrize("world", [2, 4])
def test_processes_part_a_batch_among_them(place, world, subset):
    data = SEEN.model_copy(update={"subset": subset, "others": 3})
    whole = steps(place, 6, data=data, batch=8)
    shares = [steps(place, 6, data=data, batch=8, rank=rank, world=world) for rank in range(world)]
    for step, batch in enumerate(whole):
        parts = [share[step] for share in shares]
        assert batch.ids == ids(parts)
        for one, of_parts in zip(tensors(batch), zip(*map(tensors, parts), strict=True), strict=True):
            assert torch.equal(one, torch.cat(of_parts))


def test_others_are_what_the_teacher_saw_and_read_of_rows_in_memory(made, place):
    data = SEEN.model_copy(update={"others": 5, "shuffle_rows": 1000})
    plain, beside = (steps(place, 5, data=data.model_copy(update={"others": each})) for each in (0, 5))
    assert all(batch.others is None for batch in plain)
    assert_same([replace(batch, others=None) for batch in beside], plain)  # nothing else is drawn otherwise
    rows = made[:TRAIN]
    found = []
    for batch in beside:
        others = batch.others.each(lambda tensor: tensor.flatten(0, 1))
        for view, text, number in zip(others.views, others.texts, others.objects.tolist(), strict=True):
            (row,) = {which for which, thing in enumerate(rows) if is_of(thing.view_vectors, view)}
            assert is_of(rows[row].caption_vectors, text)
            found.append((row, number))
    assert len(set(found)) == len({row for row, _ in found}) > TRAIN / 2


def is_of(vectors, wanted: torch.Tensor) -> bool:
    unit = torch.nn.functional.normalize(torch.as_tensor(np.asarray(vectors, np.float32)), dim=-1)
    return bool(((unit @ wanted) > 0.9999).any())


def test_a_process_reads_only_the_lanes_that_its_part_comes_from(tmp_path, monkeypatch):
    """16 row groups in pools of two: by lanes each of two processes has one of the two, but for the last pool."""
    write(tmp_path, things(64))
    read = []
    real = Dataset.read
    monkeypatch.setattr(Dataset, "read", lambda self, group, columns: read.append(group) or real(self, group, columns))
    for lanes, least, most in ((1, 10, 16), (2, 5, 8)):
        data = SEEN.model_copy(update={"lanes": lanes, "readers": 1})
        loader = Loader(Dataset.open(str(tmp_path)), data, 20, 4, rank=1, world=2)
        read.clear()
        with closing(loader.batches()) as batches:
            for _ in range(10):
                next(batches)
        assert least <= len(set(read)) <= most


def test_lanes_are_dealt_alike_and_no_row_is_lost():
    sizes = [5, 3, 0, 7, 4, 4, 6, 2, 5, 1, 3, 8, 4, 4, 5, 3]
    met = []
    found = list(shuffle.pools(sizes, pool_rows=20, lanes=2, batch=4, seed=0, epoch=0))
    assert len(found) > 2 and {len(pool.lanes) for pool in found[:-1]} == {2} and len(found[-1].lanes) == 1
    for pool in found:
        taken = pool.steps * 4 // len(pool.lanes)
        assert all(len(lane.order) == taken for lane in pool.lanes) or pool is found[-1]
        assert all(set(lane.order[:, 0]) == set(lane.groups) for lane in pool.lanes)
        met += [tuple(row) for lane in pool.lanes for row in lane.order.tolist()]
    assert sorted(met) == [(group, row) for group, size in enumerate(sizes) for row in range(size)]
    assert sum(pool.steps for pool in found) == sum(sizes) // 4


def test_a_split_that_fits_into_memory_is_read_once(place, monkeypatch):
    read = []
    real = Dataset.read
    monkeypatch.setattr(Dataset, "read", lambda self, group, columns: read.append(group) or real(self, group, columns))
    loader = Loader(Dataset.open(place), SEEN.model_copy(update={"shuffle_rows": 1000}), 20, 4)
    read.clear()
    assert len(list(islice(loader.batches(), 12))) == 12
    assert len(read) == len(set(read)) == len(Dataset.open(place).groups("train"))


def test_no_more_than_two_pools_are_in_memory(place, monkeypatch):
    data = SEEN.model_copy(update={"readers": 1})  # pools of two of the six row groups
    loader = Loader(Dataset.open(place), data, 20, 4)
    read = []
    real = Dataset.read
    monkeypatch.setattr(Dataset, "read", lambda self, group, columns: read.append(group) or real(self, group, columns))
    batches = loader.batches()
    next(batches)
    batches.close()
    assert 2 <= len(read) <= 4


# -- what is drawn for an object -----------------------------------------------------------------------------------


def test_views_and_captions_are_an_objects_own_and_drawn_anew(made, place):
    whole = {thing.id: thing for thing in made}
    views, captions = {}, {}
    for batch in steps(place, 25):
        for row_id, seen, text in zip(batch.ids, batch.views, batch.texts, strict=True):
            likeness = seen @ torch.from_numpy(whole[row_id].view_vectors.astype(np.float32)).T  # [2, VIEWS]
            assert likeness.max(dim=1).values.min() > 0.999
            drawn = tuple(likeness.argmax(dim=1).tolist())
            assert len(set(drawn)) == 2
            views.setdefault(row_id, set()).update(drawn)
            cosines = text @ torch.from_numpy(whole[row_id].caption_vectors.astype(np.float32)).T
            assert cosines.max() > 0.999
            captions.setdefault(row_id, set()).add(int(cosines.argmax()))
        torch.testing.assert_close(batch.views.norm(dim=-1), torch.ones(4, 2))
        torch.testing.assert_close(batch.texts.norm(dim=-1), torch.ones(4))
    assert sum(map(len, views.values())) > 0.8 * VIEWS * TRAIN
    assert sum(map(len, captions.values())) > 1.5 * TRAIN


def test_an_object_with_fewer_views_shows_some_twice(place):
    (batch,) = steps(place, 1, data=SEEN.model_copy(update={"views": VIEWS + 1}))
    assert batch.views.shape == (4, VIEWS + 1, 16)
    for seen in batch.views:
        assert len(torch.unique(seen, dim=0)) == VIEWS


def test_a_drawn_subset_keeps_the_order_and_differs_each_time(made, place):
    data = SEEN.model_copy(update={"subset": "drawn"})
    whole = {thing.id: thing.splat.opacity_logits for thing in made}
    drawn: dict[str, set[tuple[int, ...]]] = {}
    for batch in steps(place, 10, data=data, gaussians=24):
        for row_id, logits in zip(batch.ids, batch.gaussians.opacity_logits.numpy(), strict=True):
            places = [int(np.flatnonzero(whole[row_id] == logit)[0]) for logit in logits]
            assert places == sorted(set(places))
            drawn.setdefault(row_id, set()).add(tuple(places))
    assert any(max(places) >= 24 for of_row in drawn.values() for places in of_row)
    assert sum(map(len, drawn.values())) == 40


def test_equal_content_and_equal_captions_have_equal_numbers(tmp_path):
    rows = things(4)
    words = ["A red  cup", "a red cup ", "a blue cup", "a green cup"]
    contents = ["same", "other", "same", "third"]
    rows = [
        replace(row, captions=[text], caption_vectors=row.caption_vectors[:1], content=content)
        for row, text, content in zip(rows, words, contents, strict=True)
    ]
    (batch,) = steps(write(tmp_path, rows), 1)
    number = {row_id: place for place, row_id in enumerate(batch.ids)}
    objects = [batch.objects[number[row.id]].item() for row in rows]
    meanings = [batch.meanings[number[row.id]].item() for row in rows]
    assert objects[0] == objects[2] and len(set(objects)) == 3
    assert meanings[0] == meanings[1] and len(set(meanings)) == 3
    assert torch.equal(batch.own_meanings, batch.meanings[:, None])


def test_all_captions_of_an_object_are_known_whichever_is_drawn(tmp_path):
    rows = things(4)
    rows[1] = replace(rows[1], captions=rows[0].captions[1:], caption_vectors=rows[1].caption_vectors[:1])
    for batch in steps(write(tmp_path, rows), 4):
        number = {row_id: place for place, row_id in enumerate(batch.ids)}
        first, second = (batch.own_meanings[number[row.id]].tolist() for row in rows[:2])
        assert second == [first[1]] * 2 and len(set(first)) == 2
        assert all(
            meaning in own for meaning, own in zip(batch.meanings.tolist(), batch.own_meanings.tolist(), strict=True)
        )


# -- which rows ----------------------------------------------------------------------------------------------------


def test_rows_that_rules_name_are_not_trained(tmp_path):
    colors = ["red", "blue"]
    rows = [replace(row, columns={"color": colors[place // 3 % 2]}) for place, row in enumerate(things(12))]
    rules = ({"category": "cup"}, {"category": "boat", "color": "red"}, {"category": "plane"})
    data = SEEN.model_copy(update={"without": rules})
    loader = Loader(Dataset.open(write(tmp_path, rows)), data, 20, 3)
    seen = set(ids(list(islice(loader.batches(), 6))))
    wanted = {
        row.id for row in rows if row.category == "lamp" or (row.category, row.columns["color"]) == ("boat", "blue")
    }
    assert (loader.rows, seen) == (6, wanted)
    assert loader.selection.left_out == {"named by data.without": 6}
    assert loader.selection.unmet == [{"category": "plane"}]
    named = data.model_copy(
        update={"without": ({"id": "train-003", "licence": "CC0-1.0"}, {"source": "train-004.glb"})}
    )
    assert Loader(Dataset.open(str(tmp_path)), named, 20, 3).selection.left_out == {"named by data.without": 2}


def test_rows_without_captions_or_vectors_are_left_out_and_counted(tmp_path):
    rows = things(8)
    rows[1] = replace(rows[1], captions=[], caption_vectors=None)
    rows[2] = replace(rows[2], view_vectors=None, caption_vectors=None)
    rows[5] = replace(rows[5], caption_vectors=None)
    loader = Loader(Dataset.open(write(tmp_path, rows)), SEEN, 20, 5)
    assert set(next(loader.batches()).ids) == {rows[place].id for place in (0, 3, 4, 6, 7)}
    assert loader.selection.left_out == {"without captions": 1, "without vectors": 2}


def test_weak_captions_are_kept_or_skipped_as_asked(tmp_path):
    """What is weak is what the index says; a row that has no other caption is left out."""
    rows = [replace(row, captions=["strong", "weak"], scores=[0.5, 0.1]) for row in things(6)]
    rows[5] = replace(rows[5], captions=["weak", "weak"], scores=[0.1, 0.1])
    dataset = Dataset.open(write(tmp_path, rows, weak_percent=60))
    for asked, meanings, count in (("keep", 2, 6), ("skip", 1, 5)):
        loader = Loader(dataset, SEEN.model_copy(update={"weak_captions": asked}), 20, count)
        batches = list(islice(loader.batches(), 20))
        assert len({number for batch in batches for number in batch.meanings.tolist()}) == meanings
        assert set(ids(batches)) == {row.id for row in rows[:count]}
        assert loader.selection.left_out == ({} if asked == "keep" else {"with weak captions alone": 1})
        assert f" {12 if asked == 'keep' else 5} " in loader.selection.captions_summary
        own = {frozenset(numbers) for batch in batches for numbers in batch.own_meanings.tolist()}
        assert max(map(len, own)) == 2  # what is weak is the object's own all the same


@pytest.mark.parametrize("column", ["means", "log_scales", "quaternions", "opacity_logits", "sh", "view_vectors"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_row_that_is_not_finite_is_left_out_with_its_id(tmp_path, caplog, column, value):
    write(tmp_path, things(8))
    width = {"means": 3, "log_scales": 3, "quaternions": 4, "sh": 3}.get(column, 1) * N
    spoil(tmp_path, "train-006", **{column: [[value] * 16] * VIEWS if column == "view_vectors" else [value] * width})
    whole = steps(str(tmp_path), 6)
    assert "train-006" not in ids(whole)
    assert all(bool(tensor.isfinite().all()) for batch in whole for tensor in tensors(batch))
    assert [len(batch) for batch in whole] == [4] * 6
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1 and f"their {column} are not finite" in messages[0] and messages[0].endswith("train-006")
    assert_same(steps(str(tmp_path), 3, first=3), whole[3:])
    shared = [steps(str(tmp_path), 6, rank=rank, world=2) for rank in range(2)]
    assert [ids([a, b]) for a, b in zip(*shared, strict=True)] == [batch.ids for batch in whole]


@pytest.mark.parametrize("shuffle_rows", [8, 1000])
def test_a_row_group_of_such_rows_alone_stops_nothing(tmp_path, caplog, shuffle_rows):
    """The second of five groups of four, a lane of its own where a pool has two groups."""
    write(tmp_path, things(20))
    for number in range(4, 8):
        spoil(tmp_path, f"train-{number:03d}", means=[math.nan] * 3 * N)
    data = SEEN.model_copy(update={"shuffle_rows": shuffle_rows, "lanes": 2})
    whole = steps(str(tmp_path), 12, data=data)
    assert set(ids(whole)) == {f"train-{number:03d}" for number in (*range(4), *range(8, 20))}
    assert "rows left out: 4, their means are not finite: train-004, " in caplog.text
    shared = [steps(str(tmp_path), 12, data=data, rank=rank, world=2) for rank in range(2)]
    assert [ids([a, b]) for a, b in zip(*shared, strict=True)] == [batch.ids for batch in whole]
    assert_same(steps(str(tmp_path), 5, data=data, first=7), whole[7:])


def test_one_line_tells_of_all_such_rows_for_the_whole_of_a_training(tmp_path, caplog):
    write(tmp_path, things(8))
    for row_id in ("train-000", "train-003"):
        spoil(tmp_path, row_id, means=[math.nan] * 3 * N)
    spoil(tmp_path, "train-005", gaussian_count=0)
    caplog.set_level(logging.WARNING)
    steps(str(tmp_path), 10, data=SEEN.model_copy(update={"shuffle_rows": 100}))
    messages = sorted(record.getMessage() for record in caplog.records)
    assert messages == [
        "rows left out: 1, they have no Gaussians: train-005",
        "rows left out: 2, their means are not finite: train-000, train-003",
    ]
    assert stored(str(tmp_path), ["id", *GAUSSIANS]) == [f"train-{number:03d}" for number in (1, 2, 4, 6, 7)]


# -- what is wrong -------------------------------------------------------------------------------------------------


def shard_of(place: Path) -> Path:
    return next((place / "dataset/data").glob("train-00000-*.parquet"))


def test_no_dataset(tmp_path):
    with pytest.raises(DatasetError, match=r"no dataset there \(dataset/index.json is missing\); `build` makes one"):
        Dataset.open(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"version": 7, "shards": []}', "index.json is of version 7; expected version 1"),
        ('{"version": 1, "sha', r"index.json is damaged \(JSONDecodeError.*run the build again"),
        ('{"version": 1, "shards": []}', "index.json lists no shards"),
    ],
)
def test_an_index_that_cannot_be_used(tmp_path, text, message):
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(DatasetError, match=message):
        Dataset.open(str(tmp_path))


def test_a_shard_that_is_missing_or_cut_is_told_before_it_is_read(tmp_path):
    write(tmp_path, things(4))
    shard = shard_of(tmp_path)
    data = shard.read_bytes()
    shard.write_bytes(data[:-100])
    with pytest.raises(
        DatasetError, match=f"{shard.name} has {len(data) - 100:,} bytes, but index.json lists {len(data):,}"
    ):
        Dataset.open(str(tmp_path))
    shard.unlink()
    with pytest.raises(DatasetError, match=f"{shard.name} is missing, but index.json lists it"):
        Dataset.open(str(tmp_path))


@pytest.mark.parametrize("where", ["numbers", "footer"])
def test_a_shard_with_other_bytes_is_named(tmp_path, where):
    write(tmp_path, things(4))
    shard = shard_of(tmp_path)
    with parquet.ParquetFile(shard) as file:
        group = file.metadata.row_group(0)
        chunks = [group.column(number) for number in range(group.num_columns)]
    begin = next(chunk.data_page_offset for chunk in chunks if chunk.path_in_schema.startswith("means"))
    begin = begin if where == "numbers" else shard.stat().st_size - 500
    data = bytearray(shard.read_bytes())
    data[begin : begin + 100] = bytes(byte ^ 0xFF for byte in data[begin : begin + 100])
    shard.write_bytes(data)
    with pytest.raises(DatasetError, match=f"{shard.name} cannot be read: its SHA-256 differs from index.json"):
        steps(str(tmp_path), 1)


def test_odd_numbers_in_a_shard_with_other_bytes_are_its_damage(tmp_path):
    write(tmp_path, things(8))
    spoil(tmp_path, "train-006", means=[math.nan] * 3 * N)
    path = tmp_path / "dataset/index.json"
    index = json.loads(path.read_text())
    index["shards"][0]["sha256"] = "0" * 64
    path.write_text(json.dumps(index))
    for use in (lambda: steps(str(tmp_path), 1), lambda: list(Dataset.open(str(tmp_path)).rows("train", ["means"]))):
        with pytest.raises(
            DatasetError, match=f"{shard_of(tmp_path).name} is damaged: its SHA-256 differs from index.json"
        ):
            use()


def test_a_dataset_without_vectors_says_what_makes_them(tmp_path):
    rows = [replace(row, view_vectors=None, caption_vectors=None) for row in things(4)]
    opened = Dataset.open(write(tmp_path, rows))
    assert opened.teacher is None
    for use in (opened.require_vectors, lambda: opened.dimension, lambda: Loader(opened, SEEN, 20, 2)):
        with pytest.raises(DatasetError, match="no row has vectors of a teacher .* --embed.model PATH"):
            use()


def test_vectors_of_two_teachers(tmp_path):
    rows = things(4)
    rows[2] = replace(rows[2], teacher="another@99")
    with pytest.raises(DatasetError, match=f"several teachers \\(another@99, {TEACHER}\\)"):
        steps(write(tmp_path, rows), 1)


def test_a_row_with_vectors_of_another_length_is_left_out(tmp_path, caplog):
    rows = things(6)
    rows[3] = things(6, dimension=8)[3]
    assert rows[3].id not in ids(steps(write(tmp_path, rows), 4, batch=3))
    assert "their vectors do not have the dataset's dimension, 16: train-003" in caplog.text


@pytest.mark.parametrize(
    ("data", "batch", "message"),
    [
        (Data(split="trian"), 4, r"no split 'trian'; it has test \(5 rows\), train \(22 rows\)"),
        (Data(), 23, "split 'train' has 22 rows to train on, fewer than a batch of 23"),
        (
            Data(without=({"category": "cup"},)),
            16,
            r"14 rows .* \(left out: 8 named by data.without\), fewer",
        ),
    ],
)
def test_what_a_training_cannot_begin_with(place, data, batch, message):
    with pytest.raises(DatasetError, match=message):
        Loader(Dataset.open(place), data, 20, batch)


def test_a_batch_that_processes_cannot_share(place):
    with pytest.raises(ValueError, match="batch: 5 is not a multiple of the number of processes, 2"):
        Loader(Dataset.open(place), SEEN, 20, 5, world=2)


def test_a_dataset_of_rows_that_cannot_be_used(tmp_path):
    write(tmp_path, things(2))
    for row_id in ("train-000", "train-001"):
        spoil(tmp_path, row_id, means=[math.nan] * 3 * N)
    with pytest.raises(DatasetError, match="no row of split 'train' can be used: their means are not finite"):
        steps(str(tmp_path), 1, batch=2)


# -- behind a URI --------------------------------------------------------------------------------------------------


def test_a_dataset_in_an_object_store_is_read_as_one_on_disk(bucket, place):
    remote, store = f"{bucket}/clip-gs-data", LocalStore(place)
    for name in store.list("dataset"):
        open_store(remote).replace(name, store.read(name))
    assert Dataset.open(remote).dimension == 16
    assert_same(steps(remote, 7, first=2), steps(place, 7, first=2))
    with pytest.raises(DatasetError, match="no dataset there"):
        Dataset.open(f"{bucket}/nothing")


# -- how objects are changed ---------------------------------------------------------------------------------------


STILL = Augment(scale=(1, 1), shift=0, rotation="none", color_drop=0)


@pytest.fixture(scope="module")
def seen(place) -> Gaussians:
    return steps(place, 1, batch=22, gaussians=N)[0].gaussians


def changed(seen: Gaussians, seed: int = 0, **settings) -> Gaussians:
    return augmented(seen, STILL.model_copy(update=settings), torch.Generator().manual_seed(seed))


def covariances(gaussians: Gaussians) -> torch.Tensor:
    """[B, N, 3, 3], R S S R^T, the rotation from the quaternion by the cross product with its axis."""
    w, axis = gaussians.quaternions[..., :1], gaussians.quaternions[..., 1:]
    unit = torch.eye(3).expand(*axis.shape[:2], 3, 3)
    columns = []
    for vector in unit.unbind(-2):
        across = 2 * torch.linalg.cross(axis, vector)
        columns.append(vector + w * across + torch.linalg.cross(axis, across))
    turned = torch.stack(columns, dim=-1) * gaussians.log_scales.exp()[..., None, :]
    return turned @ turned.mT


def fitted(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """[B, 3, 3] the linear maps that take points [B, N, 3] to others, by least squares."""
    return torch.linalg.lstsq(before.double(), after.double()).solution.mT.float()


@pytest.mark.parametrize("rotation", ["up", "all"])
def test_a_turn_moves_each_gaussian_as_it_moves_space(seen, rotation):
    after = changed(seen, rotation=rotation, scale=(0.5, 2.0))
    maps = fitted(seen.means, after.means)
    torch.testing.assert_close(seen.means @ maps.mT, after.means, atol=1e-4, rtol=1e-3)
    scales = maps.det() ** (1 / 3)
    assert scales.min() > 0.5 and scales.max() < 2 and scales.std() > 0.1
    turns = maps / scales[:, None, None]
    torch.testing.assert_close(turns @ turns.mT, torch.eye(3).expand(22, 3, 3), atol=1e-4, rtol=0)
    wanted = maps[:, None] @ covariances(seen) @ maps[:, None].mT
    torch.testing.assert_close(covariances(after), wanted, atol=1e-7, rtol=5e-3)
    torch.testing.assert_close(after.quaternions.norm(dim=-1), torch.ones(22, N))
    up = turns[:, :, 1]  # where the axis that points up went
    assert torch.allclose(up, torch.tensor([0.0, 1, 0]), atol=1e-4) == (rotation == "up")
    angles = torch.atan2(turns[:, 0, 2], turns[:, 0, 0])
    assert angles.max() > 1.5 and angles.min() < -1.5


def test_a_shift_moves_an_object_as_a_whole(seen):
    after = changed(seen, shift=0.1)
    moved = after.means - seen.means
    torch.testing.assert_close(moved, moved[:, :1].expand_as(moved), atol=1e-6, rtol=0)
    assert moved.abs().max() <= 0.1 + 1e-6 and moved[:, 0].min() < -0.05 and moved[:, 0].max() > 0.05
    for name in ("log_scales", "quaternions", "opacity_logits", "colors"):
        assert torch.equal(getattr(after, name), getattr(seen, name))


@pytest.mark.parametrize(("share", "dropped"), [(0.0, {False}), (0.5, {False, True}), (1.0, {True})])
def test_a_share_of_objects_lose_their_colours(seen, share, dropped):
    after = changed(seen, color_drop=share)
    grey = [bool((colors == 0.4).all()) for colors in after.colors]
    assert set(grey) == dropped
    for lost, before, now in zip(grey, seen.colors, after.colors, strict=True):
        assert lost or torch.equal(before, now)


def test_draws_follow_from_the_generator(seen):
    ways = {"rotation": "all", "scale": (0.8, 1.25), "shift": 0.1, "color_drop": 0.5}
    first, again, other = changed(seen, 1, **ways), changed(seen, 1, **ways), changed(seen, 2, **ways)
    assert torch.equal(first.means, again.means) and torch.equal(first.colors, again.colors)
    assert not torch.allclose(first.means, other.means)
    assert torch.equal(changed(seen).means, seen.means)


def test_a_turn_is_exact_where_all_else_is_rounded(seen):
    """Under autocast a product would put points on a grid a hundredth wide."""
    with torch.autocast("cpu", torch.bfloat16):
        short = changed(seen, rotation="all")
    assert torch.equal(short.means, changed(seen, rotation="all").means)


def test_matrices_and_quaternions_say_the_same():
    turns = torch.nn.functional.normalize(torch.randn(50, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    gaussians = Gaussians(
        torch.zeros(1, 50, 3), torch.randn(1, 50, 3), turns[None], torch.zeros(1, 50), torch.zeros(1, 50, 3)
    )
    stretched = matrices(turns) * gaussians.log_scales[0].exp()[:, None]
    torch.testing.assert_close(stretched @ stretched.mT, covariances(gaussians)[0])
