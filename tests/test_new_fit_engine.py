"""What a new fit engine takes: its file, and its line in ENGINES. Choices, help, refusals and GPUs follow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ENGINE = '''
"""The engine start: the Gaussians that every fit starts with, drawn as squares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from stages.artifacts.splat import SH_ZERO, Splat
from stages.fitting.photos import Photos
from stages.fitting.problem import Engine, FitProblem, FitResult, finish


def open_engine(device: str) -> Engine:
    return StartEngine()


class StartEngine:
    def fit(self, problems: Iterable[FitProblem]) -> Iterator[tuple[str, FitResult]]:
        for problem in problems:
            yield problem.id, finish(problem.start, 0)

    def draw(self, splat: Splat, photos: Photos, antialiased: bool) -> np.ndarray:
        height, width = photos.size
        images = np.zeros((len(photos), height, width, 4), np.float32)
        for image, pose, lens in zip(images, photos.world_to_camera, photos.intrinsics, strict=True):
            points = splat.means @ pose[:3, :3].T + pose[:3, 3]
            far = np.argsort(-points[:, 2])
            x, y, z = (points[far] @ lens.T).T
            columns, rows = (x / z).astype(int).clip(1, width - 2), (y / z).astype(int).clip(1, height - 2)
            for row in (-1, 0, 1):
                for column in (-1, 0, 1):
                    image[rows + row, columns + column, :3] = (splat.sh[far, 0] * SH_ZERO + 0.5).clip(0, 1)
                    image[rows + row, columns + column, 3] = 1
        return images
'''
AFTER = '    EngineEntry("cpu", "one object on one core"),\n'
LINE = '    EngineEntry("start", "no steps at all", on_gpu=True),\n'
FIT = """
import sys
from pathlib import Path
from manifests.store import LocalStore
from stages.contract.stage import Context, Done
from stages.fit import Fit
store = LocalStore(sys.argv[1])
stage = Fit(engine="start", gaussians=600, hold_out=4)
((_, done),) = stage.open(Context(store, Path(store.root)))([{"id": "a", "key": "0" * 32, "views": "views.zip"}])
assert isinstance(done, Done), done
print(done.columns["steps"], done.columns["gaussian_count"], done.columns["psnr"] > 10, stage.on_gpu)
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three packages with an engine more, whose line is still missing."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("manifests", "stages", "pipeline"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "stages" / "fitting" / "engines" / "start.py").write_text(ENGINE.lstrip())
    return folder


@pytest.fixture(scope="module")
def registered(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with its line."""
    folder = tmp_path_factory.mktemp("registered") / "checkout"
    shutil.copytree(checkout, folder)
    registry = folder / "stages" / "fitting" / "engines" / "__init__.py"
    text = registry.read_text()
    assert text.count(AFTER) == 1
    registry.write_text(text.replace(AFTER, AFTER + LINE))
    return folder


def run(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    return subprocess.run([sys.executable, *words], cwd=checkout, env=environment, capture_output=True, text=True)


def test_it_fits_an_object(registered: Path, tmp_path: Path) -> None:
    from tests.stages.test_fit import ball, views_of

    (tmp_path / "views.zip").write_bytes(views_of(*ball()).to_bytes())
    done = run(registered, "-c", FIT, str(tmp_path))
    assert done.stdout == "0 600 True True\n", done.stderr


def test_help_and_refusals_name_it(registered: Path) -> None:
    shown = " ".join(run(registered, "-m", "pipeline", "build", "--help").stdout.split())
    assert "`cpu`: one object on one core; `start`: no steps at all; `gsplat`: many objects at once on a GPU" in shown
    refused = run(registered, "-m", "pipeline", "build", "demo", "--print-config", "--fit.engine", "fast")
    assert refused.returncode == 2
    assert refused.stderr == "error: fit.engine: 'fast' is not allowed: expected one of auto, cpu, start, gsplat\n"
    assert run(registered, "-m", "pipeline", "build", "demo", "--print-config", "--fit.engine", "start").returncode == 0


def test_without_its_line_there_is_no_such_engine(checkout: Path) -> None:
    assert "no steps at all" not in run(checkout, "-m", "pipeline", "build", "--help").stdout
    refused = run(checkout, "-m", "pipeline", "build", "demo", "--print-config", "--fit.engine", "start")
    assert refused.returncode == 2
    assert refused.stderr == "error: fit.engine: 'start' is not allowed: expected one of auto, cpu, gsplat\n"
