"""What the command line says about words that it does not know."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.__main__ import main
from tests.pipeline.building import write_meshes


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("biuld cpu", "biuld: no such command (did you mean build?); expected one of build, convert, status"),
        ("build cpuu --run x", "cpuu: no such recipe (did you mean cpu?)"),
        ("build cpu --sourse x --run x", "--sourse: no such option of build (did you mean --source?)"),
        ("build cpu --fti.steps 3 --run x", "--fti.steps: no such option of build (did you mean --fit.steps?)"),
        ("status --rnu x", "--rnu: no such option of status (did you mean --run?)"),
        ("sheet --run x --clumns=3", "--clumns: no such option of sheet (did you mean --columns?)"),
        ("train minii --run x", "minii: no such recipe (did you mean mini?)"),
        ("status", "the following arguments are required: --run; see "),
        ("build cpu --engine rya --run x", "argument --engine: invalid choice: 'rya'"),
        ("build cpu --run x --source a.glb b.glb c.glb", "b.glb: build takes no such argument; a pattern needs quotes"),
    ],
)
def test_an_error_says_in_one_line_what_may_have_been_meant(
    words: str, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"error: {error}")
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("build cpu --source SOURCE --run FILE", "--run FILE: FILE is not a folder; name a folder, which may be new"),
        ("build cpu --source SOURCE --run FILE/run", "--run FILE/run: FILE is not a folder"),
        ("build cpu --source SOURCE --run /proc/run --engine local", "/proc/run"),
        ("build cpu --source SOURCE --run NEW --embed.model OWNER/NAME", "embed.model: OWNER/NAME: no such folder"),
        (
            "build cpu --source SOURCE --run NEW --retry-failed timeot",
            "timeot: not a reason that is tried",
        ),
        ("build cpu --source SOURCE --run NEW --retry-failed timeot", "(did you mean timeout?)"),
        ("status --run FILE", "--run FILE: FILE is not a folder"),
        ("status --run NEW", "--run NEW: no run there"),
        ("verify --run FILE", "--run FILE: FILE is not a folder"),
    ],
)
def test_a_run_that_cannot_be_made_is_refused_in_a_line_and_nothing_is_left(
    words: str, error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = {"SOURCE": write_meshes(tmp_path / "source", count=1), "FILE": tmp_path / "file", "NEW": tmp_path / "new"}
    paths["FILE"].write_text("not a folder")
    for name, path in paths.items():
        words, error = words.replace(name, str(path)), error.replace(name, str(path))
    assert main(words.split()) == 2
    *before, last = capsys.readouterr().err.splitlines()
    assert last.startswith("error: ") and error in last and "Errno" not in last
    assert len(before) <= 2  # what a build first says
    assert not paths["NEW"].exists()


@pytest.mark.parametrize("words", ["--help", "build --help", "status -h", "train --help"])
def test_help_is_help(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 0
    assert "usage: " in capsys.readouterr().out
