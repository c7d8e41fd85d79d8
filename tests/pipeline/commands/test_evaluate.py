"""The commands `evaluate` and `encode` on a small dataset, with a tiny teacher and models that learnt nothing."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from manifests.store import open_store
from pipeline.__main__ import main
from pipeline.commands import evaluate as evaluating
from stages.clip_gs.data.shards import Dataset
from stages.clip_gs.evaluation.templates import LOOKS, OBJECTS, filled
from stages.clip_gs.network.model import ClipGs
from stages.clip_gs.settings import Model, Training
from stages.clip_gs.training import checkpoint
from stages.common.models import identity
from tests.stages.checkpoints import DIMENSION, write_clip
from tests.stages.clip_gs_dataset import Thing, spoil, things, write
from tests.stages.teacher_reference import Reference

CATEGORIES = ("boat", "cup", "ibis", "lamp", "oak", "urn")
TRAINED = CATEGORIES[:4]
BAD_REQUEST = 2


def objects(teacher: str) -> list[Thing]:
    made = things(6, TRAINED, dimension=DIMENSION)
    tested = things(30, CATEGORIES, split="test", dimension=DIMENSION)
    for number, thing in enumerate(tested):
        thing.columns = {"color": ("red", "blue")[number % 2], "pattern": ("plain", "striped", None)[number % 3]}
    tested[7] = replace(tested[7], category=None)
    return [replace(thing, teacher=teacher) for thing in made + tested]


def save(folder: Path, dataset: Dataset, seed: int, **changes: Any) -> Path:
    """An untrained model as `train` would leave it."""
    settings = Training(model=Model(gaussians=32, patches=6, neighbours=8))
    dimension = changes.get("dimension", DIMENSION)
    torch.manual_seed(seed)
    state = {
        "settings": settings.model_dump(mode="json"),
        "dimension": dimension,
        "teacher": dataset.teacher,
        "dataset": dataset.identity,
        "categories": list(TRAINED),
        "objects": 6,
        "step": 3,
        "steps": 3,
        "seconds": 90.0,
        "best": None,
        "weights": ClipGs(settings.model, dimension).state_dict(),
        "average": None,
    }
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.save(folder / "best.pt", {**state, **changes})
    return folder / "best.pt"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """clip/, the teacher; run/ with dataset, recipe and two trainings, one and other."""
    folder = tmp_path_factory.mktemp("evaluating")
    torch.set_num_threads(1)
    write_clip(folder / "clip")
    teacher = identity(str(folder / "clip"))
    write(folder / "run", objects(teacher))
    recipe = {"embed": {"model": str(folder / "clip"), "checkpoint": teacher}}
    (folder / "run" / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    dataset = Dataset.open(str(folder / "run"))
    save(folder / "run" / "training" / "one", dataset, seed=1)
    save(folder / "run" / "training" / "other", dataset, seed=2, best={"step": 3})
    return folder


@pytest.fixture(scope="module")
def shown(place: Path) -> str:
    """What `evaluate` says of one and other; it leaves run/evaluation/one.json."""
    output = io.StringIO()
    with redirect_stdout(output):
        other = str(place / "run" / "training" / "other" / "best.pt")
        assert main(["evaluate", *asked(place), "--checkpoint", other]) == 0
    return output.getvalue()


@pytest.fixture(scope="module")
def result(place: Path, shown: str) -> dict[str, Any]:
    return json.loads((place / "run" / "evaluation" / "one.json").read_text())


def asked(place: Path) -> list[str]:
    return ["--checkpoint", str(place / "run" / "training" / "one"), "--dataset", str(place / "run")]


def encode(place: Path, out: Path, *more: str) -> tuple[dict[str, np.ndarray], Any]:
    """Vectors by id, and the table."""
    assert main(["encode", *asked(place), "--out", str(out), *more]) == 0
    table = pq.read_table(out)
    return dict(zip(table["id"].to_pylist(), np.array(table["vector"].to_pylist()), strict=True)), table


def test_a_result_says_what_was_measured_on_what_and_how(place: Path, result: dict[str, Any]) -> None:
    dataset = Dataset.open(str(place / "run"))
    assert [(row["name"], row["kind"]) for row in result["rows"]] == [
        ("one", "checkpoint"), ("other", "checkpoint"), ("teacher", "teacher"), ("chance", "chance")
    ]  # fmt: skip
    of_dataset = result["dataset"]
    assert (of_dataset["identity"], of_dataset["teacher"], of_dataset["splits"]) == (
        dataset.identity,
        dataset.teacher,
        ["test"],
    )
    counts = {"rows": 30, "objects": 30, "left_out": 0, "with_category": 29, "captions": 60, "texts": 60, "views": 120}
    assert {name: of_dataset[name] for name in counts} == counts
    settings = result["settings"]
    assert (settings["classes"], settings["trained"]) == (list(CATEGORIES), list(TRAINED))
    assert settings["templates"] == list(OBJECTS)
    assert (result["version"], result["name"], result["processes"], result["device"]) == (1, "one", 1, "cpu")
    one, other, teacher, chance = result["rows"]
    assert one["identity"].startswith("one@") and one["identity"][4:] != other["identity"][6:]
    assert (one["step"], one["model"]["gaussians"], teacher["identity"]) == (3, 32, dataset.teacher)
    for row in (one, other, teacher, chance):
        assert set(row["zero_shot"]) == {"all", "trained", "never_trained", "never_trained_among_themselves"}
        assert set(row["attributes"]) == {"color", "pattern"}
        assert set(row["retrieval"]) == {"text_to_3d", "3d_to_text", "image_to_3d", "3d_to_image"}
        assert row["few_shot"]["10_way_1_shot"]["skipped"] == "6 of 6 classes have more than 1 object"
    assert teacher["few_shot"]["5_way_1_shot"]["mean"] > 0.5 > one["few_shot"]["5_way_1_shot"]["mean"]
    assert teacher["retrieval"]["image_to_3d"]["r_1"]["value"] > 0.9  # the vectors of an object's views lie close
    assert chance["retrieval"]["image_to_3d"]["r_1"]["value"] == pytest.approx(1 / 30)
    assert chance["zero_shot"]["all"]["top_1"] == {"value": pytest.approx(1 / 6), "low": None, "high": None}


def test_figures_are_those_that_encoded_vectors_give(place: Path, result: dict[str, Any], tmp_path: Path) -> None:
    """From the command's vectors, the teacher by transformers itself, and the rows of the dataset."""
    vectors, _ = encode(place, tmp_path / "vectors.parquet", "--split", "test")
    tables = [pq.read_table(path) for path in sorted((place / "run/dataset/data").glob("test-*.parquet"))]
    rows = [row for table in tables for row in table.to_pylist()]
    read = Reference(place / "clip").embed_texts

    def named(words: Sequence[str], templates: Sequence[str]) -> list[str]:
        means = np.stack([read([filled(template, word) for template in templates]).mean(0) for word in words])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        return [words[np.argmax(means @ vectors[row["id"]])] for row in rows]

    right = [
        name == row["category"] for name, row in zip(named(CATEGORIES, OBJECTS), rows, strict=True) if row["category"]
    ]
    zero_shot = result["rows"][0]["zero_shot"]
    assert zero_shot["all"]["objects"] == 29
    assert zero_shot["all"]["top_1"]["value"] == pytest.approx(np.mean(right))
    of_kinds = [look.replace("{kind}", kind) for kind in (*CATEGORIES, "object") for look in LOOKS]
    colors = [json.loads(row["metadata"])["color"] for row in rows]
    right = [name == color for name, color in zip(named(["blue", "red"], of_kinds), colors, strict=True)]
    assert result["rows"][0]["attributes"]["color"]["top_1"]["value"] == pytest.approx(np.mean(right))
    matrix = np.stack([vectors[row["id"]] for row in rows])
    found = [
        int(np.argmax(matrix @ np.array(vector))) == number
        for number, row in enumerate(rows)
        for vector in row["caption_vectors"]
    ]
    text_to_3d = result["rows"][0]["retrieval"]["text_to_3d"]
    assert text_to_3d["r_1"]["value"] == pytest.approx(np.mean(found))
    assert text_to_3d["r_1"]["low"] <= text_to_3d["r_1"]["value"] <= text_to_3d["r_1"]["high"]


