"""Workers on this machine: which cards each of them sees. No GPU is needed to tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.running.local_placement import LocalPlacement
from pipeline.step import Step
from tests.pipeline.run_steps import QUICK, make_rows, run_steps
from tests.pipeline.tiny_stages import ShowCards, Start


@pytest.mark.parametrize(("shown", "count"), [("4, 7", 2), ("-1", 0), ("", 0)])
def test_the_cards_are_those_that_are_shown(monkeypatch: pytest.MonkeyPatch, shown: str, count: int) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    assert LocalPlacement().capacity().gpus == count


@pytest.mark.parametrize(("gpus", "workers", "cards"), [(1.0, 2, {"4", "7"}), (0.5, 4, {"4", "7"}), (2.0, 1, {"4,7"})])
def test_each_worker_sees_the_cards_that_are_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: float, workers: int, cards: set[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, 7")
    schedule = QUICK.model_copy(update={"gpus": gpus, "batch": 1, "workers": None})
    rows = make_rows(**dict.fromkeys("abcdefgh", ""))
    ran = run_steps(tmp_path, rows, [Step(Start(), QUICK), Step(ShowCards(workers=workers), schedule)])
    shown = [ran.records["showcards", row["id"]].columns for row in rows]
    assert {columns["cards"] for columns in shown} == cards
    assert {columns["device"] for columns in shown} == {"cuda"}
