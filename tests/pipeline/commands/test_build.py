"""Whole builds with the real stages: what a user says on the command line, and what stands in the run folder after."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.pipeline.building import (
    build,
    build_words,
    dataset_files,
    ids_in_dataset,
    index,
    reasons,
    say,
    status,
    write_meshes,
)
from tests.stages.meshes import glb, obj_cube, png


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished build of five objects: source/ and run/."""
    folder = tmp_path_factory.mktemp("built")
    write_meshes(folder / "source")
    build(folder / "source", folder / "run")
    return folder


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    """The same, to be changed. Its source stays where it was, as its ids and times tell."""
    shutil.copytree(built / "run", tmp_path / "run")
    shutil.copytree(built / "source", tmp_path / "source", copy_function=shutil.copy2)
    return tmp_path


def test_a_folder_becomes_a_dataset(built: Path) -> None:
    assert len(ids_in_dataset(built / "run")) == 5
    stages = status(built / "run")["stages"]
    assert [stages[name]["ok"] for name in ("ingest", "render", "fit", "caption")] == [5, 5, 5, 5]
    assert status(built / "run")["failed"] == []
    assert (built / "run" / "recipe.yaml").exists()


def test_load_dataset_gives_pictures_and_never_an_orphan(copy: Path) -> None:
    from datasets import load_dataset

    data = copy / "run" / "dataset" / "data"
    first = sorted(data.iterdir())[0]
    (data / f"{first.name.split('-')[0]}-00099-0123456789ab.parquet").write_bytes(first.read_bytes())
    splits = load_dataset(str(copy / "run" / "dataset"), cache_dir=str(copy / "cache"))
    rows = [row for split in splits.values() for row in split]
    assert len(rows) == 5
    assert rows[0]["views"][0].size == (48, 48)
    assert rows[0]["captions"][0]["kind"] == "name"


def test_the_same_command_again_does_nothing_and_changes_nothing(copy: Path) -> None:
    before = dataset_files(copy / "run")
    build(copy / "source", copy / "run")  # the source moved, its content did not
    assert dataset_files(copy / "run") == before
    ended = build(copy / "source", copy / "run")
    assert "Nothing to do" in ended.stdout
    assert dataset_files(copy / "run") == before


def test_the_order_of_work_does_not_show_in_the_dataset(built: Path, tmp_path: Path) -> None:
    one_by_one = [f"--schedule.{stage}.batch=1" for stage in ("ingest", "render", "fit", "caption")]
    build(built / "source", tmp_path / "run", *one_by_one, "--schedule.fit.workers=1")
    assert dataset_files(tmp_path / "run").keys() == dataset_files(built / "run").keys()
    assert dataset_files(tmp_path / "run") == dataset_files(built / "run")


def test_a_changed_setting_redoes_what_depends_on_it(copy: Path) -> None:
    renders = set((copy / "run" / "artifacts" / "render").rglob("*.zip"))
    build(copy / "source", copy / "run", "--fit.steps", "25")
    assert set((copy / "run" / "artifacts" / "render").rglob("*.zip")) == renders
    assert len(list((copy / "run" / "artifacts" / "fit").rglob("*.ply"))) == 10
    assert len(ids_in_dataset(copy / "run")) == 5
    shards = {shard["shard"].removeprefix("data/") for shard in index(copy / "run")["shards"]}
    assert {path.name for path in (copy / "run" / "dataset" / "data").iterdir()} == shards


def test_a_split_of_another_name_has_shards_of_that_name(copy: Path) -> None:
    build(copy / "source", copy / "run", "--splits.shares", "{held: 0.9, test: 0.1}")
    listed = index(copy / "run")
    assert "held" in listed["rows"] and "train" not in listed["rows"]
    for shard in listed["shards"]:
        assert shard["shard"].startswith(f"data/{shard['split']}-{shard['index']:05d}-")
    assert not list((copy / "run" / "dataset" / "data").glob("train-*"))
    assert len(ids_in_dataset(copy / "run")) == 5


def test_a_changed_file_an_added_and_a_withdrawn_row(copy: Path) -> None:
    names = sorted(path.name for path in (copy / "source").iterdir())
    other = write_meshes(copy / "other", count=3, seed=9)
    others = sorted(other.iterdir())
    (copy / "source" / names[0]).write_bytes(others[0].read_bytes())  # changed
    (copy / "source" / names[1]).unlink()  # withdrawn
    (copy / "source" / "new one.glb").write_bytes(others[1].read_bytes())  # added
    before = len(list((copy / "run" / "artifacts" / "fit").rglob("*.ply")))
    build(copy / "source", copy / "run", "--yes")
    assert ids_in_dataset(copy / "run") == {names[0], *names[2:], "new one.glb"}
    assert len(list((copy / "run" / "artifacts" / "fit").rglob("*.ply"))) == before + 2