def test_two_processes_give_what_one_gives(
    place: Path, result: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    both = [*asked(place), "--checkpoint", str(place / "run/training/other/best.pt"), "--processes", "2"]
    assert main(["evaluate", *both, "--out", str(tmp_path / "two.json")]) == 0
    two = json.loads((tmp_path / "two.json").read_text())
    assert two["processes"] == 2
    apart = ("date", "seconds", "processes")
    assert {key: two[key] for key in two if key not in apart} == {
        key: value for key, value in result.items() if key not in apart
    }


def test_the_table_has_the_figures_of_the_result(place: Path, result: dict[str, Any], shown: str) -> None:
    for row in result["rows"][:3]:
        figure = row["retrieval"]["text_to_3d"]["r_5"]
        assert f"{100 * figure['value']:.1f} [{100 * figure['low']:.1f}, {100 * figure['high']:.1f}]" in shown
        probe = row["few_shot"]["5_way_1_shot"]
        assert f"{100 * probe['mean']:.1f} ± {100 * probe['deviation']:.1f}" in shown
    for words in ("one", "other", "teacher on views", "chance", "never trained", "by color"):
        assert words in shown
    assert "No linear probes of 10-way 1-shot, 20-way 1-shot, 50-way 1-shot: 6 of 6 classes have" in shown
    assert "other: its step was chosen on split test" in shown  # there is no validation split
    assert "one: its step" not in shown
    assert str(place / "run" / "evaluation" / "one.json") in shown


def test_json_and_ones_own_words(
    place: Path, result: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "templates.txt").write_text("a {}\n{a} there\n")
    (tmp_path / "classes.txt").write_text("\n".join(["zebra", *CATEGORIES, ""]))
    words = ["--templates", str(tmp_path / "templates.txt"), "--classes", str(tmp_path / "classes.txt"), "--json"]
    assert main(["evaluate", *asked(place), *words, "--name", "own"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((place / "run" / "evaluation" / "own.json").read_text())
    assert (printed["name"], printed["rows"][0]["name"]) == ("own", "one")
    assert printed["settings"]["templates"] == ["a {}", "{a} there"]
    assert (
        printed["rows"][0]["zero_shot"]["all"]["among"] == 7 and printed["rows"][0]["zero_shot"]["all"]["classes"] == 6
    )
    assert printed["rows"][0]["few_shot"] == result["rows"][0]["few_shot"]


def test_a_row_that_cannot_be_used_is_named_and_changes_nothing_for_others(
    place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spoilt = tmp_path / "run"
    shutil.copytree(place / "run", spoilt)
    spoil(spoilt, "test-003", means=np.full(48 * 3, np.nan).tolist())
    whole, _ = encode(place, tmp_path / "whole.parquet")
    words = ["--checkpoint", str(spoilt / "training" / "one"), "--dataset", str(spoilt)]
    assert main(["encode", *words, "--out", str(tmp_path / "spoilt.parquet")]) == 0
    assert "rows left out: 1, their means are not finite: test-003" in caplog.text
    table = pq.read_table(tmp_path / "spoilt.parquet")
    assert set(whole) - set(table["id"].to_pylist()) == {"test-003"}
    for row_id, vector in zip(table["id"].to_pylist(), table["vector"].to_pylist(), strict=True):
        assert np.abs(np.array(vector) - whole[row_id]).max() < 1e-6
    assert main(["evaluate", *words]) == 0
    of_dataset = json.loads((spoilt / "evaluation" / "one.json").read_text())["dataset"]
    assert (of_dataset["objects"], of_dataset["left_out"], of_dataset["views"]) == (29, 1, 116)


def test_where_results_go_and_what_columns_are_called(place: Path) -> None:
    run = place / "run"
    paths = ["training/v1.2", "training/v1.2/best.pt", "training/v1.2/last.pt", "kept/small", "kept/model.pt"]
    assert list(evaluating.named([str(run / one) for one in paths])) == [
        "v1.2", "v1.2 (2)", "v1.2-last", "small", "model"
    ]  # fmt: skip
    assert evaluating.run_of("/other/training/v1.2") == "/other"
    assert evaluating.run_of("/kept/model.pt") == ""


def test_another_questions_answer_is_not_written_over(place: Path, result: dict[str, Any], tmp_path: Path) -> None:
    shutil.copytree(place / "run", tmp_path / "copy")
    one = str(tmp_path / "copy" / "training" / "one")
    assert main(["evaluate", "--checkpoint", one, "--dataset", str(tmp_path / "copy"), "--split", "train"]) == 0
    assert main(["evaluate", "--checkpoint", one, "--dataset", str(place / "run"), "--split", "train,test"]) == 0
    made = {path.name for path in (tmp_path / "copy" / "evaluation").iterdir()}
    assert made >= {"one.json", "one-train.json", "one-train-test-on-run.json"}
    assert json.loads((tmp_path / "copy" / "evaluation" / "one.json").read_text()) == result
    assert main(["export", "--checkpoint", one, "--out", str(tmp_path / "small")]) == 0
    assert (tmp_path / "small" / "evaluation" / "one-train.json").exists()
    assert "**Note:** one: was trained on split train" in (tmp_path / "small" / "README.md").read_text()


def test_several_splits_are_evaluated_as_one(place: Path, result: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "both.json"
    assert main(["evaluate", *asked(place), "--split", "train,test", "--out", str(out)]) == 0
    both = json.loads(out.read_text())
    assert (both["dataset"]["splits"], both["dataset"]["objects"]) == (["train", "test"], 36)
    row, tested = both["rows"][0]["zero_shot"], result["rows"][0]["zero_shot"]
    assert row["all"]["objects"] == tested["all"]["objects"] + 6  # all that are trained have a category
    assert row["never_trained"] == tested["never_trained"]  # none of these is among the trained
    assert both["rows"][0]["retrieval"]["image_to_3d"]["gallery"] == 36


def test_vectors_by_id_with_what_they_are_of(place: Path, result: dict[str, Any], tmp_path: Path) -> None:
    vectors, table = encode(place, tmp_path / "new" / "vectors.parquet")
    assert table.schema.field("vector").type.list_size == DIMENSION
    assert str(table.schema.field("vector").type.value_type) == "float"
    assert table["id"].to_pylist() == sorted(vectors) and len(vectors) == 36
    assert np.linalg.norm(list(vectors.values()), axis=1) == pytest.approx(1, abs=1e-5)
    rows = {row["id"]: row for row in table.select(["id", "split", "category"]).to_pylist()}
    assert rows["test-001"] == {"id": "test-001", "split": "test", "category": "cup"}
    assert rows["test-007"]["category"] is None and rows["train-000"]["split"] == "train"
    metadata = json.loads(table.schema.metadata[b"gs_triplets"])
    assert metadata["model"] == result["rows"][0]["identity"]
    assert (metadata["dataset"], metadata["dimension"]) == (result["dataset"]["identity"], DIMENSION)
    halves, table = encode(place, tmp_path / "new" / "vectors.parquet", "--float-type", "float16", "--split", "train")
    assert str(table.schema.field("vector").type.value_type) == "halffloat" and len(halves) == 6
    assert all(np.abs(halves[name] - vectors[name]).max() < 1e-3 for name in halves)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["vectors.parquet"]


def test_vectors_reach_an_object_store_whole(place: Path, bucket: str, tmp_path: Path) -> None:
    out = f"{bucket}/encoded/vectors.parquet"
    vectors, _ = encode(place, tmp_path / "vectors.parquet", "--split", "train")
    assert main(["encode", *asked(place), "--out", out, "--split", "train"]) == 0
    store = open_store(f"{bucket}/encoded")
    assert list(store.list("")) == ["vectors.parquet"]
    assert pq.read_table(io.BytesIO(store.read("vectors.parquet")))["id"].to_pylist() == list(vectors)


@pytest.fixture(scope="module")
def odd(place: Path) -> Path:
    """Checkpoints and datasets that do not fit, beside those that do."""
    dataset = Dataset.open(str(place / "run"))
    save(place / "odd" / "stranger", dataset, 1, teacher="other-clip@77")
    save(place / "odd" / "wide", dataset, 1, dimension=24)
    (place / "odd" / "text.pt").write_text("no checkpoint")
    silent = [replace(t, view_vectors=None, caption_vectors=None) for t in things(4, split="test")]
    write(place / "silent", silent)
    gone = write(place / "gone", things(4, TRAINED, split="test", dimension=DIMENSION))
    save(place / "odd" / "gone", Dataset.open(gone), 1)
    mixed = objects(str(dataset.teacher))
    mixed[-1] = replace(mixed[-1], teacher="other-clip@77")
    write(place / "mixed", mixed)
    shutil.copyfile(place / "run" / "recipe.yaml", place / "mixed" / "recipe.yaml")
    write_clip(place / "second", seed=5)
    (place / "few.txt").write_text("boat\ncup\nlamp\nzebra\n")
    (place / "twice.txt").write_text("boat\nboat\n")
    (place / "plain.txt").write_text("a photo\n")
    return place


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--checkpoint {}/none.pt", "{}/none.pt: no such file"),
        ("--checkpoint {}/odd/text.pt", "{}/odd/text.pt: not a file of tensors, or damaged"),
        (
            "--checkpoint {}/odd/stranger",
            "{}/odd/stranger: was trained with the teacher other-clip@77, but {}/run has",
        ),
        ("--checkpoint {}/odd/wide", "{}/odd/wide: its vectors have 24 numbers, those of {}/run 16"),
        ("--dataset {}/none", "{}/none: no dataset there"),
        ("--dataset {}/silent", "{}/silent: no row has vectors of a teacher"),
        ("--split validation", "{}/run has no split 'validation'; it has test (30 rows), train (6 rows)"),
        (
            "--classes {}/few.txt",
            "--classes: 3 categories of split test are not in the list: ibis, oak, urn; ",
        ),
        ("--classes {}/twice.txt", "--classes {}/twice.txt: 'boat' is listed twice; expected one name per line"),
        ("--classes {}/none.txt", "--classes {}/none.txt: cannot be read"),
        ("--templates {}/plain.txt", "{}/plain.txt: 'a photo' does not contain {{}} or {a}"),
        ("--teacher {}/none", "'{}/none': no such folder"),
        ("--teacher {}/second", "--teacher {}/second: is second@"),
        (
            "--dataset {}/gone --checkpoint {}/odd/gone",
            "the dataset's teacher, test-clip@0123, is not at stages/embedded/clip (",
        ),
        ("--dataset {}/mixed", "{}/mixed: split test has vectors of other-clip@77 beside those of clip@"),
        ("--processes 0", "0 processes: expected at least 1"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    odd: Path, words: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [word.replace("{}", str(odd)) for word in words.split()]
    given = asked(odd)
    given = given[2:] if "--checkpoint" in options else given
    assert main(["evaluate", *given, *options]) == BAD_REQUEST
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: " + line.replace("{{}}", "\0").replace("{}", str(odd)).replace("\0", "{}"))


def test_objects_without_a_teacher_have_vectors_too(odd: Path, tmp_path: Path) -> None:
    words = ["--checkpoint", str(odd / "run/training/one"), "--dataset", str(odd / "silent")]
    assert main(["encode", *words, "--out", str(tmp_path / "vectors.parquet")]) == 0
    assert pq.read_table(tmp_path / "vectors.parquet").num_rows == 4


@pytest.mark.slow
def test_a_complaint_of_one_process_ends_all(odd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second one's share is all that is wrong, and the first one waits for it."""
    run = tmp_path / "run"
    shutil.copytree(odd / "run", run)
    last = sorted((run / "dataset" / "data").glob("test-*.parquet"))[-1]
    data = bytearray(last.read_bytes())
    data[len(data) // 3 : len(data) // 3 + 4000] = bytes(4000)
    last.write_bytes(bytes(data))
    words = ["--checkpoint", str(odd / "run/training/one"), "--dataset", str(run), "--out", str(tmp_path / "x.parquet")]
    assert main(["encode", *words, "--split", "test", "--processes", "2"]) == BAD_REQUEST
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"error: {last}") and "SHA-256" in error
    assert not (tmp_path / "x.parquet").exists()


def test_an_exported_checkpoint_is_the_same_model_with_its_figures(
    place: Path, result: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "small"
    trained = str(place / "run" / "training" / "one")
    assert main(["export", "--checkpoint", trained, "--out", str(out), "--licence", "apache-2.0"]) == 0
    assert {file.name for file in out.iterdir()} == {"README.md", "config.json", "evaluation", "model.safetensors"}
    card = (out / "README.md").read_text()
    row = result["rows"][0]
    figure = row["zero_shot"]["trained"]["top_1"]
    assert f"| zero-shot Top-1, categories trained | {100 * figure['value']:.1f} (" in card
    assert "license: apache-2.0" in card and row["identity"].rpartition("@")[2] in card and "\n# small\n" in card
    assert all(str(place) not in file.read_text() for file in (out / "README.md", out / "evaluation" / "one.json"))

    words = [
        "evaluate",
        "--checkpoint",
        str(out),
        "--dataset",
        str(place / "run"),
        "--out",
        str(tmp_path / "again.json"),
    ]
    assert main(words) == 0
    again = json.loads((tmp_path / "again.json").read_text())["rows"][0]
    assert again["identity"].rpartition("@")[2] == row["identity"].rpartition("@")[2]
    whole, _ = encode(place, tmp_path / "whole.parquet")
    small = ["encode", "--checkpoint", str(out), "--dataset", str(place / "run"), "--out", str(tmp_path / "s.parquet")]
    assert main(small) == 0
    table = pq.read_table(tmp_path / "s.parquet")
    for row_id, vector in zip(table["id"].to_pylist(), table["vector"].to_pylist(), strict=True):
        assert np.array(vector) @ whole[row_id] > 0.999


def test_a_card_has_no_figures_of_other_weights(
    place: Path, shown: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = place / "run" / "training" / "other"
    words = ["export", "--checkpoint", str(trained), "--out", str(tmp_path / "small")]
    alone = place / "run" / "evaluation" / "one.json"
    found = json.loads(alone.read_text())
    found["rows"] = [row for row in found["rows"] if row["name"] != "other"]
    (tmp_path / "one.json").write_text(json.dumps(found))
    assert main([*words, "--evaluation", str(tmp_path / "one.json")]) == BAD_REQUEST
    assert "is a result of other weights" in capsys.readouterr().err
    (tmp_path / "no.json").write_text("[]")
    assert main([*words, "--evaluation", str(tmp_path / "no.json")]) == BAD_REQUEST
    assert "not a result of `evaluate`" in capsys.readouterr().err
    full = ["export", "--checkpoint", str(place / "run" / "training" / "one"), "--out", str(tmp_path / "small")]
    assert main(full) == 0 and (tmp_path / "small" / "evaluation").exists()
    (place / "run" / "evaluation").rename(place / "run" / "elsewhere")
    assert main(words) == 0  # in the place of the other
    (place / "run" / "elsewhere").rename(place / "run" / "evaluation")
    assert "its card has no figures" in capsys.readouterr().out
    assert not (tmp_path / "small" / "evaluation").exists()
    assert "None were given" in (tmp_path / "small" / "README.md").read_text()
    shutil.copytree(place / "clip", tmp_path / "other")  # it has model.safetensors and config.json too
    (tmp_path / "small" / "notes.txt").write_text("mine")
    for kept in ("other", "small"):
        before = sorted((tmp_path / kept).iterdir())
        assert main([*words[:-1], str(tmp_path / kept)]) == BAD_REQUEST
        assert "holds other files" in capsys.readouterr().err
        assert sorted((tmp_path / kept).iterdir()) == before
