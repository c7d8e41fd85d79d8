"""Whether a source changed since its ingest: by uri, and by size and time of local files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from manifests.addresses import address_seen
from manifests.records import Seen
from pipeline.planning.source_changes import SourceChanges, stamp


def test_a_file_of_another_size_or_time_is_changed_and_a_missing_one_too(tmp_path: Path) -> None:
    mesh, texture = tmp_path / "a.obj", tmp_path / "a.png"
    mesh.write_bytes(b"mesh")
    row = {"uri": str(mesh)}
    seen = {"uri": str(mesh), "files": [[str(path), *stamp(str(path))] for path in (mesh, texture)]}
    changes = SourceChanges()
    assert changes.is_unchanged(row, seen)
    texture.write_bytes(b"texture")  # it was missing then
    assert not changes.is_unchanged(row, seen)
    texture.unlink()
    os.utime(mesh, ns=(1, 1))
    assert not changes.is_unchanged(row, seen)
    assert SourceChanges(refresh=False).is_unchanged(row, seen)


@pytest.mark.parametrize(("refresh", "unchanged"), [(None, True), (False, True), (True, False)])
def test_uris_are_read_again_only_where_that_is_asked_for(refresh: bool | None, unchanged: bool) -> None:
    row = {"uri": "s3://bucket/a.glb"}
    assert SourceChanges(refresh).is_unchanged(row, {"uri": "s3://bucket/a.glb"}) == unchanged
    assert not SourceChanges(refresh).is_unchanged(row, {"uri": "s3://bucket/b.glb"})


def test_another_signature_is_no_change_unless_the_ingest_failed() -> None:
    def signed(signature: str) -> str:
        return f"https://h.test/a.glb?file=1&X-Amz-Signature={signature}"

    def seen(ok: bool) -> Seen:
        return {"uri": address_seen(signed("one"), ok), "files": []}

    changes = SourceChanges()
    assert changes.is_unchanged({"uri": signed("two")}, seen(ok=True))
    assert changes.is_unchanged({"uri": signed("one")}, seen(ok=False))
    assert not changes.is_unchanged({"uri": signed("two")}, seen(ok=False))
    assert not changes.is_unchanged({"uri": signed("two").replace("file=1", "file=2")}, seen(ok=True))
    assert changes.is_unchanged({"uri": signed("one")}, {"uri": signed("one"), "files": []})  # of an older version


def test_a_name_that_no_file_can_have_is_no_file() -> None:
    assert stamp("a\0.glb") == stamp("n" * 300) == (None, None)
