"""What a source of the command line may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.planning.run import RunError
from pipeline.planning.source_rows import absolute_source


def test_a_source_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:b").mkdir()
    for given, absolute in {
        "meshes": f"{tmp_path}/meshes",
        "gso:data/scans": f"gso:{tmp_path}/data/scans",
        "a:b": f"{tmp_path}/a:b",
        "s3://bucket/meshes": "s3://bucket/meshes",
        "day/10:30/*.glb": f"{tmp_path}/day/10:30/*.glb",
    }.items():
        assert absolute_source(given) == absolute


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("objavrse:data", r"objavrse is not an adapter \(did you mean objaverse\?\)"),
        ("zzz:data", "zzz is not an adapter; expected one of objaverse, "),
        ("gso", "the folder is missing; expected gso:DIR"),
        ("gso:", "the folder is missing; expected gso:DIR"),
    ],
)
def test_what_is_no_adapter_is_refused(given: str, problem: str) -> None:
    with pytest.raises(RunError, match=problem):
        absolute_source(given)