def test_a_changed_texture_beside_the_mesh_is_seen(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "cube.obj").write_bytes(obj_cube("mtllib cube.mtl\nusemtl paint"))
    (source / "cube.mtl").write_text("newmtl paint\nKd 1 1 1\nmap_Kd paint.png\n")
    (source / "paint.png").write_bytes(png(np.full((4, 4, 3), (200, 30, 30), np.uint8)))
    build(source, tmp_path / "run")
    before = dataset_files(tmp_path / "run")
    (source / "paint.png").write_bytes(png(np.full((4, 4, 3), (30, 30, 200), np.uint8)))
    build(source, tmp_path / "run")
    assert dataset_files(tmp_path / "run").keys() != before.keys()


@pytest.mark.slow
def test_duplicate_content_keeps_the_first_row_and_marks_the_others(copy: Path) -> None:
    names = sorted(path.name for path in (copy / "source").iterdir())
    shutil.copy(copy / "source" / names[0], copy / "source" / "zz copy.glb")
    build(copy / "source", copy / "run", "--yes")
    assert reasons(copy / "run") == {"zz copy.glb": "duplicate"}
    assert ids_in_dataset(copy / "run") == set(names)
    (copy / "source" / names[0]).unlink()  # the first is withdrawn: the copy takes its place
    build(copy / "source", copy / "run", "--yes")
    assert ids_in_dataset(copy / "run") == {*names[1:], "zz copy.glb"}


def test_bad_files_fail_with_their_reasons_and_cost_no_other(tmp_path: Path) -> None:
    source = write_meshes(tmp_path / "source", count=2)
    good = {path.name for path in source.iterdir()}
    whole = next(source.iterdir()).read_bytes()
    (source / "corrupt.glb").write_bytes(whole[: len(whole) // 2])
    (source / "empty.glb").write_bytes(b"")
    (source / "folder.glb").mkdir()
    (source / "billions.ply").write_text(
        "ply\nformat binary_little_endian 1.0\nelement vertex 4000000000\nproperty float x\nend_header\n"
    )
    (source / "nan.obj").write_text("v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    (source / "loop.glb").symlink_to(source / "loop.glb")
    (source / "nothing.glb").write_bytes(glb({"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": []}]}, b""))
    (source / "cut.obj").write_bytes(obj_cube("mtllib cut.mtl\nusemtl paint"))
    (source / "cut.mtl").write_text("newmtl paint\nmap_Kd cut.png\n")
    (source / "cut.png").write_bytes(png(np.zeros((64, 64, 3), np.uint8))[:60])
    (source / "outside.obj").write_bytes(obj_cube("mtllib ../../cut.mtl\nusemtl paint"))
    (source / "Möbel und mehr.obj").write_text(
        "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 2 4\nf 1 3 4\nf 2 3 4\n"
    )
    build(source, tmp_path / "run")
    assert ids_in_dataset(tmp_path / "run") == good | {"Möbel und mehr.obj"}
    found = reasons(tmp_path / "run")
    assert found == {
        "corrupt.glb": "corrupt_file",
        "empty.glb": "empty_file",
        "billions.ply": "corrupt_file",
        "nan.obj": "bad_coordinates",
        "loop.glb": "unreadable",
        "nothing.glb": "empty_scene",
        "cut.obj": "bad_texture",
        "outside.obj": "external_reference",
    }
    assert all(row["detail"] for row in status(tmp_path / "run")["failed"])
    assert build(source, tmp_path / "run", "--max-failed", "7", code=1)
    assert build(source, tmp_path / "run", "--max-failed", "8", code=0)
    assert build(source, tmp_path / "run", "--max-failed", "10%", code=1)


def test_where_every_row_failed_a_duplicate_is_no_success(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("nothing.glb", "the same.glb"):
        (source / name).write_bytes(glb({"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": []}]}, b""))
    build(source, tmp_path / "run", code=1)
    assert status(tmp_path / "run")["stages"]["ingest"]["duplicates"] == 1
    build(source, tmp_path / "run", "--max-failed", "1")


