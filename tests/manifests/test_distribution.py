"""Distributions of figures: what is counted from texts of shards and from values is the same, and true."""

from __future__ import annotations

import numpy as np
import pytest

from manifests.distribution import Distribution, as_text, number


@pytest.mark.parametrize("percent", [5, 25, 50, 75, 95, 100])
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(percent: int) -> None:
    values = np.random.default_rng(percent).normal(25, 4, 997).round(1)
    found = Distribution.of_values(values).percentile(percent)
    assert (values <= found).mean() >= percent / 100 > (values < found).mean()


def test_shards_give_the_distribution_of_all_their_values() -> None:
    values = np.random.default_rng(0).uniform(0.5, 1, 300)
    shards = [as_text(part) for part in np.split(values, 6)]
    assert Distribution.of_texts(shards).summary() == Distribution.of_values(values).summary()
    assert Distribution.of_texts(["-0 0 1"]).objects == 3


@pytest.mark.parametrize("values", [[5.0], [0.0, 0.0], [-3.0, 4.0, 1e6], [0.911, 0.912], [99.96, 100.0]])
def test_a_histogram_has_every_value_in_its_bar(values: list[float]) -> None:
    bars = Distribution.of_values(np.array(values)).histogram()
    assert sum(bar["objects"] for bar in bars) == len(values) and 1 <= len(bars) <= 17
    for value in values:
        assert any(bar["low"] <= float(f"{value:.3g}") < bar["high"] and bar["objects"] for bar in bars)
    assert all(bar["high"] == after["low"] for bar, after in zip(bars, bars[1:], strict=False))


def test_far_below_is_known_of_eight_values_or_more() -> None:
    values = np.array([10.0, *np.linspace(24, 26, 9)])
    assert Distribution.of_values(values[:7]).far_below() is None
    whole = Distribution.of_values(values)
    limit = whole.far_below()
    assert limit is not None and 10 < limit < 24 and whole.count_below(limit) == 1


def test_a_damaged_text_is_refused() -> None:
    for text in ("24.1 nan", "24.1 x", "inf"):
        with pytest.raises(ValueError):
            Distribution.of_texts([text])


def test_numbers_have_three_digits_and_no_exponent() -> None:
    assert [number(value) for value in (28, 0.89, 0.98, 1234.5, 0, -3.14159, 99.96, 1e7)] == [
        "28.0", "0.890", "0.980", "1230", "0.00", "-3.14", "100", "10000000",
    ]  # fmt: skip
