"""The table and the docs' block: every figure beside its aim, and no figure that was not measured."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from tests.gpu import results
from tests.gpu.run import ROOT, STEPS

PARTS = {
    "versions": {"state": "ok", "figures": {"gpu": "Card", "cores": 16, "torch": "2.11.0", "gsplat": "1.5.3"}},
    "fit_512": {"state": "cut", "figures": {"psnr": 35.24, "seconds_an_object": 0.4}},
    "fit_512_alone": {"state": "ok", "figures": {"seconds_an_object": 2.4}},
    "render": {"state": "failed", "figures": {}},
}


def reached(parts: results.Parts) -> dict[str, str]:
    return {what: value for what, _, value in results.rows(parts)}


def test_figures_of_a_part_that_was_cut_count_and_the_others_say_so() -> None:
    found = reached(PARTS)
    assert found["fit 512², 16,384 Gaussians, 36 views: PSNR"] == "35.2 dB"
    assert found["fit 512²: share of time the device is busy"] == "cut"
    assert found["fit 512²: one at a time takes so many times as long"] == "6.0"
    assert found["render 256²: views a second"] == "failed"
    assert found["fit 256²: seconds an object"] == "not yet measured"


def test_every_line_names_a_part_of_the_run_and_nothing_is_measured_without_one() -> None:
    assert {line.part for line in results.LINES} <= {step.part for step in STEPS} | {""}
    assert len({line.what for line in results.LINES}) == len(results.LINES)
    assert set(reached({}).values()) == {"not yet measured"}


def test_the_block_of_the_docs_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{results._BEGIN}\nold\n{results._END}\nafter\n")
    results.write_docs(page, PARTS, date(2026, 1, 2))
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert "Card, 16 cores, torch 2.11.0, gsplat 1.5.3, 2026-01-02." in text
    assert "| fit 512²: seconds an object, starts ready | 0.5 s | 0.400 s |" in text


def test_a_rehearsal_is_no_measurement(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"parts": {"train": {"state": "ok", "device": "cpu", "figures": {}}}}))
    with pytest.raises(SystemExit, match="rehearsal"):
        results.read([path])


def test_benchmarks_has_all_rows() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    block = text[text.index(results._BEGIN) : text.index(results._END)]
    for line in results.LINES:
        assert f"| {line.what} | {line.aim} |" in block, line.what
