"""Blocks: which rows share a shard, when it is packed, and which shards the dataset has."""

from __future__ import annotations

from pathlib import Path

from manifests.splits import Splits
from tests.pipeline.planning.plans import FOUR, PAIRS, Planned, three_steps

FIRST, SECOND = ("pack", "train-00000"), ("pack", "train-00001")


def packed(root: Path) -> dict[str, str]:
    """A run of two packed blocks: a and b, c and d. The shards by block."""
    plan = Planned(root, splits=PAIRS)
    plan.finish("a", "b", "c", "d")
    return {name: plan.pack(name) for name in ("train-00000", "train-00001")}


def test_a_block_is_packed_when_all_of_it_is_ingested_and_its_members_are_settled(tmp_path: Path) -> None:
    plan = Planned(tmp_path, splits=PAIRS)
    assert plan.finish("a", "c") == set()
    assert plan.apply("ingest", "b") == {("shape", "b")}
    plan.apply("shape", "b")
    assert plan.apply("words", "b") == {FIRST}
    assert plan.members("train-00000") == ["a", "b"]
    assert plan.finish("d") == {SECOND}


def test_a_row_that_is_still_to_be_ingested_holds_up_later_blocks(tmp_path: Path) -> None:
    """It may show a later row to be a duplicate."""
    plan = Planned(tmp_path, splits=PAIRS)
    plan.apply("ingest", "b")
    assert plan.finish("c", "d") == set()
    assert plan.apply("ingest", "a", content="c") == {("shape", "a"), SECOND}
    assert plan.members("train-00001") == ["d"]


def test_a_row_that_failed_leaves_its_block_unless_the_stage_is_optional(tmp_path: Path) -> None:
    plan = Planned(tmp_path, splits=PAIRS)
    plan.finish("a", shape="too_many")
    assert plan.finish("b") == {FIRST} and plan.members("train-00000") == ["b"]
    plan.finish("c", words="no_words")
    assert plan.finish("d") == {SECOND} and plan.members("train-00001") == ["c", "d"]


def test_a_block_without_members_is_not_packed(tmp_path: Path) -> None:
    plan = Planned(tmp_path, FOUR[:2], splits=PAIRS)
    assert plan.finish("a", "b", shape="too_many") == set()
    assert plan.shards() == set()


def test_rows_of_each_split_have_blocks_of_their_own(tmp_path: Path) -> None:
    rows = [row | {"split": split} for row, split in zip(FOUR, ("test", "train", "test", "train"), strict=True)]
    plan = Planned(tmp_path, rows, splits=PAIRS)
    assert plan.finish("a", "b", "c", "d") == {
        ("pack", f"{split}-{number:05d}") for split in ("test", "train") for number in (0, 1)
    }
    assert plan.members("train-00001") == ["d"]


def test_a_later_build_packs_what_changed_and_nothing_else(tmp_path: Path) -> None:
    shards = packed(tmp_path)
    same = Planned(tmp_path, splits=PAIRS)
    assert same.to_pack == set() and same.shards() == set(shards.values())
    fewer = Planned(tmp_path, [FOUR[0], *FOUR[2:]], splits=PAIRS)
    assert fewer.to_pack == {FIRST} and fewer.members("train-00000") == ["a"]
    assert fewer.shards() == {shards["train-00001"]}


def test_a_block_whose_shard_is_gone_is_packed_again(tmp_path: Path) -> None:
    shards = packed(tmp_path)
    (tmp_path / shards["train-00001"]).unlink()
    later = Planned(tmp_path, splits=PAIRS)
    assert later.to_pack == {SECOND} and later.shards() == {shards["train-00000"]}


def test_a_block_that_cannot_be_packed_keeps_the_shard_whose_rows_it_still_has(tmp_path: Path) -> None:
    rows = FOUR[:3]
    plan = Planned(tmp_path, rows, splits=PAIRS)
    plan.finish("a", "b", "c")
    first, second = plan.pack("train-00000"), plan.pack("train-00001")
    grown = Planned(tmp_path, splits=PAIRS)
    assert grown.to_pack == set()  # nothing is known of d
    assert grown.finish("d") == {SECOND}
    grown.pack("train-00001", reason="not_finite")
    assert grown.shards() == {first, second}
    assert grown.plan.blocks.count()["reasons"] == {"not_finite": 1}
    again = Planned(tmp_path, splits=PAIRS)  # also where the failure is the last that was recorded of the block
    assert again.to_pack == {SECOND}
    again.pack("train-00001", reason="not_finite")
    assert again.shards() == {first, second}
    without = Planned(tmp_path, [*FOUR[:2], FOUR[3]], splits=PAIRS)
    without.pack("train-00001", reason="not_finite")
    assert without.shards() == {first}


def test_a_shard_of_another_shape_is_not_kept_beside_new_ones(tmp_path: Path) -> None:
    packed(tmp_path)
    changed = Planned(tmp_path, steps=three_steps(setting=1), splits=PAIRS)
    changed.redo("words", "a", "shape")
    for name in "abcd":
        changed.apply("shape", name)
        changed.apply("words", name)
    new = changed.pack("train-00000", gaussians=16)
    changed.pack("train-00001", reason="not_finite")
    assert changed.shards() == {new}


def test_renamed_splits_have_shards_of_the_new_name_only(tmp_path: Path) -> None:
    packed(tmp_path)
    renamed = Planned(tmp_path, splits=Splits(shares={"whole": 1.0}, rows_per_shard=2))
    assert renamed.to_pack == {("pack", "whole-00000"), ("pack", "whole-00001")}
    assert renamed.shards() == set()


def test_a_block_whose_input_is_gone_is_packed_after_its_rows_were_worked_again(tmp_path: Path) -> None:
    plan = Planned(tmp_path, splits=PAIRS)
    plan.finish("a", "b")
    assert plan.redo_block("train-00000", b=("shape",)) == {("shape", "b")}
    assert plan.apply("shape", "b") == {FIRST}  # what the others made stands


def test_a_block_that_misses_an_input_of_no_member_is_tried_again_itself(tmp_path: Path) -> None:
    plan = Planned(tmp_path, splits=PAIRS)
    plan.finish("a", "b")
    assert plan.redo_block("train-00000") == {FIRST}
    assert plan.redo_block("train-00000", **{"train-00000": ("shape",)}) == {FIRST}


def test_what_an_older_version_listed_is_packed_without_credentials(tmp_path: Path) -> None:
    row = {
        "id": "a",
        "uri": "/nowhere/a",
        "source": "https://me:SECRET@h.test/a?sig=SECRET",
        "extra": {"p": "s3://S@b"},
    }
    plan = Planned(tmp_path, [row], splits=PAIRS)
    plan.finish("a")
    (member,) = plan.plan.items([plan.blocks["train-00000"]])[0]["members"]
    assert member["source"] == {"id": "a", "source": "https://h.test/a", "p": "s3://b"}