@pytest.mark.slow
def test_a_mended_file_needs_only_the_same_command(tmp_path: Path) -> None:
    source = write_meshes(tmp_path / "source", count=2)
    bad = sorted(source.iterdir())[0]
    whole = bad.read_bytes()
    bad.write_bytes(whole[:100])
    build(source, tmp_path / "run")
    assert set(reasons(tmp_path / "run")) == {bad.name}
    bad.write_bytes(whole)
    build(source, tmp_path / "run")
    assert reasons(tmp_path / "run") == {}
    fresh = tmp_path / "fresh"
    build(source, fresh)
    assert dataset_files(tmp_path / "run") == dataset_files(fresh)


@pytest.mark.slow
def test_an_unreadable_file_has_its_reason(tmp_path: Path) -> None:
    source = write_meshes(tmp_path / "source", count=1)
    (source / "gone.glb").symlink_to(tmp_path / "nowhere.glb")
    build(source, tmp_path / "run")
    assert reasons(tmp_path / "run") == {"gone.glb": "not_found"}


@pytest.mark.slow
def test_only_one_stage_with_what_it_needs(built: Path, tmp_path: Path) -> None:
    build(built / "source", tmp_path / "run", "--only", "render")
    assert sorted(os.listdir(tmp_path / "run" / "artifacts")) == ["ingest", "render"]
    assert not (tmp_path / "run" / "dataset").exists()
    build(built / "source", tmp_path / "run")
    assert dataset_files(tmp_path / "run") == dataset_files(built / "run")


@pytest.mark.slow
def test_limit_takes_the_first_rows_and_later_ones_follow(built: Path, tmp_path: Path) -> None:
    names = sorted(path.name for path in (built / "source").iterdir())
    build(built / "source", tmp_path / "run", "--limit", "2")
    assert ids_in_dataset(tmp_path / "run") == set(names[:2])
    build(built / "source", tmp_path / "run")
    assert dataset_files(tmp_path / "run") == dataset_files(built / "run")
    build(built / "source", tmp_path / "run", "--limit", "1")
    assert len(ids_in_dataset(tmp_path / "run")) == 5


def test_a_limit_counts_for_the_demo_corpus_too(tmp_path: Path) -> None:
    words = ["build", "demo", "--corpus.count", "4", "--limit", "2", "--only", "ingest", "--engine", "local"]
    say(*words, "--run", tmp_path / "run")
    assert len(list((tmp_path / "run" / "artifacts" / "ingest").rglob("*.json"))) == 2


