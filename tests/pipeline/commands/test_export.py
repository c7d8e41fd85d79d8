"""The splats of a stored run as files, through the command line. test_evaluate.py exports checkpoints."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.__main__ import main
from stages.artifacts.splat import Splat
from stages.artifacts.views import Views
from stages.fitting.drawing import draw_views

STORED = Path(__file__).parents[1] / "stored_run.zip"
IDS = ["blue_tile.obj", "red_box.obj"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    with zipfile.ZipFile(STORED) as archive:
        archive.extractall(tmp_path)
    return tmp_path / "run"


def export(run: Path, out: Path, *words: str) -> int:
    return main(["export", "--run", str(run), "--out", str(out), *words])


def test_every_splat_is_a_file_named_by_its_id(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "splats"
    assert export(run, out, "--format", "ply") == 0
    assert capsys.readouterr().out == f"{out}: ply files: 2 written\n"
    files = sorted(out.iterdir())
    assert [path.name for path in files] == [f"{name}.ply" for name in IDS]
    assert {path.read_bytes() for path in files} == {path.read_bytes() for path in run.glob("artifacts/fit/*/*.ply")}
    assert all(0 < len(Splat.from_ply(path.read_bytes())) <= 20 for path in files)


def test_some_objects_and_then_the_rest(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert export(run, out, "--id", IDS[1]) == 0
    assert [path.name for path in out.iterdir()] == ["red_box.obj.ply"]
    assert export(run, out) == 0
    assert capsys.readouterr().out.endswith("ply files: 1 written, 1 unchanged\n")


def test_other_content_is_replaced_only_with_force(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "red_box.obj.ply").write_text("mine")
    (out / "notes.txt").write_text("mine too")
    assert export(run, out) == 2
    assert f"{out}/red_box.obj.ply: has other content; pass --force" in capsys.readouterr().err
    assert not (out / "blue_tile.obj.ply").exists()
    assert export(run, out, "--force") == 0
    assert Splat.from_ply((out / "red_box.obj.ply").read_bytes())
    assert (out / "notes.txt").read_text() == "mine too"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--id", "red_box.obj", "--id", "gone"], "--id gone: RUN has no object of this id"),
        (["--licence", "cc0"], "--licence: cannot be used with --run"),
        (
            ["--pixels", "64"],
            "--pixels: is the size for which splats are converted; it needs --rasterize-mode",
        ),
        (
            ["--pixels", "2000", "--rasterize-mode", "antialiased"],
            "--pixels 2000: splats are converted for at most 1024 pixels",
        ),
        (
            ["--pixels", "64", "--rasterize-mode", "classic"],
            "--pixels: is the size for which splats are converted; the splats of this run were fitted for this mode",
        ),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(
    words: list[str], error: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(run, tmp_path / "out", *words) == 2
    assert capsys.readouterr().err == f"error: {error.replace('RUN', str(run))}\n"
    assert not (tmp_path / "out").exists()


def test_options_of_splats_are_refused_with_a_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--checkpoint", "a.pt", "--out", "a", "--id", "red_box.obj"]) == 2
    assert capsys.readouterr().err == "error: --id: cannot be used with --checkpoint\n"


def test_splats_are_converted_to_the_mode_that_the_viewer_draws_in(run: Path, tmp_path: Path) -> None:
    out = {mode: tmp_path / mode for mode in ("classic", "antialiased")}
    for mode, folder in out.items():
        assert export(run, folder, "--id", IDS[1], "--rasterize-mode", mode) == 0
    fitted, converted = (Splat.from_ply((folder / f"{IDS[1]}.ply").read_bytes()) for folder in out.values())
    views = Views.from_bytes(next(run.glob("artifacts/render/*/*.zip")).read_bytes())
    drawn = {
        (name, mode): draw_views(splat, views, [0, 1, 2, 3], mode == "antialiased").astype(np.float64)
        for name, splat in (("fitted", fitted), ("converted", converted))
        for mode in out
    }
    wanted = drawn["fitted", "classic"]
    unconverted, better = (abs(drawn[name, "antialiased"] - wanted).mean() for name in ("fitted", "converted"))
    assert better < 0.5 * unconverted
    again = tmp_path / "again"
    assert export(run, again, "--id", IDS[1], "--rasterize-mode", "antialiased") == 0
    assert (again / f"{IDS[1]}.ply").read_bytes() == (out["antialiased"] / f"{IDS[1]}.ply").read_bytes()


def test_an_unknown_format_is_refused_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--run", "r", "--out", "a", "--format", "stl"]) == 2
    error = capsys.readouterr().err
    assert "invalid choice: 'stl'" in error and "ply" in error


def test_no_run_and_nothing_fitted_are_said(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(tmp_path / "nowhere", tmp_path / "out") == 2
    assert "no run there" in capsys.readouterr().err
    shutil.rmtree(run / "manifest" / "log" / "fit")
    assert export(run, tmp_path / "out") == 2
    assert "no object is fitted yet; run `build`" in capsys.readouterr().err
    assert export(run, tmp_path / "out", "--id", IDS[0]) == 2


def test_a_missing_and_a_damaged_splat_are_named_and_the_others_are_written(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = sorted(run.glob("artifacts/fit/*/*.ply"))
    first.unlink()
    assert export(run, tmp_path / "one") == 1
    printed = capsys.readouterr()
    assert printed.out.endswith("ply files: 1 written, 1 failed\n")
    assert "its splat is missing" in printed.err
    second.write_bytes(second.read_bytes()[:-1])
    assert export(run, tmp_path / "none") == 1
    assert f"{second.name} has" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
