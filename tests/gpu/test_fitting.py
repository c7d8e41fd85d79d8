"""How busy a device is, from the times of its kernels."""

from __future__ import annotations

import pytest

from tests.gpu.fitting import covered


@pytest.mark.parametrize(
    ("spans", "length"), [([], 0), ([(1, 3)], 2), ([(5, 6), (1, 3)], 3), ([(0, 10), (2, 3), (8, 12)], 12)]
)
def test_time_that_several_kernels_share_counts_once(spans: list[tuple[float, float]], length: float) -> None:
    assert covered(spans) == length
