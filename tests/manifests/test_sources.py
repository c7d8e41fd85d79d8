"""Reading sources: what is found in folders, globs and lists, and what is said of rows that cannot be used."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.sources import SourceError, read_source


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mesh")


def test_a_folder_gives_every_mesh_in_a_fixed_order_with_relative_ids(tmp_path: Path) -> None:
    write(tmp_path, "b/two.GLB", "a one.obj", "Stühle/drei.ply", "notes.txt", "a one.mtl")
    rows = read_source(str(tmp_path))
    assert [row["id"] for row in rows] == ["Stühle/drei.ply", "a one.obj", "b/two.GLB"]
    assert rows[1]["uri"] == str(tmp_path / "a one.obj")


def test_a_glob_and_a_single_mesh(tmp_path: Path) -> None:
    write(tmp_path, "x/1.glb", "y/2.glb", "y/3.obj")
    assert [row["id"] for row in read_source(f"{tmp_path}/*/*.glb")] == ["x/1.glb", "y/2.glb"]
    assert [row["id"] for row in read_source(f"{tmp_path}/**/*.obj")] == ["y/3.obj"]
    assert [row["id"] for row in read_source(str(tmp_path / "y" / "3.obj"))] == ["3.obj"]


def test_a_file_name_that_is_not_utf8_is_a_row_with_a_reason(tmp_path: Path) -> None:
    write(tmp_path, "good.glb")
    with open(os.path.join(os.fsencode(tmp_path), b"bad\xff.glb"), "wb") as file:
        file.write(b"mesh")
    problems = [row.get("problem") for row in read_source(str(tmp_path))]
    assert sorted(problems, key=str) == [None, "bad_row"]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_lists_of_every_kind_say_the_same(tmp_path: Path, ending: str) -> None:
    told = [
        {"path": "a.glb", "id": "a", "category": "chair", "tags": "red|oak", "license": "CC0-1.0", "maker": "M"},
        {"path": "sub/b.obj", "id": "b", "category": "", "tags": "", "license": "", "maker": ""},
    ]
    path = tmp_path / f"list.{ending}"
    if ending == "csv":
        lines = [",".join(told[0]), *[",".join(row.values()) for row in told]]
        path.write_text("\ufeff" + "\n".join(lines))
    elif ending == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in told) + "\n\n")
    else:
        pq.write_table(pa.Table.from_pylist(told), path)
    rows = read_source(str(path))
    assert rows == [
        {
            "id": "a",
            "uri": str(tmp_path / "a.glb"),
            "category": "chair",
            "tags": ["red", "oak"],
            "licence": "CC0-1.0",
            "source": "a.glb",
            "extra": {"maker": "M"},
        },
        {"id": "b", "uri": str(tmp_path / "sub" / "b.obj"), "source": "sub/b.obj"},
    ]


def test_bad_rows_keep_their_place_and_have_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    lines = [
        '{"uri": "a.glb"}',
        "{broken",
        '{"id": "no file"}',
        "[1]",
        '{"uri": "b.glb", "up": "x"}',
        '{"uri": "c.glb"}',
    ]
    path.write_text("\n".join(lines))
    rows = read_source(str(path))
    assert [row["id"] for row in rows] == ["a.glb", "line 2", "no file", "line 4", "b.glb", "c.glb"]
    assert [row.get("problem") for row in rows] == [None, "bad_row", "bad_row", "bad_row", "bad_row", None]
    assert "no uri or path" in rows[2]["problem_detail"]


def test_the_second_row_of_an_id_has_a_reason_and_an_id_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("id,path\nx,a.glb\nx,b.glb\n")
    rows = read_source(str(path))
    assert [(row["id"], row.get("problem")) for row in rows] == [("x", None), ("x#2", "duplicate_id")]


def test_uris_are_kept_and_remote_lists_resolve_beside_themselves(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text('{"uri": "s3://bucket/a.glb"}\n{"uri": "/abs/b.glb"}\n')
    assert [row["uri"] for row in read_source(str(path))] == ["s3://bucket/a.glb", "/abs/b.glb"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere", "not there"),
        ("empty", "no mesh in it"),
        ("notes.txt", "neither a mesh"),
        ("bad.parquet", "not a Parquet"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused_in_one_line(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "bad.parquet").write_text("x")
    with pytest.raises(SourceError, match=said):
        read_source(str(tmp_path / name))
