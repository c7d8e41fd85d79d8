from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from manifests.store import LocalStore
from stages.artifacts.splat import SH_ZERO, Splat
from stages.artifacts.views import Views
from stages.contract.stage import Context, DamagedInput, Done, Outcome, StageError
from stages.fit import Fit, held_out_views
from stages.fitting.engines import cpu

KEY = "00c0ffee00c0ffee00c0ffee00c0ffee"
FAST = {"gaussians": 600, "steps": 200, "hold_out": 4}


def encode(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def views_of(colors: np.ndarray, depths: np.ndarray, intrinsics: np.ndarray, poses: np.ndarray) -> Views:
    """colors [V, H, W, 4] uint8, depths [V, H, W] in radii."""
    scale = 1e-4
    steps = np.nan_to_num(depths / scale).astype(np.uint16)
    pngs = [encode(image) for image in colors], [encode(image) for image in steps]
    return Views(*pngs, intrinsics.astype(np.float32), poses.astype(np.float32), scale, np.eye(4))


def cameras(count: int, size: int, distance: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Intrinsics [V, 3, 3] and camera-to-world [V, 4, 4] on a spiral around the unit sphere."""
    k = np.arange(count)
    z, turn = 1 - (2 * k + 1) / count, k * 2.399963
    at = np.stack([np.sqrt(1 - z * z) * np.cos(turn), np.sqrt(1 - z * z) * np.sin(turn), z], 1)
    right = np.cross(-at, np.where(abs(z) > 0.9, [[1.0], [0], [0]], [[0.0], [0], [1]]).T)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = np.stack([right, np.cross(-at, right), -at], 2)
    poses[:, :3, 3] = at * distance
    focal = 0.5 * size * np.sqrt(distance**2 - 1) * 0.98
    return np.tile([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]], (count, 1, 1)), poses


def ball(count: int = 12, size: int = 64, radius: float = 0.8) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A ball of smoothly changing colour, cast ray by ray: colors, depths, intrinsics, poses."""
    intrinsics, poses = cameras(count, size)
    grid = np.stack([*np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), np.ones((size, size))], 2)
    colors, depths = np.zeros((count, size, size, 4), np.uint8), np.zeros((count, size, size))
    for view in range(count):
        rays = grid @ np.linalg.inv(intrinsics[view]).T @ poses[view, :3, :3].T
        eye = poses[view, :3, 3]
        a, b, c = (rays**2).sum(2), rays @ eye, eye @ eye - radius**2
        inside = b * b - a * c
        depth = (-b - np.sqrt(np.maximum(inside, 0))) / a
        points = eye + rays * depth[..., None]
        hit = inside > 0
        depths[view] = np.where(hit, depth, 0)
        colors[view, ..., :3] = np.where(hit[..., None], 127 + 100 * np.sin(3 * points), 0)
        colors[view, ..., 3] = 255 * hit
    return colors, depths, intrinsics, poses


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    return LocalStore(str(tmp_path_factory.mktemp("run")))


def fit(store: LocalStore, *objects: Views | bytes, **settings: Any) -> list[Outcome]:
    rows = []
    for index, views in enumerate(objects):
        store.replace(f"views_{index}.zip", views if isinstance(views, bytes) else views.to_bytes())
        rows.append({"id": f"row-{index}", "key": KEY, "views": f"views_{index}.zip"})
    stage = Fit(**{**FAST, **settings}).resolve(gpus=0)
    found = dict(stage.open(Context(store, Path(store.root)))(rows))
    return [found[row["id"]] for row in rows]


def fitted(outcome: Outcome) -> tuple[dict[str, Any], Splat]:
    assert isinstance(outcome, Done), outcome
    splat = Splat.from_ply(outcome.artifact)
    assert splat.is_finite()
    assert len(splat) == outcome.columns["gaussian_count"]
    return outcome.columns, splat


def test_fits_a_ball(store: LocalStore) -> None:
    columns, splat = fitted(fit(store, views_of(*ball()))[0])
    assert columns["psnr"] > 25
    assert columns["psnr_foreground"] > 25
    assert columns["ssim"] > 0.9
    assert columns["held_out"] == [2, 6, 10]
    assert columns["steps"] <= 200
    assert 15 < columns["psnr_first_quarter"] < columns["psnr_first_half"] < columns["psnr"]
    assert columns["gaussian_count"] == 600
    opaque = splat.opacity_logits > 0
    assert abs(np.linalg.norm(splat.means[opaque], axis=1) - 0.8).mean() < 0.05
    np.testing.assert_allclose(np.linalg.norm(splat.quaternions, axis=1), 1, atol=1e-5)
    colors = splat.sh[:, 0] * SH_ZERO + 0.5
    assert colors.min() > -1e-4
    assert colors.max() < 1 + 1e-4


def test_the_more_steps_the_better(store: LocalStore) -> None:
    few, more = (fitted(fit(store, views_of(*ball()), steps=steps)[0])[0]["psnr"] for steps in (0, 200))
    assert more > few + 3


def test_stops_early_once_the_loss_has_settled(store: LocalStore) -> None:
    views = views_of(*ball())
    early, whole = (fitted(fit(store, views, steps=600, early_stop=stop)[0])[0] for stop in (True, False))
    assert early["steps"] < 500
    assert whole["steps"] == 600
    assert early["psnr"] > whole["psnr"] - 0.5


def test_the_method_s_options_reach_the_splat(store: LocalStore) -> None:
    views = views_of(*ball())
    plain, _ = fitted(fit(store, views)[0])
    for settings in ({"sh_degree": 3}, {"antialiased": True}, {"ssim_lambda": 0.0}):
        columns, splat = fitted(fit(store, views, **settings)[0])
        assert columns["psnr"] > 24
        assert columns["psnr"] != plain["psnr"]
        assert splat.degree == settings.get("sh_degree", 0)
    assert abs(fitted(fit(store, views, sh_degree=1)[0])[1].sh[:, 1:]).max() > 0


def test_what_stays_below_the_gate_fails(store: LocalStore) -> None:
    views = views_of(*ball())
    psnr = fitted(fit(store, views, min_psnr=5)[0])[0]["psnr"]
    outcome = fit(store, views, min_psnr=60)[0]
    assert isinstance(outcome, StageError)
    assert outcome.reason == "low_quality"
    assert f"{psnr:.2f}" in outcome.detail
    assert "60" in outcome.detail
    alone = views_of(*(part[:1] for part in ball()))
    assert isinstance(fit(store, alone, min_psnr=60)[0], Done)  # nothing to judge it by


def test_a_poor_fit_has_a_warning_that_names_the_cause(store: LocalStore) -> None:
    views = views_of(*ball())
    columns, _ = fitted(fit(store, views, steps=0)[0])
    text = f"poor fit: {columns['psnr']:.1f} dB on held-out views (below 27); "
    assert columns["warnings"] == [text + "compare its splat with its views"]
    store.replace("views.zip", views.to_bytes())
    warnings = ["missing file: a.png", "culled: 9% of the object's pixels show single-sided faces", "translucent: 3%"]
    row = {"id": "a", "key": KEY, "views": "views.zip", "warnings": warnings}
    ((_, outcome),) = Fit(**{**FAST, "steps": 0, "engine": "cpu"}).open(Context(store, Path(store.root)))([row])
    assert fitted(outcome)[0]["warnings"] == [text + "probably because the object is translucent and culled"]
    row["warnings"] = ["both sides: single-sided faces are drawn from behind too"]
    ((_, outcome),) = Fit(**{**FAST, "steps": 0, "engine": "cpu"}).open(Context(store, Path(store.root)))([row])
    assert fitted(outcome)[0]["warnings"] == columns["warnings"]
    alone = views_of(*(part[:1] for part in ball()))
    assert fitted(fit(store, alone, steps=0)[0])[0]["warnings"] == []  # nothing to judge it by


def test_any_prefix_is_well_spread(store: LocalStore) -> None:
    _, splat = fitted(fit(store, views_of(*ball()), steps=10)[0])
    prefix = splat.means[:20]
    apart = np.linalg.norm(prefix[:, None] - prefix[None], axis=2) + 9 * np.eye(20)
    assert apart.min() > 0.4  # twenty points on a ball of radius 0.8 cannot be more than about 0.75 apart


def test_equal_input_gives_equal_bytes_in_any_process_and_company(store: LocalStore) -> None:
    views = views_of(*ball())
    alone = fit(store, views, steps=20)[0]
    empty = views_of(np.zeros((2, 8, 8, 4), np.uint8), np.zeros((2, 8, 8)), *cameras(2, 8))
    crowd = fit(store, empty, views, views, steps=20)
    assert isinstance(crowd[0], StageError)
    assert alone == crowd[1] == crowd[2]
    code = f"""
import hashlib, sys
from pathlib import Path
from manifests.store import LocalStore
from stages.fit import Fit
from stages.contract.stage import Context, DamagedInput
store = LocalStore({store.root!r})
work = Fit(gaussians=600, steps=20, hold_out=4).resolve(0).open(Context(store, Path(store.root), threads=2))
(_, done), = work([dict(id="a", key={KEY!r}, views="views_1.zip")])
print(done.artifact == Path(sys.argv[1]).read_bytes(), "torch" in sys.modules)
"""
    store.replace("alone.ply", alone.artifact)
    done = subprocess.run([sys.executable, "-c", code, f"{store.root}/alone.ply"], capture_output=True, text=True)
    assert done.stdout == "True False\n", done.stderr


@pytest.mark.parametrize("depth", ["none", "nan", "far"])
def test_without_usable_depth_it_starts_in_the_hull(store: LocalStore, depth: str) -> None:
    colors, depths, intrinsics, poses = ball()
    wrong = {"none": 0 * depths, "nan": depths, "far": np.where(depths > 0, 6.5, 0)}[depth]
    views = views_of(colors, wrong, intrinsics, poses)
    if depth == "nan":
        views = replace(views, depth_scale=float("nan"))
    columns, _ = fitted(fit(store, views)[0])
    assert columns["psnr"] > 18


def test_a_single_view_is_fitted_and_not_measured(store: LocalStore) -> None:
    columns, _ = fitted(fit(store, views_of(*(part[:1] for part in ball())))[0])
    assert columns["held_out"] == []
    assert columns["psnr"] is columns["psnr_foreground"] is columns["ssim"] is None


def test_one_pixel_is_enough(store: LocalStore) -> None:
    colors, depths, intrinsics, poses = ball(radius=0.02, size=41)
    assert (colors[..., 3] > 0).sum(axis=(1, 2)).max() == 1
    columns, _ = fitted(fit(store, views_of(colors, depths, intrinsics, poses))[0])
    assert columns["psnr"] > 27


def test_fewer_pixels_than_gaussians_give_fewer_gaussians(store: LocalStore) -> None:
    columns, _ = fitted(fit(store, views_of(*ball(count=2, size=24)), gaussians=4096)[0])
    assert 16 <= columns["gaussian_count"] < 4096


def test_a_sheet_seen_from_its_edge_too(store: LocalStore) -> None:
    colors, depths, intrinsics, poses = ball(count=6)
    edge = colors.copy()
    edge[::2, :, :32] = 0
    edge[::2, :, 33:] = 0
    columns, _ = fitted(fit(store, views_of(edge, depths * (edge[..., 3] > 0), intrinsics, poses))[0])
    assert columns["psnr"] > 10


def test_a_sheet_shown_from_one_side_only(store: LocalStore) -> None:
    colors, depths, intrinsics, poses = ball()
    below = poses[:, 2, 3] < 0  # as if faces away from these cameras were culled
    colors[below], depths[below] = 0, 0
    depths[:, :, :32] = 0
    colors[:, :, :32] = 0
    columns, splat = fitted(fit(store, views_of(colors, depths, intrinsics, poses))[0])
    assert columns["gaussian_count"] > 16
    assert splat.is_finite


def test_a_transparent_object(store: LocalStore) -> None:
    colors, depths, intrinsics, poses = ball()
    colors[..., 3] //= 3
    columns, splat = fitted(fit(store, views_of(colors, depths, intrinsics, poses))[0])
    assert columns["psnr"] > 20


def test_glass_around_what_is_solid(store: LocalStore) -> None:
    colors, _, intrinsics, poses = ball(radius=0.8)
    inner, depths, _, _ = ball(radius=0.35)
    colors[..., 3] //= 3
    solid = inner[..., 3] > 0
    colors[solid] = inner[solid]  # and its depth; the glass has none
    columns, splat = fitted(fit(store, views_of(colors, depths, intrinsics, poses))[0])
    assert columns["psnr"] > 22
    assert (np.linalg.norm(splat.means, axis=1) > 0.5).mean() > 0.5


def test_what_no_other_view_shows_has_no_hull_and_does_no_harm(store: LocalStore) -> None:
    colors, depths, intrinsics, poses = ball(radius=0.5)
    colors[0, 2:10, 2:10] = 255  # without a depth, and where all others see nothing: as where faces are culled
    columns, _ = fitted(fit(store, views_of(colors, depths, intrinsics, poses))[0])
    assert columns["psnr"] > 20


def test_nothing_is_written_of_a_fit_that_diverges(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "learning_rates", lambda rows: np.full(rows, np.nan, np.float32))
    outcome = fit(store, views_of(*ball(count=4, size=16)))[0]
    assert isinstance(outcome, StageError)
    assert outcome.reason == "not_finite"


def test_oblong_and_odd_images(store: LocalStore) -> None:
    colors, depths, intrinsics, poses = ball(size=65)
    oblong = views_of(colors[:, 4:61], depths[:, 4:61], intrinsics - [[0, 0, 0], [0, 0, 4], [0, 0, 0]], poses)
    assert fitted(fit(store, oblong)[0])[0]["psnr"] > 25


def test_bad_input_has_its_reason(store: LocalStore) -> None:
    colors, depths, intrinsics, poses = ball(count=3, size=16)
    good = views_of(colors, depths, intrinsics, poses)
    other = encode(np.zeros((8, 8, 4), np.uint8))
    bad = {
        "empty_views": [
            views_of(0 * colors, depths, intrinsics, poses),
            Views([], [], np.zeros((0, 3, 3)), np.zeros((0, 4, 4)), 1.0, np.eye(4)),
        ],
        "unequal_views": [
            replace(good, colors=[good.colors[0], other, good.colors[2]]),
            replace(good, depths=[encode(np.zeros((8, 8), np.uint16))] * 3),
        ],
        "missing_input": [b"not a zip", good.to_bytes()[:-400], replace(good, colors=[b"no png"] * 3)],
        "bad_cameras": [
            replace(good, camera_to_world=np.full((3, 4, 4), np.nan, np.float32)),
            replace(good, camera_to_world=np.zeros((3, 4, 4), np.float32)),
            replace(good, intrinsics=np.zeros((3, 3, 3), np.float32)),
        ],
    }
    cases = [(reason, views) for reason, group in bad.items() for views in group]
    outcomes = fit(store, *(views for _, views in cases), good)
    for (reason, _), outcome in zip(cases, outcomes, strict=False):
        assert isinstance(outcome, StageError)
        assert outcome.reason == reason, outcome.detail
        assert outcome.detail
        assert "\n" not in outcome.detail
        assert isinstance(outcome, DamagedInput) == (reason == "missing_input")
    assert isinstance(outcomes[-1], Done)


def test_cameras_that_look_elsewhere_have_no_hull(store: LocalStore) -> None:
    colors, depths, intrinsics, poses = ball(count=3, size=16)
    poses[:, :3, 3] *= -1
    outcome = fit(store, views_of(colors, 0 * depths, intrinsics, poses))[0]
    assert isinstance(outcome, StageError)
    assert outcome.reason == "no_hull"


@pytest.mark.parametrize(
    ("count", "every", "held_out"),
    [(24, 8, [4, 12, 20]), (1, 8, []), (2, 2, [1]), (3, 8, []), (24, 0, []), (5, 2, [1, 3])],
)
def test_which_views_are_held_out(count: int, every: int, held_out: list[int]) -> None:
    assert held_out_views(count, every) == held_out


@pytest.mark.parametrize(
    "wrong",
    [
        {"hold_out": 1},
        {"gaussians": 0},
        {"steps": -1},
        {"engine": "cuda"},
        {"sh_degree": 4},
        {"ssim_lambda": 1.5},
        {"min_psnr": 0},
    ],
)
def test_refuses_wrong_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Fit(**wrong)


def test_auto_becomes_definite_and_settings_make_the_key() -> None:
    assert Fit().resolve(gpus=0).engine == "cpu"
    assert Fit().resolve(gpus=1).engine == "gsplat"
    assert Fit().resolve(gpus=1, before=Fit(engine="cpu")).engine == "cpu"
    assert Fit(engine="cpu").resolve(gpus=1, before=Fit(engine="gsplat")).engine == "cpu"
    row = {"id": "a"}
    assert Fit(steps=3).key(row) != Fit(steps=4).key(row)


def test_importing_the_stage_loads_nothing_heavy() -> None:
    code = "import stages.fit, sys; print([m for m in ('torch', 'numba', 'scipy', 'OpenGL') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
