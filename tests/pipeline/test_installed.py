"""The console command of an installed wheel, started where other packages have our names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from pipeline.command_line.called import program, python
from pipeline.step import Step
from tests.pipeline.building import ROOT
from tests.pipeline.run_steps import QUICK, make_rows, run_steps
from tests.pipeline.tiny_stages import Start

PACKAGES = ("manifests", "pipeline", "stages")
TINY = ["--corpus.count", "3", "--render.size", "32", "--render.views", "6", "--fit.steps", "10"]
TINY += ["--fit.gaussians", "100", "--splits.rows_per_shard", "3"]


def write_shadows(folder: Path) -> Path:
    """Packages of our names that cannot be imported."""
    for name in PACKAGES:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text('raise RuntimeError("shadowed")\n')
    return folder


def call(words: list[str | Path], folder: Path, code: int = 0, programs: Path | None = None) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if programs:
        environment["PATH"] = f"{programs}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, because setuptools leaves files beside the sources."""
    pytest.importorskip("setuptools", minversion="77")
    sources, out = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheel")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    build = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", out, sources]
    call([sys.executable, "-m", "pip", *build], out)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has the wheel, and other packages from the one that runs the tests."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder)
    programs = folder / "bin"
    install = ["install", "--no-deps", "--no-index", wheel]
    call([sys.executable, "-m", "pip", "--python", programs / "python", *install], folder)
    own = sysconfig.get_path("purelib", vars={"base": str(folder)})
    (Path(own) / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")  # its own .pth files are not read
    return programs


@pytest.fixture
def shadowed(tmp_path: Path) -> Path:
    return write_shadows(tmp_path)


@pytest.mark.slow
def test_the_wheel_has_every_file_of_the_packages(wheel: Path) -> None:
    files = [path for name in PACKAGES for path in (ROOT / name).rglob("*") if path.is_file()]
    expected = {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}
    assert expected - set(zipfile.ZipFile(wheel).namelist()) == set()


@pytest.mark.slow
def test_the_packages_are_those_of_the_wheel(scripts: Path, tmp_path: Path) -> None:
    show = f"import {', '.join(PACKAGES)}; print({', '.join(f'{name}.__file__' for name in PACKAGES)}, sep='\\n')"
    places = call([scripts / "python", "-c", show], tmp_path).splitlines()
    assert len(places) == len(PACKAGES) and all(Path(place).is_relative_to(scripts.parent) for place in places)


@pytest.mark.slow
def test_the_command_tells_its_version_and_how_it_is_used(scripts: Path, shadowed: Path) -> None:
    assert call(["gs-triplets", "--version"], shadowed, programs=scripts).startswith("gs-triplets 0.")
    assert call(["gs-triplets"], shadowed, code=2, programs=scripts).startswith("usage: gs-triplets ")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_the_demo_is_built_and_measured(scripts: Path, shadowed: Path, engine: str) -> None:
    def run(*words: str) -> str:
        return call(["gs-triplets", *words], shadowed, programs=scripts)

    output = run("build", "demo", "--run", "run", "--engine", engine, *TINY)
    assert "3 triplets" in output and "\n  gs-triplets status --run" in output
    stages = json.loads(run("status", "--run", "run", "--json"))["stages"]
    worked = ("ingest", "render", "fit", "embed", "caption", "align")
    assert {name: stages[name]["ok"] for name in worked} == dict.fromkeys(worked, 3)
    model = ["--checkpoint", "stages/embedded/clip_gs", "--dataset", "run", "--split", "all"]
    run("evaluate", *model)
    run("encode", *model, "--processes", "2", "--out", "vectors.parquet")


def test_a_worker_takes_our_packages_where_the_working_folder_has_others(
    shadowed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shadowed)
    ran = run_steps(shadowed / "run", make_rows(a="", b=""), [Step(Start(), QUICK)])
    assert ran.ok("start") == {"a", "b"}


@pytest.mark.parametrize(
    ("script", "shown"),
    [
        ("{}/bin/gs-triplets", "gs-triplets"),
        ("other/gs-triplets", "other/gs-triplets"),
        ("{}/pipeline/__main__.py", "python -m pipeline"),
    ],
)
def test_texts_name_the_command_as_it_was_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, shown: str
) -> None:
    write_programs(tmp_path / "bin", monkeypatch)
    monkeypatch.setattr(sys, "argv", [script.format(tmp_path), "build"])
    assert program() == shown


def write_programs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment's programs, which PATH leads to."""
    folder.mkdir()
    for name in ("gs-triplets", "python"):
        (folder / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sys, "executable", str(folder / "python"))


def test_texts_name_a_python_that_the_shell_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_programs(tmp_path / "bin", monkeypatch)
    assert python() == "python"
    monkeypatch.setenv("PATH", "/nowhere")
    assert python() == str(tmp_path / "bin" / "python")
    monkeypatch.chdir(tmp_path)
    assert python() == "bin/python"
