"""The run: figures are kept, what fails or takes too long costs its own part, and a second run does what is left."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.gpu import run
from tests.pipeline.processes import is_alive, wait_until

_PACKAGE = "tests.gpu.troubles"


def step(part: str, budget: int = 60, script: str = "first") -> run.Step:
    return run.Step(part, budget, script, _PACKAGE)


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    folder = tmp_path / "kit"
    folder.mkdir()
    (folder / "kit.json").write_text("{}")
    return folder


def call(monkeypatch: pytest.MonkeyPatch, kit: Path, steps: tuple[run.Step, ...], *words: str) -> tuple[int, Any]:
    out = kit.parent / "out"
    monkeypatch.setattr(run, "STEPS", steps)
    monkeypatch.setattr(sys, "argv", ["run", "--device", "cpu", "--kit", str(kit), "--out", str(out), *words])
    code = run.main()
    return code, json.loads((out / "results.json").read_text())["parts"]


def test_a_part_that_fails_keeps_its_figures_and_the_next_begins(monkeypatch: pytest.MonkeyPatch, kit: Path) -> None:
    code, parts = call(monkeypatch, kit, (step("bad"), step("good")))
    assert code == 1
    assert parts["bad"]["state"] == "failed" and parts["bad"]["figures"] == {"first": 1}
    assert "the second figure cannot be had" in parts["bad"]["error"]
    assert parts["good"]["state"] == "ok" and parts["good"]["figures"] == {"answer": 42}
    assert "the second figure cannot be had" in (kit.parent / "out" / "log.txt").read_text()


def test_a_part_that_spends_its_budget_is_ended_with_its_children(monkeypatch: pytest.MonkeyPatch, kit: Path) -> None:
    code, parts = call(monkeypatch, kit, (step("endless", budget=4), step("good")))
    assert code == 1
    assert parts["endless"]["state"] == "cut" and parts["endless"]["figures"] == {"first": 1}
    assert parts["good"]["state"] == "ok"
    child = int((kit / "child").read_text())
    wait_until(lambda: not is_alive(child), "the child has ended")


def test_a_second_run_does_what_is_left(monkeypatch: pytest.MonkeyPatch, kit: Path) -> None:
    steps = (step("good"), step("bad"))
    call(monkeypatch, kit, steps)
    call(monkeypatch, kit, steps)
    assert (kit / "runs of good").read_text() == "x"
    code, _ = call(monkeypatch, kit, steps, "--only", "good", "--anew")
    assert code == 0
    assert (kit / "runs of good").read_text() == "xx"


def test_what_a_rehearsal_did_is_still_to_be_done_on_a_gpu(tmp_path: Path) -> None:
    results = run.Results(tmp_path / "results.json", anew=False)
    results.put("train", state="ok", device="cpu")
    assert results.is_done("train", "cpu") and not results.is_done("train", "cuda")


def test_each_script_has_its_own_parts(monkeypatch: pytest.MonkeyPatch, kit: Path) -> None:
    _, parts = call(monkeypatch, kit, (step("bad"), step("good", script="second")), "second")
    assert set(parts) == {"good"}


def test_without_a_kit_it_says_what_to_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys, "argv", ["run", "--kit", str(tmp_path)])
    with pytest.raises(SystemExit):
        run.main()
    assert "run make gpu-kit" in capsys.readouterr().err


def test_the_budgets_fit_into_nine_minutes_and_three() -> None:
    seconds = {script: sum(one.budget for one in run.STEPS if one.script == script) for script in ("first", "second")}
    assert seconds["first"] <= 540 and seconds["second"] <= 180
    for one in run.STEPS:
        assert (run.ROOT / "tests" / "gpu" / "parts" / f"{one.part}.py").is_file()
