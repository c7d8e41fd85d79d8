"""Outcomes: of one key the first whole one counts, with its artifact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from manifests.outcomes import DamagedFile, Outcomes
from manifests.store import open_store
from manifests.text import LONGEST
from stages.caption import Caption
from stages.fit import Fit
from stages.ingest import Ingest
from stages.pack import Pack

KEY = "ab" * 16


def test_the_first_outcome_of_a_key_counts_with_its_own_artifact(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    outcomes = Outcomes(store)
    first = outcomes.publish("fit", KEY, {"psnr": 30}, b"splat one", "splat", ".ply")
    second = outcomes.publish("fit", KEY, {"psnr": 31}, b"splat two", "splat", ".ply")
    assert first == second == outcomes.find("fit", KEY)
    assert store.read(second["splat"]) == b"splat one"
    assert len(store.list("artifacts")) == 2
    assert outcomes.find("fit", "cd" * 16) is None


def test_an_outcome_that_is_damaged_or_has_lost_its_artifact_is_replaced(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    outcomes = Outcomes(store)
    first = outcomes.publish("fit", KEY, {"psnr": 30}, b"splat one", "splat", ".ply")
    store.delete(first["splat"])
    second = outcomes.publish("fit", KEY, {"psnr": 31}, b"splat two", "splat", ".ply")
    assert outcomes.find("fit", KEY) == second and store.read(second["splat"]) == b"splat two"
    store.replace(outcomes.name("fit", KEY), b'{"psnr')
    assert outcomes.find("fit", KEY) is None
    third = outcomes.publish("fit", KEY, {"psnr": 32}, b"splat three", "splat", ".ply")
    assert outcomes.find("fit", KEY) == third


def test_a_withdrawn_outcome_is_gone(tmp_path: Path) -> None:
    outcomes = Outcomes(open_store(tmp_path))
    outcomes.publish("fit", KEY, {"psnr": 30})
    outcomes.withdraw("fit", KEY)
    assert outcomes.find("fit", KEY) is None


def test_texts_of_files_are_made_safe_when_they_are_stored_and_when_they_are_read(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    columns = {"name": "half \ud83d", "warnings": ["half \ud83d", "red \x1b[31m" + "x" * 5_000_000]}
    published = Outcomes(store).publish("render", KEY, columns)
    assert published == Outcomes(store).find("render", KEY)
    assert published["name"] == "half " and published["warnings"] == ["half", f"red {'x' * (LONGEST - 5)}…"]
    store.replace(Outcomes(store).name("render", KEY), b'{"name": "half \\ud83d"}')  # by an earlier version
    assert Outcomes(store).find("render", KEY) == {"name": "half "}


def test_every_flipped_bit_of_an_outcome_is_noticed(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    outcomes = Outcomes(store)
    outcomes.publish("fit", KEY, {"psnr": 30.25, "text": "a b"}, b"splat", "splat", ".ply")
    name = outcomes.name("fit", KEY)
    data = store.read(name)
    for place in range(len(data)):
        for bit in (1, 2, 32, 128):
            store.replace(name, data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :])
            assert outcomes.find("fit", KEY) is None, (place, bit)


def test_an_outcome_of_an_earlier_version_has_no_checksum_and_counts(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    outcomes = Outcomes(store)
    store.replace(outcomes.name("fit", KEY), b'{"psnr": 30.25}')
    assert outcomes.find("fit", KEY) == {"psnr": 30.25}


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b"5", b"1e400", b"{}", b"\xff", b"[" * 100_000, b'{"psnr": 1}', b'{"_checksum": ""}',
        b'{"_artifact": null, "_checksum": ""}', b'{"_other": 1}',
    ],
)  # fmt: skip
def test_what_cannot_be_an_outcome_of_the_stage_counts_as_none(tmp_path: Path, content: bytes) -> None:
    store = open_store(tmp_path)
    outcomes = Outcomes(store, {"fit": Fit()})
    store.replace(outcomes.name("fit", KEY), content)
    assert outcomes.find("fit", KEY) is None
    with pytest.raises(DamagedFile, match=KEY):
        outcomes.read("fit", KEY)


FIT = {
    "gaussian_count": 5, "steps": 1, "held_out": [], "psnr": None, "psnr_foreground": None, "ssim": 1.0,
    "psnr_first_half": None, "psnr_first_quarter": None, "warnings": [],
    "splat": f"artifacts/fit/ab/{KEY}-01234567.ply",
}  # fmt: skip
SHARD = {
    "shard": "dataset/data/a-00000-0.parquet", "split": "a", "index": 0, "rows": 1, "bytes": 9, "sha256": "",
    "scores": {}, "shape": [1, 1, 1], "float_type": "float32", "categories": {}, "licences": {},
}  # fmt: skip


@pytest.mark.parametrize(
    ("stage", "whole", "wrong"),
    [
        (Fit(), FIT, {"gaussian_count": "5"}),
        (Fit(), FIT, {"gaussian_count": True}),
        (Fit(), FIT, {"held_out": None}),
        (Fit(), FIT, {"psnr": "x"}),
        (Fit(), FIT, {"splat": None}),
        (Fit(), FIT, {"splat": "../../x"}),
        (Fit(), FIT, {"splat": f"artifacts/fit/ab/../../fit/ab/{KEY}-01234567.ply"}),
        (Fit(), FIT, {"splat": f"artifacts/fit/ab/{KEY}-01234567.zip"}),
        (Fit(), FIT, {"splat": f"artifacts/render/ab/{KEY}-01234567.ply"}),
        (Fit(), FIT, {"splat": f"artifacts/fit/cd/{'cd' * 16}-01234567.ply"}),
        (Pack(), SHARD, {"shard": "dataset/data/../../x.parquet"}),
        (Pack(), SHARD, {"shard": "/etc/x.parquet"}),
        (Pack(), SHARD, {"bytes": "9"}),
        (Pack(), SHARD, {"float_type": "float8"}),
        (Pack(), SHARD, {"categories": [1]}),
        (Caption(), {"captions": []}, {"captions": [{"text": 1, "kind": "name", "model": None}]}),
        (Caption(), {"captions": []}, {"captions": {}}),
        (Ingest(), {"captions": []}, {}),
    ],
)
def test_columns_of_another_form_count_as_none(tmp_path: Path, stage: Any, whole: dict[str, Any], wrong: Any) -> None:
    store = open_store(tmp_path)
    outcomes = Outcomes(store, {stage.name: stage})
    store.replace(outcomes.name(stage.name, KEY), json.dumps(whole).encode())
    assert outcomes.find(stage.name, KEY) == (whole if wrong else None)
    store.replace(outcomes.name(stage.name, KEY), json.dumps(whole | wrong).encode())
    assert outcomes.find(stage.name, KEY) is None


def test_an_artifact_is_compared_with_what_was_written(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    outcomes = Outcomes(store)
    name = outcomes.publish("fit", KEY, {}, b"splat one", "splat", ".ply")["splat"]
    stored = outcomes.read("fit", KEY)
    assert outcomes.read_artifact(stored) == b"splat one" and outcomes.has_artifact(stored)
    store.replace(name, b"splat two")
    assert outcomes.has_artifact(stored)
    with pytest.raises(DamagedFile, match="its sha256 differs"):
        outcomes.read_artifact(stored)
    store.replace(name, b"splat")
    assert not outcomes.has_artifact(stored)


def test_the_name_of_a_column_cannot_begin_with_an_underscore(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="_artifact: the name of a column"):
        Outcomes(open_store(tmp_path)).publish("fit", KEY, {"_artifact": 5})
