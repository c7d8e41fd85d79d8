"""What a new term of the loss takes: its file, and its line in the settings. All else follows from these."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stages.clip_gs_dataset import things, write

ROOT = Path(__file__).resolve().parents[1]
COSINE = '''
"""Pull the vector of each object towards that of its text."""

from __future__ import annotations

import torch

from stages.clip_gs.settings import Loss
from stages.clip_gs.training.losses.comparison import Comparison


def loss(comparison: Comparison, settings: Loss) -> torch.Tensor:
    return (1 - (comparison.objects * comparison.texts).sum(1)).mean()
'''
LINE = '    cosine: float = Field(0.0, ge=0, description="Weight of the distance between objects and texts.")\n'
TINY = "--model.gaussians 32 --model.patches 4 --model.neighbours 8 --data.views 2 --batch 8 --steps 2".split()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three packages with one more loss."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("manifests", "stages", "pipeline"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    (folder / "stages/clip_gs/training/losses/cosine.py").write_text(COSINE.lstrip())
    settings = folder / "stages/clip_gs/settings.py"
    text = settings.read_text()
    after = '    """Weight of the contrastive loss between objects and views."""\n'
    assert text.count(after) == 1
    settings.write_text(text.replace(after, after + LINE))
    return folder


def run(checkout: Path, *words: str) -> tuple[str, str]:
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pipeline", *words]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, done.stderr


def test_its_weight_is_a_setting_with_a_meaning(checkout: Path) -> None:
    help_text, _ = run(checkout, "train", "--help")
    assert "--loss.cosine 0.0\n      Weight of the distance between objects and texts.\n" in help_text
    assert "  cosine: 0.5\n" in run(checkout, "train", "mini", "--print-config", "--loss.cosine", "0.5")[0]


@pytest.mark.slow  # numba compiles the kernels of the copy
def test_it_is_trained_on_and_recorded_and_shown(checkout: Path, tmp_path: Path) -> None:
    write(tmp_path / "run", things(8, gaussians=32), gaussians=32)
    words = ["--run", str(tmp_path / "run"), *TINY, "--loss.text", "0", "--loss.image", "0", "--loss.cosine", "2"]
    _, shown = run(checkout, "train", "mini", *words)
    assert "cosine" in shown.splitlines()[-1]
    lines = [json.loads(line) for line in (tmp_path / "run/training/default/curve.jsonl").read_text().splitlines()]
    assert len(lines) == 2
    for line in lines:
        assert line["cosine"] == line["loss"] > 0 == line["text"] == line["image"]
        assert line["norm"] > 0