def test_a_list_brings_its_words_its_split_and_other_columns(built: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    names = sorted(path.name for path in (built / "source").iterdir())
    rows = [
        {"path": str(built / "source" / names[0]), "id": "one", "caption": "A thing.", "split": "test", "maker": "Ana"},
        {
            "path": str(built / "source" / names[1]),
            "id": "two",
            "category": "chair",
            "group": "g",
            "licence": "CC0-1.0",
        },
    ]
    listed = tmp_path / "list.jsonl"
    listed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    build(listed, tmp_path / "run")
    tables = {
        shard["split"]: pq.read_table(tmp_path / "run/dataset" / shard["shard"])
        for shard in index(tmp_path / "run")["shards"]
    }
    one = tables["test"].to_pylist()[0]
    assert one["captions"][0]["text"] == "A thing."
    assert json.loads(one["metadata"])["maker"] == "Ana"
    two = next(row for table in tables.values() for row in table.to_pylist() if row["id"] == "two")
    assert (two["category"], two["group"], two["licence"]) == ("chair", "g", "CC0-1.0")


@pytest.mark.slow
def test_clean_takes_what_no_key_needs_and_then_what_is_packed(copy: Path) -> None:
    build(copy / "source", copy / "run")
    build(copy / "source", copy / "run", "--fit.steps", "25")
    before = dataset_files(copy / "run")
    asked = say("clean", "--run", copy / "run")
    assert "are not needed in" in asked.stdout and "pass --yes" in asked.stdout
    say("clean", "--run", copy / "run", "--yes")
    assert len(list((copy / "run" / "artifacts" / "fit").rglob("*.ply"))) == 5
    assert "Nothing to do" in build(copy / "source", copy / "run", "--fit.steps", "25").stdout
    say("clean", "--run", copy / "run", "--packed", "--yes")
    assert not list((copy / "run" / "artifacts").rglob("*.ply"))
    assert "Nothing to do" in build(copy / "source", copy / "run", "--fit.steps", "25").stdout
    # What was cleaned away is made again where a member of its block changed.
    sorted((copy / "source").iterdir())[0].unlink()
    build(copy / "source", copy / "run", "--fit.steps", "25", "--yes")
    assert len(ids_in_dataset(copy / "run")) == 4
    fresh = copy / "fresh"
    build(copy / "source", fresh, "--fit.steps", "25")
    assert ids_in_dataset(fresh) == ids_in_dataset(copy / "run")
    assert before != dataset_files(copy / "run")
    # And where a setting changed that needs it.
    say("clean", "--run", copy / "run", "--packed", "--yes")
    build(copy / "source", copy / "run", "--fit.steps", "22")
    assert len(ids_in_dataset(copy / "run")) == 4


@pytest.mark.slow
def test_a_damaged_artifact_is_made_again_and_costs_no_row(copy: Path) -> None:
    build(copy / "source", copy / "run")
    before = dataset_files(copy / "run")
    shutil.rmtree(copy / "run" / "dataset" / "data")
    for pack in (copy / "run" / "artifacts" / "pack").rglob("*.json"):
        pack.unlink()
    splat = next((copy / "run" / "artifacts" / "fit").rglob("*.ply"))
    splat.write_bytes(splat.read_bytes()[:-50])
    build(copy / "source", copy / "run")
    assert dataset_files(copy / "run") == before


@pytest.mark.slow
def test_fewer_gaussians_in_the_dataset_than_were_fitted(copy: Path) -> None:
    build(copy / "source", copy / "run", "--pack.gaussians", "50")
    assert len(ids_in_dataset(copy / "run")) == 5
    assert index(copy / "run")["shape"]["gaussians"] == 50


@pytest.mark.slow
def test_a_raised_limit_redoes_only_what_it_refused(copy: Path) -> None:
    names = sorted(path.name for path in (copy / "source").iterdir())
    sizes = sorted(path.stat().st_size for path in (copy / "source").iterdir())
    fresh = copy / "fresh"
    build(copy / "source", fresh, "--ingest.max_bytes", str(sizes[-1] - 1))
    assert list(reasons(fresh).values()) == ["too_large"]
    before = set((fresh / "artifacts").rglob("*.ply"))
    build(copy / "source", fresh)
    assert ids_in_dataset(fresh) == set(names)
    assert len(set((fresh / "artifacts").rglob("*.ply")) - before) == 1


@pytest.mark.slow
def test_passing_failures_are_shown_as_failed(copy: Path) -> None:
    hasty = ["--schedule.fit.timeout_seconds", "0.01", "--schedule.fit.attempts", "1"]
    build(copy / "source", copy / "fresh", *hasty, "--limit", "1", code=1)
    assert list(reasons(copy / "fresh").values()) == ["timeout"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["build", "cpu", "--run", "x"], "--source is missing"),
        (["build", "cpu", "--source", "."], "--run is missing"),
        (["build", "nothing", "--run", "x"], "nothing: no such recipe"),
        (["build", "cpu", "--fit.stps", "3", "--run", "x"], "fit.stps: no such field (given 3) (did you mean steps?)"),
        (["build", "cpu", "--fit.steps", "many", "--run", "x"], "fit.steps: 'many' is not allowed"),
        (["build", "cpu", "--fit.engine", "cuda", "--run", "x"], "fit.engine: 'cuda' is not allowed"),
        (["build", "cpu", "--only", "fly", "--run", "x"], "--only fly: no such stage"),
        (["build", "cpu", "--fly", "--run", "x"], "--fly: no such option"),
        (["build", "cpu", "--source", "/nowhere", "--run", "RUN"], "/nowhere: does not exist"),
        (["build", "demo", "--source", ".", "--run", "RUN", "--engine", "local"], "makes its own corpus"),
        (["status", "--run", "/nowhere"], "no run there"),
    ],
)
def test_bad_requests_are_refused_in_a_line(tmp_path: Path, words: list[str], message: str) -> None:
    refused = say(*[word.replace("RUN", str(tmp_path / "run")) for word in words], code=2)
    *before, error = refused.stderr.splitlines()
    assert message in error
    assert [line.split()[0] for line in before] in ([], ["Recipe"])  # a build first says what it is about to do


def test_the_resolved_recipe_is_shown_and_can_be_used(tmp_path: Path) -> None:
    shown = say("build", "cpu", "--fit.steps", "7", "--print-config").stdout
    path = tmp_path / "mine.yaml"
    path.write_text(shown)
    assert say("build", path, "--print-config").stdout == shown
    assert "steps: 7" in shown


def test_a_relative_run_is_refused_inside_a_ray_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert "--run runs/x: relative" in say(*build_words(tmp_path, "runs/x"), code=2).stderr
