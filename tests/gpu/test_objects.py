"""Objects of the kit: they come back as they were, but for a little."""

from __future__ import annotations

import numpy as np
import pytest

from stages.fitting.photos import Photos, read_photos
from stages.fitting.start import start_from
from tests.gpu.objects import SUFFIX, FitObject, halved, normals_of, read_object, views_of, write_object
from tests.stages.test_fit import ball
from tests.stages.test_fit import views_of as views_of_ball

COUNT = 60


@pytest.fixture(scope="module")
def original() -> FitObject:
    photos = read_photos("ball", views_of_ball(*ball(count=8, size=32, radius=0.8)).to_bytes())
    training, held_out = photos.take([0, 1, 2, 3, 5, 6, 7]), photos.take([4])
    return FitObject("ball", training, held_out, start_from(training, COUNT, 1))


@pytest.fixture(scope="module")
def restored(original: FitObject, tmp_path_factory: pytest.TempPathFactory) -> FitObject:
    path = tmp_path_factory.mktemp("kit") / f"ball{SUFFIX}"
    write_object(path, original.training, original.held_out, original.start)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    return read_object(path)


def on_white(photos: Photos) -> np.ndarray:
    colors = photos.colors.astype(np.float32) / 255
    return colors[..., :3] * colors[..., 3:] + 1 - colors[..., 3:]


def test_views_and_cameras_come_back(original: FitObject, restored: FitObject) -> None:
    assert restored.name == "ball"
    for one, other in ((original.training, restored.training), (original.held_out, restored.held_out)):
        assert np.sqrt(((on_white(one) - on_white(other)) ** 2).mean()) < 0.02
        np.testing.assert_array_equal(one.intrinsics, other.intrinsics)
        np.testing.assert_array_equal(one.world_to_camera, other.world_to_camera)


def test_a_start_comes_back_in_another_order(original: FitObject, restored: FitObject) -> None:
    one, other = original.start, restored.start
    assert len(one) == len(other) == COUNT
    nearest = np.linalg.norm(one.means[:, None] - other.means[None], axis=2).argmin(1)
    assert len(set(nearest)) == COUNT
    np.testing.assert_allclose(other.means[nearest], one.means, atol=3e-4)
    np.testing.assert_allclose(other.log_scales[nearest], one.log_scales, atol=0.02)
    np.testing.assert_allclose(other.sh[nearest], one.sh, atol=0.05)
    np.testing.assert_array_equal(other.opacity_logits[nearest], one.opacity_logits)
    between = (normals_of(other)[nearest] * normals_of(one)).sum(1)
    assert between.min() > 0.999


def test_half_the_size_shows_the_same(original: FitObject) -> None:
    small = halved(original, views=4, gaussians=20)
    assert small.training.colors.shape[1:3] == (16, 16)
    assert (len(small.training), len(small.held_out)) == (4, 1)
    assert len(small.start) == 20
    means = on_white(original.held_out).reshape(1, 16, 2, 16, 2, 3).mean((2, 4))
    np.testing.assert_allclose(on_white(small.held_out), means, atol=0.01)
    np.testing.assert_allclose(small.held_out.intrinsics[:, :2] * 2, original.held_out.intrinsics[:, :2])


def test_its_views_can_be_read_as_a_stage_reads_them(original: FitObject) -> None:
    photos = read_photos("ball", views_of(original, 9).to_bytes())
    seven = original.training
    np.testing.assert_array_equal(photos.colors, np.concatenate([seven.colors, seven.colors[:2]]))
    np.testing.assert_allclose(photos.world_to_camera[:7], seven.world_to_camera, atol=1e-5)
