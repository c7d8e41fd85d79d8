"""What a new export format takes: its file, and its line in FORMATS. Choices and help follow from these."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.extending.checkout import ROOT, Checkout

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
def checkout(tmp_path: Path) -> Checkout:
    """A copy with the format's file, without its line; and a run."""
    checkout = Checkout(tmp_path)
    checkout.add_file("stages/exporting/xyz.py", CENTRES)
    with zipfile.ZipFile(ROOT / "tests" / "pipeline" / "stored_run.zip") as archive:
        archive.extractall(tmp_path)
    return checkout


def test_a_run_is_exported_to_it_once_its_line_is_there(checkout: Checkout) -> None:
    words = ["export", "--run", "run", "--out", "centres", "--format", "xyz"]
    refused = checkout.command(*words, code=2)
    assert "invalid choice: 'xyz'" in refused.stderr
    checkout.add_line("stages/exporting/__init__.py", LINE, after=AFTER)
    checkout.command(*words)
    files = sorted((checkout.folder / "centres").iterdir())
    assert [path.name for path in files] == ["blue_tile.obj.xyz", "red_box.obj.xyz"]
    assert all(len(line.split()) == 3 for path in files for line in path.read_text().splitlines())
    assert "xyz: centres of Gaussians as text" in " ".join(checkout.command("export", "--help").stdout.split())
