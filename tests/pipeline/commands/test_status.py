"""What `status` shows of runs that it has not built: those of a build at work, and those of earlier versions."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from manifests import lease
from manifests.lease import Lease, find_holder
from manifests.store import open_store
from pipeline.planning.figures import Figures
from pipeline.planning.quality import Measured, worst_rows
from stages.contract.shown import Figure
from tests.pipeline.building import say, write_meshes
from tests.pipeline.processes import wait_until
from tests.stages.meshes import stl_cube

STORED = Path(__file__).resolve().parents[1] / "stored_run.zip"
ONLY_INGEST: Figures = {"ingest": {"todo": 1, "ok": 1, "failed": 1, "reasons": {"not_found": 1}}}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    with zipfile.ZipFile(STORED) as archive:
        archive.extractall(tmp_path)
    return tmp_path / "run"


def test_a_build_of_some_stages_at_work_is_shown_with_its_own_counts_and_what_to_do(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.01)
    store = open_store(run)
    held = Lease.acquire(store)
    try:
        held.status = dict(ONLY_INGEST)
        wait_until(lambda: find_holder(store).beat.get("status"), "a heartbeat with counts")
        shown = " ".join(say("status", "--run", run).stdout.split())
        assert "a build is at work" in shown
        assert "ingest, not_found: no file at the address. What to do: correct the address in the source list." in shown
        assert json.loads(say("status", "--run", run, "--json").stdout)["stages"] == ONLY_INGEST
    finally:
        held.release()


def test_an_index_that_was_written_before_captions_were_marked_has_no_weak_ones(run: Path) -> None:
    path = run / "dataset" / "index.json"
    index = json.loads(path.read_text())
    del index["weak_captions"]
    path.write_text(json.dumps(index))
    assert "No caption has a score" in say("status", "--run", run, "--weak").stdout


def test_a_run_whose_views_are_all_used_for_the_fit_has_no_worst_fits(run: Path) -> None:
    assert "No fit has been measured" in say("status", "--run", run, "--worst", "9").stdout


@pytest.mark.parametrize("count", [7, 40])
def test_a_fit_far_below_the_others_has_a_warning(count: int) -> None:
    values = np.array([*np.linspace(24, 26, count - 1), 12.0])
    measured = Measured("fit", Figure("psnr", "PSNR", "dB", is_quality=True), np.append(values, np.nan))
    warnings = [measured.warning(row) for row in range(count + 1)]
    expected = ["psnr 12.0 dB: far below the other objects, half of which have 24.4 to 25.5"] if count > 8 else []
    assert warnings == [[]] * (count - 1) + [expected, []]
    assert worst_rows([measured], 2) == [count - 1, 0]


@pytest.mark.slow
def test_what_auto_chose_is_shown(tmp_path: Path) -> None:
    """Also that it was a guess, and that only meshes whose format does not say it are rendered again."""
    folder = write_meshes(tmp_path / "meshes", 1)
    (folder / "cube.stl").write_bytes(stl_cube())
    words = ["--source", folder, "--run", tmp_path / "run", "--engine", "local", "--only", "render"]
    small = ["--render.size", "16", "--render.views", "2"]
    say("build", "cpu", *words, *small)
    assert "render 1 (1 again)" in say("build", "cpu", *words, *small, "--up", "Auto", "--dry-run").stdout
    assert "up: auto took z for 1 row; 1 of them unsure" in say("build", "cpu", *words, *small, "--up", "auto").stdout
    assert "render: up: auto took z for 1 row; 1 of them unsure" in say("status", "--run", tmp_path / "run").stdout
    shown = json.loads(say("status", "--run", tmp_path / "run", "--json").stdout)
    assert shown["stages"]["render"]["choices"] == {"z": 1, "unsure": 1}
