"""What a new export format takes: its file, and its line in FORMATS. Choices and help follow from these."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CENTRES = '''
"""Export the centres of a splat's Gaussians as lines of text."""

from __future__ import annotations

from stages.artifacts.splat import Splat


def encode(splat: Splat) -> bytes:
    return "".join(f"{x:.3f} {y:.3f} {z:.3f}\\n" for x, y, z in splat.means).encode()
'''
AFTER = 'FORMATS = (SplatFormat("ply", "INRIA\'s PLY, which most viewers of splats read"),'
LINE = ' SplatFormat("xyz", "centres of Gaussians as text"),'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The three packages with a format more, whose line is still missing; and a run."""
    for name in ("manifests", "stages", "pipeline"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "stages" / "exporting" / "xyz.py").write_text(CENTRES.lstrip())
    with zipfile.ZipFile(ROOT / "tests" / "pipeline" / "stored_run.zip") as archive:
        archive.extractall(tmp_path)
    return tmp_path


def export(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline", "export", *words],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
    )


def test_a_run_is_exported_to_it_once_its_line_is_there(checkout: Path) -> None:
    words = ["--run", "run", "--out", "centres", "--format", "xyz"]
    refused = export(checkout, *words)
    assert refused.returncode == 2
    assert "invalid choice: 'xyz'" in refused.stderr
    registry = checkout / "stages" / "exporting" / "__init__.py"
    text = registry.read_text()
    assert text.count(AFTER) == 1
    registry.write_text(text.replace(AFTER, AFTER + LINE))
    done = export(checkout, *words)
    assert done.returncode == 0, done.stderr
    files = sorted((checkout / "centres").iterdir())
    assert [path.name for path in files] == ["blue_tile.obj.xyz", "red_box.obj.xyz"]
    assert all(len(line.split()) == 3 for path in files for line in path.read_text().splitlines())
    assert "xyz: centres of Gaussians as text" in " ".join(export(checkout, "--help").stdout.split())
