"""A run folder of an earlier version: it can be looked at and resumed, and nothing in it is made again.

stored_run.zip holds two small meshes and the run that was built of them before stages declared their columns, with
`build cpu` and the settings below; a later build resumed it when the versions of `render` and `fit` rose to 4 and 3.
Its shard is what the pinned pyarrow writes.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from tests.pipeline.building import call, command

SETTINGS = ["--render.size", "16", "--render.views", "4", "--fit.steps", "6", "--fit.gaussians", "20"]
SETTINGS += ["--splits.rows_per_shard", "2"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with zipfile.ZipFile(Path(__file__).with_name("stored_run.zip")) as archive:
        archive.extractall(tmp_path)
    return tmp_path


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_its_status_can_be_read(folder: Path) -> None:
    shown = json.loads(call(command("status", "--run", folder / "run", "--json")).stdout)
    assert {name: stage["ok"] for name, stage in shown["stages"].items()} == {
        "ingest": 2, "render": 2, "fit": 2, "caption": 2, "pack": 1
    }  # fmt: skip


def test_a_resume_makes_nothing_again(folder: Path) -> None:
    artifacts, dataset = (files_in(folder / "run" / name) for name in ("artifacts", "dataset"))
    words = ["--source", folder / "meshes", "--run", folder / "run", "--engine", "local", *SETTINGS]
    call(command("build", "cpu", *words))
    assert files_in(folder / "run" / "artifacts") == artifacts
    assert files_in(folder / "run" / "dataset") == dataset


def test_a_shard_that_is_lost_is_packed_again_byte_for_byte(folder: Path) -> None:
    dataset = files_in(folder / "run" / "dataset")
    for shard in (folder / "run" / "dataset" / "data").iterdir():
        shard.unlink()
    words = ["--source", folder / "meshes", "--run", folder / "run", "--engine", "local", *SETTINGS]
    call(command("build", "cpu", *words))
    assert files_in(folder / "run" / "dataset") == dataset
