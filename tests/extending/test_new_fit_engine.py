"""What a new fit engine takes: its file, and its line in ENGINES. Choices, help, refusals and GPUs follow."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.extending.checkout import Checkout

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
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy with the engine's file, and without its line."""
    checkout = Checkout(tmp_path_factory.mktemp("checkout"))
    checkout.add_file("stages/fitting/engines/start.py", ENGINE)
    return checkout


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy with both."""
    checkout = Checkout(tmp_path_factory.mktemp("registered"))
    checkout.add_file("stages/fitting/engines/start.py", ENGINE)
    checkout.add_line("stages/fitting/engines/__init__.py", LINE, after=AFTER)
    return checkout


def test_it_fits_an_object(registered: Checkout, tmp_path: Path) -> None:
    from tests.stages.test_fit import ball, views_of

    (tmp_path / "views.zip").write_bytes(views_of(*ball()).to_bytes())
    assert registered.run("-c", FIT, str(tmp_path)).stdout == "0 600 True True\n"


def test_help_and_refusals_name_it(registered: Checkout) -> None:
    shown = " ".join(registered.command("build", "--help").stdout.split())
    assert "`cpu`: one object on one core; `start`: no steps at all; `gsplat`: many objects at once on a GPU" in shown
    refused = registered.command("build", "demo", "--print-config", "--fit.engine", "fast", code=2)
    assert refused.stderr == "error: fit.engine: 'fast' is not allowed: expected auto, cpu, start or gsplat\n"
    registered.command("build", "demo", "--print-config", "--fit.engine", "start")


def test_without_its_line_there_is_no_such_engine(checkout: Checkout) -> None:
    assert "no steps at all" not in checkout.command("build", "--help").stdout
    refused = checkout.command("build", "demo", "--print-config", "--fit.engine", "start", code=2)
    assert refused.stderr == "error: fit.engine: 'start' is not allowed: expected auto, cpu or gsplat\n"
