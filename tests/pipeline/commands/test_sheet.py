"""Contact sheets of a real run, through the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pipeline.building import build, say, write_meshes
from tests.stages.meshes import cube_gltf

_RED = {"pbrMetallicRoughness": {"baseColorFactor": [1, 0, 0, 1]}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four rows rendered, one of them with a warning, and one that failed."""
    folder = tmp_path_factory.mktemp("sheet")
    source = write_meshes(folder / "source", count=3)
    (source / "red.glb").write_bytes(cube_gltf(_RED, texture="gone.png").glb())
    (source / "torn\n[red].glb").write_bytes(b"glTF" + b"\2" * 40)
    build(source, folder / "run", "--only", "render")
    return folder / "run"


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_a_sheet_shows_every_object_its_warnings_and_failures(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "of a run" / "sheet.png"
    ended = say("sheet", "--run", run, "--out", out, "--views", "0,3", "--columns", "2")
    assert ended.stdout.split("\n")[0] == str(out)
    seen = pixels(out)
    assert seen.shape[1] < 2 * 2 * 128 + 30 and seen.shape[0] > 3 * 128  # two objects a line, three lines
    red = (seen[..., 0] > 120) & (seen[..., 1] < 60) & (seen[..., 2] < 60)
    assert red.sum() > 1000  # the cube in both views, though its texture is missing
    last = len(seen) * 2 // 3  # where the line of the one that failed begins
    failure, warning = np.abs(seen[last:] - (180, 0, 0)), np.abs(seen[:last] - (160, 84, 0))
    assert (failure.max(-1) < 50).sum() > 50 and (warning.max(-1) < 40).sum() > 50


def test_a_large_run_takes_pages(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.commands import sheet

    monkeypatch.setattr(sheet, "_LINES_PER_PAGE", 2)
    pages = sheet.write_sheet(str(run), tmp_path / "a.png", [0], 1)
    assert [page.name for page in pages] == ["a-001.png", "a-002.png", "a-003.png"]
    assert pixels(pages[0]).shape[0] > pixels(pages[2]).shape[0] > 128


@pytest.mark.parametrize(
    ("words", "message"), [(["--views", "0,99"], "has views 0 to 5"), (["--views", "a"], "--views a")]
)
def test_views_that_are_not_there_are_refused(run: Path, tmp_path: Path, words: list[str], message: str) -> None:
    ended = say("sheet", "--run", run, "--out", tmp_path / "a.png", *words, code=2)
    assert message in ended.stderr and "Traceback" not in ended.stderr


def test_a_run_without_views_says_so(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    build(write_meshes(tmp_path / "source", count=1), tmp_path / "run", "--only", "ingest")
    assert "nothing is rendered yet" in say("sheet", "--run", tmp_path / "run", code=2).stderr
