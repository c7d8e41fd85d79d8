"""The trainer on datasets of some objects: what it learns, keeps, goes on from and refuses."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from stages.clip_gs.data.loader import Loader
from stages.clip_gs.data.shards import Dataset, DatasetError
from stages.clip_gs.network.model import ClipGs
from stages.clip_gs.ranks import Ranks
from stages.clip_gs.settings import Model, Optimiser, Training
from stages.clip_gs.training import checkpoint
from stages.clip_gs.training.optimiser import Average, optimisers_of, placed, share_at
from stages.clip_gs.training.readiness import TrainingError, check, differences
from stages.clip_gs.training.trainer import Trainer, train
from stages.common.training import history
from stages.common.training.checkpoint import CheckpointError
from tests.stages.clip_gs_dataset import things, write
from tests.stages.clip_gs_objects import TEXTS

ALONE = Ranks(0, 1, torch.device("cpu"))
STILL = {"scale": [1, 1], "shift": 0, "rotation": "none", "color_drop": 0}
TINY = {"gaussians": 32, "patches": 4, "neighbours": 8, "orders": ["xyz"]}
SMALL = {"model": TINY, "data": {"views": 2}, "batch": 8, "steps": 6, "check_every": 2}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    objects = [*things(16, gaussians=32), *things(6, gaussians=32, split="validation")]
    return write(tmp_path_factory.mktemp("run"), objects, gaussians=32)


@pytest.fixture(scope="module")
def dataset(place: str) -> Dataset:
    return Dataset.open(place)


def settings_of(changes: dict[str, Any] | None = None, **more: Any) -> Training:
    return Training.model_validate({**SMALL, **(changes or {}), **more})


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """But for what a clock tells."""
    return [
        {name: value for name, value in line.items() if name != "seconds"}
        for line in history.read(folder / history.FILE)
    ]


def stop_after(steps: int) -> Any:
    asked = iter(range(1, 1000))
    return lambda: next(asked) >= steps


def equal(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[name], second[name]) for name in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(equal, first, second))
    return first == second


def test_sixteen_objects_are_learnt_by_heart(dataset: Dataset, tmp_path: Path) -> None:
    changes = {"batch": 16, "steps": 40, "check_every": 100, "augment": STILL, "optimiser": {"warm_share": 0.1}}
    train(settings_of(changes), dataset, tmp_path, ALONE)
    model, _ = checkpoint.load_model(tmp_path / checkpoint.LAST)
    batch = next(Loader(dataset, settings_of().data, 32, 16).batches())
    with torch.no_grad():
        likeness = batch.texts @ model(batch.gaussians).T
    assert (likeness.argmax(1) == torch.arange(16)).all()
    assert (likeness.argmax(0) == torch.arange(16)).all()


HARD = {"model": {**TINY, "drop_path": 0.3}, "ema": 0.9, "optimiser": {"layer_decay": 0.8}}
MUON = pytest.param({**HARD, "optimiser": {"kind": "muon", "layer_decay": 0.8}, "steps": 2}, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "changes", [{}, HARD, {"precision": "bfloat16"}, MUON], ids=["plain", "everything", "bfloat16", "muon"]
)
def test_stopped_and_gone_on_with_is_as_if_it_had_not_stopped(
    dataset: Dataset, tmp_path: Path, changes: dict[str, Any]
) -> None:
    settings = settings_of(changes)
    train(settings, dataset, tmp_path / "whole", ALONE)
    train(settings, dataset, tmp_path / "parts", ALONE, stop_after(settings.steps // 2))
    assert checkpoint.read(tmp_path / "parts" / checkpoint.LAST)["step"] == settings.steps // 2
    train(settings, dataset, tmp_path / "parts", ALONE)
    assert lines_of(tmp_path / "parts") == lines_of(tmp_path / "whole")
    ends = [checkpoint.read(tmp_path / name / checkpoint.LAST) for name in ("parts", "whole")]
    assert all(end.pop("seconds") for end in ends)
    assert equal(*ends)


def test_a_finished_training_is_left_as_it_is(dataset: Dataset, tmp_path: Path) -> None:
    train(settings_of(steps=2), dataset, tmp_path, ALONE)
    before = (tmp_path / checkpoint.LAST).read_bytes(), lines_of(tmp_path)
    train(settings_of(steps=2), dataset, tmp_path, ALONE)
    assert ((tmp_path / checkpoint.LAST).read_bytes(), lines_of(tmp_path)) == before


def test_another_seed_is_another_curve(dataset: Dataset, tmp_path: Path) -> None:
    for seed in (0, 1):
        train(settings_of(seed=seed, steps=1), dataset, tmp_path / str(seed), ALONE)
    assert lines_of(tmp_path / "0")[0]["loss"] != lines_of(tmp_path / "1")[0]["loss"]


def test_best_and_last_are_kept(dataset: Dataset, tmp_path: Path) -> None:
    train(settings_of(steps=8, ema=0.5), dataset, tmp_path, ALONE)
    looked = [line for line in lines_of(tmp_path) if "check/recall" in line]
    assert [line["step"] for line in looked] == [2, 4, 6, 8]
    best = max(looked, key=lambda line: (line["check/rank"], -line["check/loss"]))
    expected = {"split": "validation", "step": best["step"], "recall": best["check/recall"]}
    expected |= {"rank": best["check/rank"], "loss": best["check/loss"]}
    assert checkpoint.read(tmp_path / checkpoint.BEST)["step"] == best["step"]
    last = checkpoint.read(tmp_path / checkpoint.LAST)
    assert (last["step"], last["best"]) == (8, expected)
    assert (last["dimension"], last["teacher"]) == (16, "test-clip@0123")
    assert last["categories"] == ["boat", "cup", "lamp"]
    assert {"settings.yaml", history.EVENTS} <= {path.name for path in tmp_path.iterdir()}


def test_what_is_looked_at_is_the_running_mean(dataset: Dataset, tmp_path: Path) -> None:
    settings = settings_of(steps=4, check_every=4, ema=0.9, precision="float32")
    train(settings, dataset, tmp_path, ALONE)
    trainer = Trainer(settings, dataset, tmp_path, ALONE)
    model, description = checkpoint.load_model(tmp_path / checkpoint.LAST)
    assert equal(model.state_dict(), trainer.average.state)
    assert not equal(model.state_dict(), trainer.model.state_dict())
    figures = trainer.validation.figures(model, model.logit_scale.exp())
    assert figures["check/loss"] == lines_of(tmp_path)[-1]["check/loss"]
    assert description["step"] == 4


def test_categories_that_are_not_trained_are_not_looked_at_either(dataset: Dataset, tmp_path: Path) -> None:
    settings = settings_of(data={"views": 2, "without": [{"category": "cup"}]})
    trainer = Trainer(settings, dataset, tmp_path, ALONE)
    seen = trainer.validation._batch.ids
    assert seen and not any(int(name.split("-")[1]) % 3 == 0 for name in seen)
    train(settings.model_copy(update={"steps": 1}), dataset, tmp_path, ALONE)
    assert checkpoint.read(tmp_path / checkpoint.LAST)["categories"] == ["boat", "lamp"]


def test_a_loss_that_is_not_finite_stops_it_and_nothing_is_saved(dataset: Dataset, tmp_path: Path) -> None:
    wild = settings_of(optimiser={"rate": 1e30, "warm_share": 0}, save_seconds=1e-9)
    train(wild, dataset, tmp_path, ALONE, stop_after(1))
    before = (tmp_path / checkpoint.LAST).read_bytes()
    ids = set(next(Loader(dataset, wild.data, 32, 8).batches(1)).ids)
    with pytest.raises(TrainingError, match=r"^step 2: the loss is nan") as refused:
        train(wild, dataset, tmp_path, ALONE)
    assert set(str(refused.value).rpartition("objects: ")[2].split(", ")) == ids
    assert (tmp_path / checkpoint.LAST).read_bytes() == before


def test_the_temperature_learns_without_decay_and_is_limited(dataset: Dataset, tmp_path: Path) -> None:
    changes = {"loss": {"start_scale": 5.0, "most_scale": 5.003}, "optimiser": {"rate": 3e-3}}
    trainer = Trainer(settings_of(changes, augment=STILL, batch=16, steps=40), dataset, tmp_path, ALONE)
    trainer.run(bool)
    scales = [line["scale"] for line in lines_of(tmp_path)]
    assert min(scales) < 5 and scales[-1] == pytest.approx(5.003)
    groups = [group for optimiser in trainer.optimisers for group in optimiser.param_groups]
    (own,) = [group for group in groups if any(one is trainer.model.logit_scale for one in group["params"])]
    assert own["weight_decay"] == 0


@pytest.mark.parametrize("size", ["mini", "base"])
@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_every_parameter_is_in_one_group_with_its_depths_rate(size: str, kind: str) -> None:
    with torch.device("meta"):
        model = ClipGs(Model.model_validate({**TINY, "size": size}), 8)
    optimisers = optimisers_of(model, Optimiser(kind=kind, layer_decay=0.5, decay=0.1))
    groups = [group for optimiser in optimisers for group in optimiser.param_groups]
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())
    last = len(model.layers()) - 1
    found = {id(parameter): group for group in groups for parameter in group["params"]}
    for name, parameter, depth in placed(model):
        group = found[id(parameter)]
        assert group["factor"] == 0.5 ** (last - depth), name
        vector = parameter.numel() == max(parameter.shape, default=1)
        assert group["weight_decay"] == (0 if vector else 0.1), name
        if name.startswith("blocks."):
            assert depth == 1 + int(name.split(".")[1])
        if name.startswith("tokenizer."):  # what Uni3D has not must learn fastest
            assert depth == (last if "serial" in name else 0)
    if kind == "muon":
        (muon,) = [optimiser for optimiser in optimisers if isinstance(optimiser, torch.optim.Muon)]
        inner = {id(p) for name, p in model.named_parameters() if name.startswith("blocks.") and p.ndim == 2}
        assert {id(p) for group in muon.param_groups for p in group["params"]} == inner


def test_the_rate_rises_in_a_line_and_falls_by_a_cosine() -> None:
    shares = [share_at(step, 110, 10 / 110) for step in range(110)]
    assert shares[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert shares[10] == 1 and shares[60] == pytest.approx(0.5) and 0 < shares[109] < 0.001
    assert share_at(0, 1, 0.05) == 1


def test_the_running_mean_is_one_and_gives_the_weights_back() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    average = Average(model, 0.5)
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for step, value in enumerate((1.0, 3.0)):
        with torch.no_grad():
            model[0].weight.fill_(value)
            model[1].num_batches_tracked += 1
        average.update(model, step)
        keep = min(0.5, (1 + step) / (10 + step))
        expected["0.weight"] = keep * expected["0.weight"] + (1 - keep) * value
    assert torch.allclose(average.state["0.weight"], expected["0.weight"])
    assert average.state["1.num_batches_tracked"] == 2
    parameter, held = model[0].weight, model[0].weight.detach().clone()
    with average.worn(model):
        assert torch.allclose(model[0].weight, expected["0.weight"])
    assert model[0].weight is parameter and torch.equal(parameter, held)


@pytest.fixture(scope="module")
def trained(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train(settings_of(steps=2), dataset, folder, ALONE)
    return folder


def test_a_model_is_loaded_from_whatever_names_it(trained: Path, dataset: Dataset, tmp_path: Path) -> None:
    model, description = checkpoint.load_model(trained / checkpoint.BEST)
    checkpoint.save_compact(model, description, tmp_path / "compact")
    gaussians = next(Loader(dataset, settings_of().data, 32, 8).batches()).gaussians
    with torch.no_grad():
        vectors = model(gaussians)
        for place in (trained, trained / checkpoint.LAST, tmp_path / "compact"):
            other, other_description = checkpoint.load_model(place)
            assert not other.training and other_description == description
            assert torch.nn.functional.cosine_similarity(other(gaussians), vectors).min() > 0.999
    sizes = [path.stat().st_size for path in (trained / checkpoint.BEST, tmp_path / "compact" / checkpoint.WEIGHTS)]
    assert sizes[1] < 0.52 * sizes[0]


def test_what_is_no_checkpoint_is_said_in_a_line(trained: Path, tmp_path: Path) -> None:
    whole = (trained / checkpoint.LAST).read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    torch.save({"module": {}}, tmp_path / "other.pt")
    for number, text in enumerate(TEXTS):
        (tmp_path / f"text{number}.pt").write_bytes(text)
        with pytest.raises(CheckpointError, match=rf"text{number}\.pt: not a file of tensors"):
            checkpoint.load_model(tmp_path / f"text{number}.pt")
    for name, message in (("cut.pt", "damaged"), ("other.pt", "not written by `train`"), ("gone.pt", "no such")):
        with pytest.raises(CheckpointError, match=rf"{name}: .*{message}") as refused:
            checkpoint.load_model(tmp_path / name)
        assert "\n" not in str(refused.value)
    with pytest.raises(CheckpointError, match="expected a folder that `train` wrote"):
        checkpoint.load_model(tmp_path)
    newer = checkpoint.read(trained / checkpoint.LAST)
    newer["settings"]["model"]["colours"] = "all"
    checkpoint.save(tmp_path / "newer.pt", newer)
    checkpoint.save(tmp_path / "older.pt", {name: value for name, value in newer.items() if name != "weights"})
    for name in ("newer.pt", "older.pt"):
        with pytest.raises(CheckpointError, match=rf"{name}: was written by another version"):
            checkpoint.load_model(tmp_path / name)


def test_a_checkpoint_that_could_not_be_written_leaves_the_last(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / checkpoint.LAST
    path.write_bytes((trained / checkpoint.LAST).read_bytes())
    with pytest.raises(AttributeError):
        checkpoint.save(path, {"weights": torch.zeros(3), "cannot": (one for one in "be pickled").missing})
    with pytest.raises((TypeError, CheckpointError)):
        checkpoint.save(path, {"weights": torch.zeros(3), "cannot": (one for one in "be pickled")})
    assert checkpoint.read(path)["step"] == 2


def test_a_training_begins_with_another_ones_weights(trained: Path, dataset: Dataset, tmp_path: Path) -> None:
    first = checkpoint.load_model(trained)[0].state_dict()
    begun = Trainer(settings_of(start_from=str(trained)), dataset, tmp_path / "a", ALONE)
    state = begun.model.state_dict()
    means = [name for name in state if name.startswith("tokenizer.norm.")]  # what the data before were like
    taken, given = ({name: each[name] for name in each if name not in means} for each in (state, first))
    assert equal(taken, given)
    assert state["tokenizer.norm.num_batches_tracked"] == 0 < first["tokenizer.norm.num_batches_tracked"]
    assert all(name in begun.started_from for name in means)
    wider = settings_of(model={**TINY, "tokens": "points"}, start_from=str(trained))
    train(wider, dataset, tmp_path / "b", ALONE, stop_after(1))
    report = (tmp_path / "b" / "started_from.txt").read_text()
    assert "tensors of the model loaded" in report and "tokenizer.serial" in report
    larger = settings_of(model={**TINY, "size": "tiny"}, start_from=str(trained))
    with pytest.raises(CheckpointError, match="has size mini, but model.size is tiny"):
        train(larger, dataset, tmp_path / "c", ALONE)
    state = checkpoint.read(trained / checkpoint.LAST)
    checkpoint.save(tmp_path / "taught.pt", {**state, "teacher": "test-clip@4567"})
    with pytest.raises(CheckpointError, match="was trained with the teacher test-clip@4567, but the dataset's is"):
        train(settings_of(start_from=str(tmp_path / "taught.pt")), dataset, tmp_path / "e", ALONE)
    torch.save({"module": {}}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"start_from: .*other\.pt: not a Uni3D checkpoint"):
        train(settings_of(start_from=str(tmp_path / "other.pt")), dataset, tmp_path / "d", ALONE)


def test_what_was_learnt_before_counts_as_learnt(trained: Path, dataset: Dataset, tmp_path: Path) -> None:
    """Else a category that only the first training saw would pass for one never trained."""
    changes = {"data": {"views": 2, "without": [{"category": "cup"}]}, "start_from": str(trained)}
    train(settings_of(changes), dataset, tmp_path, ALONE, stop_after(1))
    train(settings_of(changes), dataset, tmp_path, ALONE, stop_after(1))
    assert checkpoint.read(tmp_path / checkpoint.LAST)["categories"] == ["boat", "cup", "lamp"]


@pytest.mark.parametrize(
    ("changes", "world", "message"),
    [
        ({"model": {**TINY, "gaussians": 33}}, 1, r"model\.gaussians: 33, .* have at most 32: set it to 32"),
        ({"data": {"views": 5}}, 1, r"data\.views: 5, .* have 4: set it to 4"),
        ({"batch": 9}, 2, r"batch: 9 .* among 2 processes: set it to 8 or 10"),
        ({"batch": 17}, 1, r"split 'train' has 16 rows to train on, fewer than a batch of 17"),
        ({"data": {"views": 2, "split": "tain"}}, 1, r"no split 'tain'; it has train \(16 rows\)"),
        ({"data": {"views": 2, "without": [{"category": "cup"}]}, "batch": 12}, 1, "fewer than a batch of 12"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(
    dataset: Dataset, tmp_path: Path, changes: dict[str, Any], world: int, message: str
) -> None:
    with pytest.raises((TrainingError, DatasetError), match=message) as refused:
        check(settings_of(changes), dataset, tmp_path, world)
    assert "\n" not in str(refused.value)


def test_a_dataset_without_vectors_is_refused(tmp_path: Path) -> None:
    bare = [dataclasses.replace(one, view_vectors=None, caption_vectors=None) for one in things(4, gaussians=32)]
    place = write(tmp_path / "run", bare, gaussians=32)
    with pytest.raises(TrainingError, match=r"no row has vectors .*--embed\.model"):
        train(settings_of(batch=2), Dataset.open(place), tmp_path / "training", ALONE)


def test_a_folder_goes_on_by_the_same_settings_dataset_and_teacher_alone(
    trained: Path, dataset: Dataset, tmp_path: Path
) -> None:
    same = settings_of(steps=2, save_seconds=7, data={"views": 2, "readers": 1})
    assert check(same, dataset, trained, 1) == 2
    other = settings_of(steps=3, optimiser={"rate": 1.0})
    with pytest.raises(CheckpointError, match=r"other settings: optimiser\.rate \(was 0\.001\), steps \(was 2\)"):
        check(other, dataset, trained, 1)
    objects = things(16, gaussians=32, seed=5)
    for changes, message in (
        ({}, "on other shards"),
        ({"teacher": "other@1"}, "with teacher test-clip@0123, not other@1"),
    ):
        there = write(tmp_path / message, [dataclasses.replace(one, **changes) for one in objects], gaussians=32)
        with pytest.raises(CheckpointError, match=message):
            check(settings_of(steps=2), Dataset.open(there), trained, 1)


def test_a_field_that_there_was_not_yet_is_as_it_is_by_default(trained: Path) -> None:
    state = checkpoint.read(trained / checkpoint.LAST)
    before = {**state["settings"], "data": {**state["settings"]["data"]}}
    del before["data"]["others"]
    same = Training.model_validate(state["settings"])
    assert differences(before, same) == []
    others = same.model_copy(update={"data": same.data.model_copy(update={"others": 2})})
    assert differences(before, others) == ["data.others (was 0)"]
    assert differences({**before, "colours": "all"}, same)[0] == "colours (was 'all')"


@pytest.mark.parametrize("odd", [{"optimisers": []}, {"weights": {}}])
def test_a_folder_of_another_version_is_refused_in_a_line(
    trained: Path, dataset: Dataset, tmp_path: Path, odd: dict[str, Any]
) -> None:
    state = checkpoint.read(trained / checkpoint.LAST)
    checkpoint.save(tmp_path / checkpoint.LAST, {**state, **odd})
    with pytest.raises(CheckpointError, match=r"last\.pt: was written by another version and cannot be resumed"):
        train(Training.model_validate(state["settings"]), dataset, tmp_path, ALONE)


def test_what_a_power_cut_leaves_of_a_curve_is_gone_on_from(tmp_path: Path) -> None:
    path = tmp_path / "curve.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n' + bytes(64) + b'\n{"step": 4}\n')
    assert history.read(path) == [{"step": 1}, {"step": 2}]
    assert history.read(tmp_path / "none") == []


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile on a CPU needs a C++ compiler")
def test_a_compiled_network_learns_what_the_plain_one_does_and_goes_on(dataset: Dataset, tmp_path: Path) -> None:
    for name, compiled in (("plain", False), ("compiled", True)):
        settings = settings_of(compile=compiled, precision="float32")
        train(settings, dataset, tmp_path / name, ALONE, stop_after(3))
        train(settings, dataset, tmp_path / name, ALONE)
    plain, found = (history.read(tmp_path / name / history.FILE) for name in ("plain", "compiled"))
    assert [line["step"] for line in found] == list(range(1, 7))
    assert [line["loss"] for line in found] == pytest.approx([line["loss"] for line in plain], rel=1e-3)
    checkpoint.load_model(tmp_path / "compiled")  # under the same names


def test_two_trainings_in_one_folder_are_one_too_many(dataset: Dataset, tmp_path: Path) -> None:
    refused = []

    def meanwhile() -> bool:
        with pytest.raises(TrainingError, match="another training runs there") as error:
            train(settings_of(), dataset, tmp_path, ALONE)
        refused.append(str(error.value))
        return True

    train(settings_of(), dataset, tmp_path, ALONE, meanwhile)
    assert len(refused) == 1 and checkpoint.read(tmp_path / checkpoint.LAST)["step"] == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"patches": 4000}}, "patches 4000 is more than gaussians, 1024"),
        ({"model": {"orders": ["xyz", "xyz"]}}, "expected at least one, and each at most once"),
        ({"augment": {"scale": [2, 1]}}, "the smaller one first"),
        ({"loss": {"text": 0, "image": 0}}, "expected at least one above 0"),
        ({"loss": {"start_scale": 200}}, "start_scale 200 is above most_scale 100"),
        ({"learning_rate": 1}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Training.model_validate(changes)


def test_the_curve_goes_on_behind_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / history.FILE
    path.write_text(
        "".join(json.dumps({"step": step, "loss": math.pi}) + "\n" for step in (1, 2, 3)) + '{"step": 4, "l'
    )
    with closing(history.History(tmp_path, 2)) as lines:
        lines.add({"step": 3, "loss": 1.0, "seconds": 2.0})
        lines.flush()
        assert history.newest(path, 2) == [{"step": 3, "loss": 1.0, "seconds": 2.0}]
    assert [(line["step"], line["loss"]) for line in history.read(path)] == [(1, math.pi), (2, math.pi), (3, 1.0)]
    assert history.newest(tmp_path / "gone", 0) == []
