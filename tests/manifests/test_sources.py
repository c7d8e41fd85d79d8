"""Reading sources: what is found in folders, globs and lists, and the errors for rows that cannot be used."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests import sources
from manifests.listing import update_listing
from manifests.sources import SourceError
from manifests.store import open_store

read_source = partial(sources.read_source, endings=(".glb", ".gltf", ".obj", ".ply", ".stl", ".off"))


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


def test_a_glob_is_read_as_shells_read_it(tmp_path: Path) -> None:
    write(tmp_path, "1.glb", "x/2.glb", "x/y/3.GLB", "x/.hidden/4.glb", ".5.glb", "z/notes.txt")
    (tmp_path / "z" / "folder.glb").mkdir()
    for pattern, ids in {
        "**": ["1.glb", "x/2.glb", "x/y/3.GLB"],
        "**/**/*.glb": ["1.glb", "x/2.glb"],
        "[x-z]/**/*": ["x/2.glb", "x/y/3.GLB"],
        "*/y/?.GLB": ["x/y/3.GLB"],
        "*/.hidden/*": ["x/.hidden/4.glb"],
        ".*": [".5.glb"],
        "**/y/**": ["x/y/3.GLB"],
    }.items():
        assert [row["id"] for row in read_source(f"{tmp_path}/{pattern}")] == ids, pattern


@pytest.mark.parametrize("source", ["", "/**/*.glb"])
def test_links_to_folders_are_followed_once_and_after_the_real_ones(tmp_path: Path, source: str) -> None:
    write(tmp_path, "source/b/1.glb", "source/2.glb", "elsewhere/3.glb")
    folder = tmp_path / "source"
    for link, target in {
        "a": "b",
        "b/loop": "..",
        "b/other loop": "..",
        "c": "../elsewhere",
        "d": "../elsewhere",
        "itself": "itself",
        "nothing": "gone",
    }.items():
        (folder / link).symlink_to(target)
    assert [row["id"] for row in read_source(f"{folder}{source}")] == ["2.glb", "b/1.glb", "c/3.glb"]


@pytest.mark.parametrize("source", ["", "/**/*.glb", "/*/*.glb"])
def test_a_folder_that_cannot_be_looked_into_is_an_error_and_not_left_out(tmp_path: Path, source: str) -> None:
    write(tmp_path, "a/1.glb", "2.glb")
    link = tmp_path / "part two"
    link.symlink_to("n" * 300)  # no name can be so long: not to be followed, even by root
    with pytest.raises(SourceError, match=f"{link}: this link cannot be followed"):
        read_source(f"{tmp_path}{source}")
    link.rename(tmp_path / "two.glb")  # a mesh is a row, which fails with its own reason
    assert "2.glb" in [row["id"] for row in read_source(str(tmp_path))]


def test_a_folder_that_cannot_be_listed_is_an_error_and_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "1.glb")
    monkeypatch.chdir(tmp_path)
    for _ in range(20):  # deeper than a path can be long: not to be listed, even by root
        os.mkdir("d" * 250)
        os.chdir("d" * 250)
    for source in (str(tmp_path), f"{tmp_path}/**/*.glb"):
        with pytest.raises(SourceError, match=f"{'d' * 250}: this folder cannot be listed"):
            read_source(source)


def test_local_files_named_by_uri_have_paths(tmp_path: Path) -> None:
    write(tmp_path, "x/1.glb")
    (tmp_path / "list.jsonl").write_text('{"uri": "x/1.glb"}')
    for source in ("x", "x/1.glb", "x/*.glb", "list.jsonl"):
        assert [row["uri"] for row in read_source(f"file://{tmp_path}/{source}")] == [str(tmp_path / "x" / "1.glb")]


def test_a_file_name_that_is_not_utf8_is_a_row_with_a_reason(tmp_path: Path) -> None:
    write(tmp_path, "good.glb")
    with open(os.path.join(os.fsencode(tmp_path), b"bad\xff.glb"), "wb") as file:
        file.write(b"mesh")
    problems = [row.get("problem") for row in read_source(str(tmp_path))]
    assert sorted(problems, key=str) == [None, "bad_row"]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_lists_of_every_kind_say_the_same(tmp_path: Path, ending: str) -> None:
    entries = [
        {"path": "a.glb", "id": "a", "category": "chair", "tags": "red|oak", "license": "CC0-1.0", "maker": "M"},
        {"path": "sub/b.obj", "id": "b", "category": "", "tags": "", "license": "", "maker": ""},
    ]
    path = tmp_path / f"list.{ending}"
    if ending == "csv":
        lines = [",".join(entries[0]), *[",".join(row.values()) for row in entries]]
        path.write_text("\ufeff" + "\n".join(lines))
    elif ending == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in entries) + "\n\n")
    else:
        pq.write_table(pa.Table.from_pylist(entries), path)
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
        '"words \\ud83d"',
        '{"uri": "t.glb", "tags": 5}',
        '{"uri": "deep.glb", "more": ' + "[" * 500 + "]" * 500 + "}",
        '{"uri": "deeper.glb", "more": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"id": "name", "uri": "\\udcff.glb"}',
        '{"uri": "c.glb"}',
    ]
    path.write_text("\n".join(lines))
    rows = read_source(str(path))
    assert [(row["id"], row.get("problem_detail", "")[:20]) for row in rows] == [
        ("a.glb", ""),
        ("line 2", "not JSON: Expecting "),
        ("no file", "no uri or path; name"),
        ("line 4", "not an object with n"),
        ("b.glb", "up is 'x', expected "),
        ("line 6", "not an object with n"),
        ("t.glb", "tags is 5, expected "),
        ("line 8", "JSON nested more tha"),
        ("line 9", "JSON nested more tha"),
        ("name", "the file name is not"),
        ("c.glb", ""),
    ]
    assert len(update_listing(open_store(tmp_path / "run"), rows, epoch=1)) == len(rows)


def test_text_cut_inside_an_emoji_loses_the_half_of_it_alone(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text(
        r'{"uri": "a.glb", "id": "a\ud83d", "caption": "cut \ud83d", "name": "\ud83d\ude00", "tags": ["\ude00", "b"],'
        r' "ma\ud83dker": {"by": ["M\ud83d"]}}'
    )
    with path.open("a") as file:
        file.write('\n{"uri": "b.glb", "id": "\\ud83d", "split": "\\ud83d"}')
    listing = update_listing(open_store(tmp_path / "run"), read_source(str(path)), epoch=1)
    row, other = listing.rows([0, 1])
    assert (other["id"], "split" in other, "problem" in other) == ("b.glb", False, False)
    assert (row["id"], row["caption"], row["name"], row["tags"]) == ("a", "cut ", "😀", ["b"])
    assert row["extra"] == {"maker": {"by": ["M"]}}


def test_a_value_of_a_parquet_list_that_cannot_be_read_costs_its_row_alone(tmp_path: Path) -> None:
    values = [b"one", b"two", b"\xff", b"four"]
    captions = pa.Array.from_buffers(pa.string(), len(values), pa.array(values).buffers())
    pq.write_table(pa.table({"uri": ["a", "b", "c", "d"], "caption": captions}), tmp_path / "list.parquet")
    rows = read_source(str(tmp_path / "list.parquet"))
    assert [(row["id"], row.get("problem")) for row in rows] == [
        ("a", None),
        ("b", None),
        ("row 3", "bad_row"),
        ("d", None),
    ]


def test_csv_with_a_wrong_quote_costs_the_row_of_its_line_alone(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text('path,caption\n\na.glb,"a ""fine"" one,\nof two lines"\nb.glb,"a" b\nc.glb,1,2\nd.glb\ne.glb,"open')
    rows = read_source(str(path))
    assert [(row["id"], row.get("problem")) for row in rows] == [
        ("a.glb", None),
        ("row 2", "bad_row"),
        ("row 3", "bad_row"),
        ("d.glb", None),
        ("row 5", "bad_row"),
    ]
    assert rows[0]["caption"] == 'a "fine" one,\nof two lines'


@pytest.mark.parametrize("count", [80, 20_000])
@pytest.mark.parametrize("after", ["", 'z.glb,"a chair, red"\n'])
def test_csv_whose_open_quote_swallows_rows_is_refused(tmp_path: Path, count: int, after: str) -> None:
    path = tmp_path / "list.csv"
    lines = "".join(f"{number}.glb,words\n" for number in range(count))
    path.write_text(f'path,caption\na.glb,"open\n{lines}{after}')
    with pytest.raises(SourceError, match="not CSV from line 2 on"):
        read_source(str(path))


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
    ("name", "message"),
    [
        ("nowhere", "does not exist"),
        ("empty", "no mesh found"),
        ("notes.txt", "neither a mesh"),
        ("bad.parquet", "not a Parquet"),
        ("bad.csv", "not CSV from line 1 on"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused_in_one_line(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "bad.parquet").write_text("x")
    (tmp_path / "bad.csv").write_text('"path" x,y\na.glb,b')
    with pytest.raises(SourceError, match=message):
        read_source(str(tmp_path / name))


@pytest.mark.parametrize("source", ["foo://bucket/meshes", "foo://bucket/list.jsonl", "http://[1/meshes"])
def test_a_uri_that_no_file_system_knows_is_refused_in_one_line(source: str) -> None:
    with pytest.raises(SourceError, match="cannot be read: .+") as refusal:
        read_source(source)
    assert "\n" not in str(refusal.value)
