"""Every feature looks as three.js shows it. The marked tests need Chromium and three.js: `make test-render`."""

from __future__ import annotations

import numpy as np
import pytest

from tests.render import features_packed, features_plain  # noqa: F401  their features join the others
from tests.render.browser import open_eye
from tests.render.comparing import ciede2000, likeness
from tests.render.features import FEATURES, write_features
from tests.render.likenesses import Sight, sights

# pairs that Sharma, Wu and Dalal published to try implementations with
PAIRS = [
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
    ((50, -1, 2), (50, 0, 0), 2.3669),
    ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
    ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
    ((50, 2.5, 0), (73, 25, -18), 27.1492),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((22.7233, 20.0904, -46.694), (23.0331, 14.973, -42.5619), 2.0373),
    ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
]


def test_colour_differences_are_those_of_the_standard() -> None:
    first, second, expected = (np.array(column, np.float64) for column in zip(*PAIRS, strict=True))
    assert np.allclose(ciede2000(first, second), expected, atol=1e-4)
    assert np.allclose(ciede2000(second, first), expected, atol=1e-4)


def test_likeness_sees_a_shift_and_a_colour() -> None:
    picture = np.zeros((1, 64, 64, 4), np.uint8)
    picture[:, 16:48, 16:48] = (200, 100, 50, 255)
    same = likeness(picture, picture)
    assert same.iou == 1 and same.difference == 0 and same.good
    shifted = likeness(picture, np.roll(picture, 1, axis=2))
    assert shifted.iou == pytest.approx(31 / 33) and not shifted.good
    darker = picture.copy()
    darker[..., :3] //= 2
    assert likeness(picture, darker).difference > 10 and likeness(picture, darker).iou == 1


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sight]:
    found = write_features(tmp_path_factory.mktemp("features"))
    with open_eye() as eye:
        return {sight.name: sight for sight in sights(eye, found)}


@pytest.mark.render
@pytest.mark.parametrize("name", FEATURES)
def test_a_feature_looks_as_three_js_shows_it(seen: dict[str, Sight], name: str) -> None:
    sight = seen[name]
    assert sight.likeness is not None and sight.likeness.good, sight.line()
