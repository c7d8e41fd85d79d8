"""What a new stage takes: its file, and its line in the recipe. All else follows from what the stage declares.

The stage is the example of docs/architecture.md.
"""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from manifests.distribution import number
from tests.extending.checkout import ROOT, Checkout

HEAD = '''
"""Weigh: how much of the unit sphere an object's triangles could fill.

in:  faces (of render)
out: weight
"""

from __future__ import annotations

import pyarrow as pa
from pydantic import Field

from manifests.dataset import Column
from stages.contract.schedule import Schedule
from stages.contract.shown import Figure, Shown
from stages.contract.stage import Context, Done, Reason, Row, Stage, StageError, Work, each
'''
IMPORT, LINE = "from stages.weigh import Weigh\n", "    weigh: Weigh = Weigh()\n"
TINY = ["--corpus.count", "3", "--render.size", "32", "--render.views", "6", "--fit.steps", "10"]
TINY += ["--fit.gaussians", "100", "--splits.rows_per_shard", "3"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    checkout = Checkout(tmp_path_factory.mktemp("checkout"))
    (example,) = re.findall(r"```python\n(class .*?)```", (ROOT / "docs" / "architecture.md").read_text(), re.DOTALL)
    checkout.add_file("stages/weigh.py", f"{HEAD}\n\n{example}")
    checkout.add_line("pipeline/recipe.py", IMPORT, after="from stages.contract.stage import Stage\n")
    checkout.add_line("pipeline/recipe.py", LINE, after="    fit: Fit = Fit()\n")
    return checkout


def run(checkout: Checkout, *words: str) -> str:
    return checkout.command(*words).stdout


def test_its_settings_are_in_help_and_in_the_recipe(checkout: Checkout) -> None:
    shown = run(checkout, "build", "--help")
    assert "weigh: Weigh an object." in shown
    assert "--weigh.most 1000000000.0\n      Largest weight in grams." in shown
    printed = run(checkout, "build", "demo", "--print-config", "--weigh.most", "7", "--schedule.weigh.batch", "2")
    assert "weigh:\n  most: 7.0\n" in printed
    assert printed.count("  weigh:\n    workers:") == 1


@pytest.mark.slow
def test_its_column_is_in_shards_and_card_and_its_refusals_in_status(checkout: Checkout, tmp_path: Path) -> None:
    words = ["--run", str(tmp_path / "run"), "--engine", "local", *TINY]
    built = run(checkout, "build", "demo", *words)
    (shard,) = sorted((tmp_path / "run" / "dataset" / "data").glob("train*.parquet"))
    rows = parquet.read_table(shard).to_pylist()
    assert all(row["weight"] > 0 and row["keys"]["weigh"] for row in rows)
    assert list(rows[0])[-4:] == ["weight", "warnings", "keys", "metadata"]
    card = (tmp_path / "run" / "dataset" / "README.md").read_text()
    assert "| weight | `float32` | weight in grams of cardboard |" in card
    assert "most: 1000000000.0" in card
    status = json.loads(run(checkout, "status", "--run", str(tmp_path / "run"), "--json"))
    assert status["stages"]["weigh"]["ok"] == 3
    median = statistics.median(row["weight"] for row in rows)
    assert status["stages"]["weigh"]["medians"] == {"weight": pytest.approx(median)}
    assert f"Median weight: {number(median)} g (3 rows in this build)" in built
    assert "weight, g" in run(checkout, "status", "--run", str(tmp_path / "run"))
    assert f"| `weight` | 3 | {number(min(row['weight'] for row in rows))} |" in card
    run(checkout, "build", "demo", *words, "--weigh.most", "1", "--max-failed", "3")
    status = json.loads(run(checkout, "status", "--run", str(tmp_path / "run"), "--json", "--failed"))
    assert status["stages"]["weigh"]["reasons"] == {"too_heavy": 3}
    assert {row["reason"] for row in status["failed"]} == {"too_heavy"}
