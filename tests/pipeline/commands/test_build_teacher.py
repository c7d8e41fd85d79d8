"""Builds with a teacher: from `--embed.model` on the command line to the vectors in the dataset."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.recipe import RecipeError, load_recipe
from tests.pipeline.building import build, index, say, status, write_meshes
from tests.stages.checkpoints import CONTEXT, write_bert, write_clip
from tests.stages.teacher_reference import Reference, on_white

LONG = "a chair " * 20
WORDS = [
    {"caption": "a small red chair", "tags": ["red"]},
    {"caption": "красный стул, 赤い椅子"},
    {"caption": LONG},
    {},
]


def write_list(folder: Path) -> Path:
    """Four objects with their words; the last has none, not even in its name."""
    meshes = sorted(write_meshes(folder / "0002", count=4).iterdir())
    meshes[-1] = meshes[-1].rename(folder / "0002" / "0001.glb")
    rows = [{"id": f"o{number}", "path": str(path), **WORDS[number]} for number, path in enumerate(meshes)]
    (folder / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "list.jsonl"


def rows_of(run: Path) -> dict[str, dict[str, Any]]:
    tables = [pq.read_table(run / "dataset" / shard["shard"]) for shard in index(run)["shards"]]
    return {row["id"]: row for table in tables for row in table.to_pylist()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """list.jsonl, clip/ and run/."""
    folder = tmp_path_factory.mktemp("1")  # a name without words
    write_clip(folder / "clip")
    build(write_list(folder), folder / "run", "--embed.model", folder / "clip")
    return folder


def test_vectors_teacher_and_scores_reach_the_dataset(built: Path) -> None:
    reference, rows = Reference(built / "clip"), rows_of(built / "run")
    assert set(rows) == {"o0", "o1", "o2", "o3"}
    for row in rows.values():
        pictures = [np.asarray(Image.open(io.BytesIO(view["bytes"]))) for view in row["views"]]
        views = np.array(row["view_vectors"])
        assert np.abs(views - reference.embed_pictures([on_white(picture) for picture in pictures])).max() < 1e-3
        assert row["teacher"].startswith("clip@")
        assert row["keys"]["embed"]
        if row["captions"]:
            texts = np.array(row["caption_vectors"])
            assert np.abs(texts - reference.embed_texts([entry["text"] for entry in row["captions"]])).max() < 1e-3
            scores = [entry["score"] for entry in row["captions"]]
            assert np.allclose(scores, (texts @ views.T).mean(axis=1), atol=1e-5)
    assert len(rows["o0"]["caption_vectors"]) == len(rows["o0"]["captions"]) == 2


def test_a_caption_that_is_cut_is_a_warning_on_its_row(built: Path) -> None:
    rows = rows_of(built / "run")
    cut = f"of which the teacher reads the first {CONTEXT}"
    assert [warning.endswith(cut) for warning in rows["o2"]["warnings"]].count(True) == 1
    assert not any(warning.endswith(cut) for warning in rows["o0"]["warnings"])


def test_a_row_without_captions_keeps_its_views_vectors(built: Path) -> None:
    row = rows_of(built / "run")["o3"]
    assert (row["captions"], row["caption_vectors"]) == ([], None)
    assert (row["keys"]["caption"], row["keys"]["align"]) == (None, None)
    assert len(row["view_vectors"]) == 6
    stages = status(built / "run")["stages"]
    assert [(stages[name]["ok"], stages[name]["todo"]) for name in ("embed", "caption", "align")] == [
        (4, 0), (3, 0), (3, 0)
    ]  # fmt: skip


def test_the_weakest_captions_are_marked_and_none_is_left_out(built: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(built / "run", tmp_path / "run"))
    shards = index(run)["shards"]
    assert weak(run) == []  # a tenth of so few is none
    build(built / "list.jsonl", run, "--embed.model", built / "clip", "--pack.weak_percent", "50")
    assert index(run)["shards"] == shards
    entries = [(entry["score"], name, entry) for name, row in rows_of(run).items() for entry in row["captions"]]
    metadata = sorted((score, name) for score, name, entry in entries if entry["kind"] == "metadata")
    found = weak(run)
    assert [(row["score"], row["id"]) for row in found] == [(pytest.approx(metadata[0][0]), metadata[0][1])]
    below = index(run)["weak_captions"]["below"]
    assert metadata[0][0] < below["metadata"] <= metadata[1][0]
    assert f"{below['metadata']:.4f} (metadata)" in (run / "dataset" / "README.md").read_text()
    assert found[0]["text"][:20] in say("status", "--run", run, "--weak").stdout


def weak(run: Path) -> list[dict[str, Any]]:
    return json.loads(say("status", "--run", run, "--weak", "--json").stdout)["weak_captions"]


def test_the_closing_lines_show_captions_with_their_scores(built: Path, tmp_path: Path) -> None:
    output = build(built / "list.jsonl", tmp_path / "run", "--embed.model", built / "clip").stdout
    shown = output[output.index("Captions of the first objects") :]
    captioned = {name: row["captions"][0] for name, row in rows_of(tmp_path / "run").items() if row["captions"]}
    assert len(captioned) == 3
    for name, entry in captioned.items():
        assert name in shown and f"metadata: {entry['text']} ({entry['score']:.2f})"[:60] in shown


def test_another_checkpoint_at_the_same_place_redoes_its_stages_alone(built: Path, tmp_path: Path) -> None:
    source, run = built / "list.jsonl", Path(shutil.copytree(built / "run", tmp_path / "run"))
    model = Path(shutil.copytree(built / "clip", tmp_path / "clip"))
    ended = build(source, run, "--embed.model", model)  # it lies elsewhere, and is the same
    assert "Nothing to do" in ended.stdout
    before = rows_of(run)["o0"]
    write_clip(model, seed=1)
    build(source, run, "--embed.model", model)
    after = rows_of(run)["o0"]
    changed = {name for name in before["keys"] if before["keys"][name] != after["keys"][name]}
    assert changed == {"embed", "align"}
    assert before["teacher"] != after["teacher"]
    reference = Reference(model)
    texts = [entry["text"] for entry in after["captions"]]
    assert np.abs(np.array(after["caption_vectors"]) - reference.embed_texts(texts)).max() < 1e-3


def test_a_teacher_named_later_adds_its_words_and_redoes_nothing_else(built: Path, tmp_path: Path) -> None:
    build(built / "list.jsonl", tmp_path / "run")
    before = rows_of(tmp_path / "run")["o0"]
    assert [before[name] for name in ("view_vectors", "caption_vectors", "teacher")] == [None, None, None]
    build(built / "list.jsonl", tmp_path / "run", "--embed.model", built / "clip")
    assert rows_of(tmp_path / "run") == rows_of(built / "run")
    keys = {name: key for name, key in rows_of(tmp_path / "run")["o0"]["keys"].items() if before["keys"][name]}
    assert keys.items() <= before["keys"].items()


def test_the_card_tells_what_the_model_is_and_not_where_it_lay(built: Path) -> None:
    recipe = index(built / "run")["provenance"]["recipe"]
    assert recipe["embed"] == {"checkpoint": rows_of(built / "run")["o0"]["teacher"]}
    assert recipe["render"]["size"] == 48
    assert str(built) not in (built / "run" / "dataset" / "README.md").read_text()


def test_where_the_teacher_fails_rows_are_in_without_its_words(built: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = Path(shutil.copytree(built / "clip", tmp_path / "clip"))
    tensors = load_file(model / "model.safetensors")
    tensors["visual_projection.weight"][:] = float("nan")
    save_file(tensors, model / "model.safetensors", {"format": "pt"})
    run = Path(shutil.copytree(built / "run", tmp_path / "run"))
    build(built / "list.jsonl", run, "--embed.model", model)
    stages = status(run)["stages"]
    assert stages["embed"]["reasons"] == {"not_finite": 4}
    rows = rows_of(run)
    assert len(rows) == 4
    assert {row["teacher"] for row in rows.values()} == {None}
    assert [rows["o0"][name] for name in ("view_vectors", "caption_vectors")] == [None, None]
    assert [entry["score"] for entry in rows["o0"]["captions"]] == [None, None]


def test_a_checkpoint_that_cannot_be_a_teacher_is_refused_before_any_work(built: Path, tmp_path: Path) -> None:
    for model, message in ((tmp_path / "none", "no such folder"), (write_bert(tmp_path / "bert"), "a bert model")):
        done = build(built / "list.jsonl", tmp_path / "run", "--embed.model", model, code=2)
        *_, line = done.stderr.splitlines()
        assert line.startswith("error: embed.model: ")
        assert message in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("preset", ["cpu", "full"])
def test_a_model_on_the_command_line_switches_it_on_in_any_preset(preset: str) -> None:
    plain = [step.name for step in load_recipe(preset).steps()]
    assert plain == ["ingest", "render", "fit", "caption"]
    taught = load_recipe(preset, {"embed.model": "PATH"})
    assert [step.name for step in taught.steps()] == ["ingest", "render", "fit", "embed", "caption", "align"]
    assert [step.name for step in taught.steps(only="align")] == ["ingest", "render", "embed", "caption", "align"]
    without = load_recipe(preset, {"embed.model": "PATH", "caption": None})
    assert [step.name for step in without.steps()] == ["ingest", "render", "fit", "embed"]
    silent = load_recipe(preset, {"embed.model": "PATH", "align": None})
    assert [step.name for step in silent.steps()] == ["ingest", "render", "fit", "embed", "caption"]


def test_a_stage_needs_another_only_where_the_recipe_has_it() -> None:
    looks = {"caption.engine": "vlm", "caption.model": "PATH"}
    caption = {step.name: step for step in load_recipe("cpu", looks).steps()}["caption"]
    assert caption.needs == ("render",)
    caption = {step.name: step for step in load_recipe("cpu", {**looks, "embed.model": "PATH"}).steps()}["caption"]
    assert caption.needs == ("render", "embed")


def test_embed_without_a_model_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"^embed\.model: missing; embed requires it$"):
        load_recipe("cpu", {"embed.batch_images": 8})


def test_a_teacher_on_a_gpu_that_is_not_there_is_refused(built: Path) -> None:
    asked = {"embed.model": str(built / "clip"), "embed.device": "gpu"}
    with pytest.raises(RecipeError, match=r"^embed\.device: gpu takes 1 GPUs .* there are 0: set it to cpu"):
        load_recipe("cpu", asked).resolve(gpus=0)
    taught = load_recipe("cpu", {"embed.model": str(built / "clip")}).resolve(gpus=1)
    assert {step.name: step.gpus for step in taught.steps()} == {
        "ingest": 0, "render": 0, "fit": 0, "embed": 1, "caption": 0, "align": 1
    }  # fmt: skip
