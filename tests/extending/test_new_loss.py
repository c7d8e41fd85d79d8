"""What a new term of the loss takes: its file, and its line in the settings. All else follows from these."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.extending.checkout import Checkout
from tests.stages.clip_gs_dataset import things, write

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
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    checkout = Checkout(tmp_path_factory.mktemp("checkout"))
    checkout.add_file("stages/clip_gs/training/losses/cosine.py", COSINE)
    after = '    """Weight of the contrastive loss between objects and views."""\n'
    checkout.add_line("stages/clip_gs/settings.py", LINE, after=after)
    return checkout


def test_its_weight_is_a_setting_with_a_meaning(checkout: Checkout) -> None:
    help_text = checkout.command("train", "--help").stdout
    assert "--loss.cosine 0.0\n      Weight of the distance between objects and texts.\n" in help_text
    assert "  cosine: 0.5\n" in checkout.command("train", "mini", "--print-config", "--loss.cosine", "0.5").stdout


@pytest.mark.slow  # numba compiles the kernels of the copy
def test_it_is_trained_on_and_recorded_and_shown(checkout: Checkout, tmp_path: Path) -> None:
    write(tmp_path / "run", things(8, gaussians=32), gaussians=32)
    words = ["--run", str(tmp_path / "run"), *TINY, "--loss.text", "0", "--loss.image", "0", "--loss.cosine", "2"]
    shown = checkout.command("train", "mini", *words).stderr
    assert "cosine" in shown.splitlines()[-1]
    lines = [json.loads(line) for line in (tmp_path / "run/training/default/curve.jsonl").read_text().splitlines()]
    assert len(lines) == 2
    for line in lines:
        assert line["cosine"] == line["loss"] > 0 == line["text"] == line["image"]
        assert line["norm"] > 0
