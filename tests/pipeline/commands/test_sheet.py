"""Contact sheets of a real run, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.commands.sheet_pictures import choose_views
from stages.artifacts.views import Views
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
    pages = sheet.write_sheet(str(run), tmp_path / "a.png", sheet.Layout([0]), 1)
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


def test_a_sheet_is_written_into_the_run(run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert say("sheet", "--run", run).stdout == f"{run}/sheet.png\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.foo", "a", "a.svg"])
def test_an_ending_that_is_no_image_is_refused(run: Path, tmp_path: Path, name: str) -> None:
    ended = say("sheet", "--run", run, "--out", tmp_path / "new" / name, code=2)
    assert f"{name}: " in ended.stderr and "use .png, .jpg or .webp" in ended.stderr and ended.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_the_views_on_a_sheet_show_the_object_from_two_sides() -> None:
    cameras = {"top": (0, 1, 0), "below": (0, -1, 0), "front": (0, 0.3, 1), "side": (1, 0.3, 0), "hidden": (-1, 0.3, 0)}
    poses = np.tile(np.eye(4, dtype=np.float32), (5, 1, 1))
    poses[:, :3, 3] = list(cameras.values())
    sizes = {"top": 900, "below": 900, "front": 1000, "side": 600, "hidden": 20}
    seen = Views([b"x" * size for size in sizes.values()], [], np.zeros((5, 3, 3)), poses, 1.0, np.eye(4))
    assert [list(cameras)[view] for view in choose_views(seen)] == ["front", "side"]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rows fitted, and one that failed."""
    folder = tmp_path_factory.mktemp("fitted")
    source = write_meshes(folder / "source", count=2)
    (source / "torn.glb").write_bytes(b"glTF" + b"\2" * 40)
    build(source, folder / "run", "--only", "fit", "--fit.steps", "200", "--fit.gaussians", "600")
    return folder / "run"


def test_a_sheet_can_show_splats_beside_views(fitted: Path) -> None:
    say("sheet", "--run", fitted, "--splats", "--views", "1")
    seen = pixels(fitted / "sheet.png")[6 : 6 + 128]
    view, splat = seen[:, 6 : 6 + 128], seen[:, 6 + 128 : 6 + 256]
    background = np.array((226, 229, 235))
    covered = (np.abs(view - background).max(-1) > 12, np.abs(splat - background).max(-1) > 12)
    assert (covered[0] & covered[1]).sum() > 0.7 * (covered[0] | covered[1]).sum() > 500
    assert np.abs(view - splat)[covered[0] & covered[1]].mean() < 40


def test_the_worst_fits_are_listed_and_drawn(fitted: Path, tmp_path: Path) -> None:
    listed = json.loads(say("status", "--run", fitted, "--worst", "9", "--json").stdout)
    first, second = listed["worst"]
    assert list(first) == ["id", "category", "psnr", "ssim", "warnings"] and first["psnr"] <= second["psnr"]
    psnr = listed["stages"]["fit"]["figures"]["psnr"]
    assert psnr["objects"] == 2 and psnr["percentiles"]["p5"] == float(f"{first['psnr']:.3g}")
    shown = say("status", "--run", fitted, "--worst", "1").stdout
    assert first["id"] in shown and second["id"] not in shown
    say(*shown[shown.index("sheet --run") :].split(), "--out", tmp_path / "worst.png")
    say("sheet", "--run", fitted, "--splats", "--id", first["id"], "--out", tmp_path / "named.png")
    assert (tmp_path / "worst.png").read_bytes() == (tmp_path / "named.png").read_bytes()
    assert "--id gone: " in say("sheet", "--run", fitted, "--id", "gone", code=2).stderr
