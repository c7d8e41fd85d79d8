"""Splits: shares are met, groups stay whole, and nothing moves when rows are added."""

from __future__ import annotations

from collections import Counter

import pytest
from pydantic import ValidationError

from manifests.splits import UNSEEN, Splits


def test_shares_are_about_met_and_groups_stay_whole() -> None:
    splits = Splits()
    drawn = Counter(splits.split_of({"id": str(number)}, f"content {number}") for number in range(20_000))
    assert abs(drawn["train"] / 20_000 - 0.9) < 0.01
    assert abs(drawn["test"] / 20_000 - 0.05) < 0.01
    assert len({splits.split_of({"group": "g"}, f"content {number}") for number in range(50)}) == 1


def test_a_rows_own_split_comes_first_and_unseen_second() -> None:
    splits = Splits(unseen=[{"category": "chair"}, {"category": "mug", "color": "red"}])
    assert splits.split_of({"split": "mine", "category": "chair"}, "c") == "mine"
    assert splits.split_of({"category": "chair"}, "c") == UNSEEN
    assert splits.split_of({"category": "mug", "extra": {"color": "red"}}, "c") == UNSEEN
    assert splits.split_of({"category": "mug", "extra": {"color": "blue"}}, "c") != UNSEEN


def test_what_is_said_of_a_row_comes_before_its_group() -> None:
    splits = Splits(unseen=[{"color": "red"}])
    whole = splits.split_of({"group": "g"}, "")
    assert whole != UNSEEN
    assert splits.split_of({"group": "g", "extra": {"color": "red"}}, "") == UNSEEN
    assert splits.split_of({"group": "g", "extra": {"color": "blue"}}, "") == whole
    assert splits.split_of({"group": "g", "split": "mine"}, "") == "mine"


def test_small_splits_have_longer_spans_so_that_shards_are_of_one_size() -> None:
    splits = Splits(rows_per_shard=100)
    assert splits.span_of({}, "test") == 2000
    assert splits.span_of({}, "train") == 111
    assert splits.span_of({"split": "test"}, "test") == 100


def test_shares_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValidationError, match="add up to 1"):
        Splits(shares={"train": 0.5, "test": 0.2})


@pytest.mark.parametrize("name", ["all", "All", "a-b", "a\n", "", "s" * 101, "ä" * 51])
def test_names_that_datasets_cannot_load_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="a split's name"):
        Splits(shares={name: 1.0})


def test_shares_that_are_no_numbers_or_too_many_are_refused() -> None:
    with pytest.raises(ValidationError, match="add up to 1"):
        Splits(shares={"train": float("nan")})
    with pytest.raises(ValidationError, match="101 splits"):
        Splits(shares={f"s{number}": 1 / 101 for number in range(101)})
