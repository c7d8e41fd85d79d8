"""The whole run, without a GPU and at tiny sizes, on a copy of a bare GPU machine's Python with a kit of its own.

That machine's Python has none of this environment's packages: what the kit forgets is missed here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gpu.machine import MachineError, find_python, machine_python
from tests.gpu.run import ROOT, STEPS


def python_or_skip() -> Path:
    try:
        find_python()
    except MachineError as error:
        pytest.skip(str(error))
    return machine_python()


@pytest.mark.slow
def test_every_part_runs_on_a_bare_machine_with_the_kit(tmp_path: Path) -> None:
    python = python_or_skip()
    kit, out = tmp_path / "kit", tmp_path / "out"
    subprocess.run([sys.executable, "-m", "tests.gpu.kit", "--toy", "--out", str(kit)], cwd=ROOT, check=True)
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    words = ["--device", "cpu", "--patience", "10", "--kit", str(kit), "--out", str(out)]
    done = subprocess.run([str(python), "-m", "tests.gpu.run", *words], cwd=ROOT, env=bare)
    parts = json.loads((out / "results.json").read_text())["parts"]
    lost = {name: part["error"] for name, part in parts.items() if part["state"] != "ok"}
    assert not lost, (out / "log.txt").read_text()[-20_000:]
    assert done.returncode == 0
    assert set(parts) == {step.part for step in STEPS}
    assert parts["versions"]["figures"]["python"].startswith("3.12.")
    assert parts["engine_tests"]["figures"]["passed"] == 2
    assert parts["build"]["figures"]["triplets"] == 3
    assert parts["fit_512"]["figures"]["psnr"] > 5
