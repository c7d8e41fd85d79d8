"""Outcomes: of one key the first whole one counts, with its artifact."""

from __future__ import annotations

from pathlib import Path

from manifests.outcomes import Outcomes
from manifests.store import open_store
from manifests.text import LONGEST

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
