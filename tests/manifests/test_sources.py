"""Reading sources: what is found in folders, globs and lists, and the errors for rows that cannot be used."""

from __future__ import annotations

import json
import os
import threading
import uuid
from decimal import Decimal
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests import left_out, list_files, sources
from manifests.addresses import row_id
from manifests.captions import captions_in
from manifests.left_out import CONVERT
from manifests.listing import update_listing
from manifests.sources import SourceError
from manifests.store import open_store
from manifests.web import Web

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


def test_up_is_read_in_any_case(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("uri,up\na.stl,Z\nb.stl,Y\nc.stl,AUTO\nd.stl, z \ne.stl,\n")
    assert [row.get("up") for row in read_source(str(path))] == ["z", "y", "auto", "z", None]


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
        ("notes.txt", r"expected a mesh \(.glb, .*or an archive \(.zip, .*, or a folder"),
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


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("foo://bucket/meshes", "scheme is not accepted; expected .*s3://"),
        ("foo://bucket/list.jsonl", "scheme is not accepted"),
        ("local:///etc/list.jsonl", "scheme is not accepted"),
        ("file://host/list.jsonl", "must have no host"),
        ("data:list.jsonl", "data: is not accepted"),
        ("s3://KEY:SECRET@bucket/*.glb", "no user and no password"),
        ("simplecache::s3://bucket/list.csv", "scheme is not accepted"),
        ("http://127.0.0.1:9/list.jsonl?", "set ingest.allow_http"),
        ("https://h.test/list.jsonl", "set ingest.allow_http"),
    ],
)
def test_a_source_at_an_address_that_is_not_accepted_is_refused_in_one_line(source: str, message: str) -> None:
    with pytest.raises(SourceError, match=message) as refusal:
        read_source(source)
    assert "\n" not in str(refusal.value) and "SECRET" not in str(refusal.value)


def test_a_list_behind_a_web_server_is_read_as_meshes_are(tmp_path: Path) -> None:
    (tmp_path / "list.jsonl").write_text('{"uri": "a.glb"}\n')
    pq.write_table(pa.table({"uri": ["b.glb"]}), tmp_path / "list.parquet")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        allowed = Web(allow_http=True, allow_private_addresses=True)
        assert [row["uri"] for row in read_source(f"{url}/list.jsonl", web=allowed)] == [f"{url}/a.glb"]
        assert [row["uri"] for row in read_source(f"{url}/list.parquet", web=allowed)] == [f"{url}/b.glb"]
        signed = "?X-Amz-Credential=a/b&X-Amz-Signature=SECRET"
        assert [row["uri"] for row in read_source(f"{url}/list.jsonl{signed}", web=allowed)] == [f"{url}/a.glb"]
        (mesh,) = read_source(f"{url}/a.glb{signed}", web=allowed)
        assert mesh == {"id": "a.glb", "uri": f"{url}/a.glb{signed}", "source": "a.glb"}
        with pytest.raises(SourceError, match="HTTP Error 404") as refusal:
            read_source(f"{url}/none.jsonl{signed}", web=allowed)
        assert "SECRET" not in str(refusal.value)
        with pytest.raises(SourceError, match="not a public address"):
            read_source(f"{url}/list.jsonl", web=Web(allow_http=True))
        with pytest.raises(SourceError, match="cannot be listed"):
            read_source(f"{url}/meshes", web=allowed)
    finally:
        server.shutdown()
        server.server_close()


SIGNED = "https://me:SECRET@h.test/a.glb?X-Amz-Date=1&X-Amz-Signature=SECRET"


def test_no_column_but_the_uri_has_credentials(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    rows = [
        {"uri": SIGNED.replace("me:SECRET@", ""), "page": f"see {SIGNED}", "more": {SIGNED: [SIGNED]}},
        {"id": SIGNED, "uri": "b.glb", "source": f"bought at {SIGNED}", "caption": SIGNED, "tags": [SIGNED]},
        {"id": "c", "uri": "c.glb", "source": "https://h.test/get?id=3", "page": "https://h.test/get?id=3"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    read = read_source(str(path))
    assert "SECRET" in read[0]["uri"] and "SECRET" not in str([{**row, "uri": ""} for row in read])
    assert [row["id"] for row in read] == ["https://h.test/a.glb", "https://h.test/a.glb#2", "c"]
    assert [row["source"] for row in read] == [
        "https://h.test/a.glb", "bought at https://h.test/a.glb", "https://h.test/get",
    ]  # fmt: skip
    assert read[2]["extra"] == {"page": "https://h.test/get?id=3"}


def test_another_signature_changes_no_id_and_another_query_does(tmp_path: Path) -> None:
    def ids(signature: str) -> list[str]:
        path = tmp_path / "list.jsonl"
        uris = [f"https://h.test/get?file={number}&X-Amz-Signature={signature}" for number in (1, 2)]
        path.write_text("\n".join(json.dumps({"uri": uri}) for uri in uris))
        return [row["id"] for row in read_source(str(path))]

    assert ids("a") == ids("b") and len(set(ids("a"))) == 2


def test_addresses_whose_short_hashes_are_equal_are_two_rows(tmp_path: Path) -> None:
    other, uri = (f"https://h.test/get?file={number}" for number in (51204, 69113))
    assert row_id(other) == row_id(uri)
    path = tmp_path / "list.jsonl"
    path.write_text("\n".join(json.dumps({"uri": each}) for each in (other, uri, uri)))
    rows = read_source(str(path))
    assert [row.get("problem") for row in rows] == [None, None, "duplicate_id"]
    assert rows[1]["id"].startswith(rows[0]["id"]) and rows[2]["id"] == f"{rows[1]['id']}#2"


@pytest.mark.parametrize(
    "split",
    ["all", "ALL", "s" * 300, "ä" * 60, "train[:10%]", "train+test", "a-b", "a.b", "a\n", "../a", "a b"],
)
def test_what_cannot_be_the_name_of_a_split_is_a_bad_row(tmp_path: Path, split: str) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text(json.dumps({"uri": "a.glb", "split": split}) + '\n{"uri": "b.glb", "split": "träning_2"}')
    bad, good = read_source(str(path))
    assert bad["problem"] == "bad_row" and "split" in bad["problem_detail"]
    assert "problem" not in good and good["split"] == "träning_2"


def test_splits_by_the_thousand_are_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text("\n".join(json.dumps({"uri": f"{n}.glb", "split": f"s{n % 150}"}) for n in range(300)))
    rows = read_source(str(path))
    assert len({row["split"] for row in rows if "problem" not in row}) == 100
    assert sum(row.get("problem") == "bad_row" for row in rows) == 100


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"id": "i" * 1001}, "the id has 1,001 characters"),
        ({"id": "a\x1b[31m"}, "the id has control characters"),
        ({"id": "a\u202egpj.exe"}, "the id has control characters"),
        ({"id": "a\0"}, "the id has control characters"),
        ({"uri": "a\0.glb"}, "null character"),
        ({"uri": "a\n.glb"}, "the id has control characters"),
        ({"category": "c" * 5_000_000}, "category has 5,000,000 characters"),
        ({"licence": "c" * 1001}, "licence has"),
        ({"group": "c" * 1001}, "group has"),
        ({"caption": "c" * 1_000_001}, "the row has 1,000,"),
        ({"tags": ["t"] * 500_000}, "the row has"),
        ({"maker": ["m" * 1_000_000]}, "the row has"),
        ({"tags": {"a": "b" * 1_000_000}}, "tags is"),
    ],
)  # fmt: skip
def test_values_that_could_not_be_stored_or_shown_are_bad_rows(tmp_path: Path, row: dict, what: str) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text(json.dumps({"uri": "a.glb"} | row) + '\n{"uri": "b.glb"}\n')
    bad, good = read_source(str(path))
    assert bad["problem"] == "bad_row" and what in bad["problem_detail"] and "problem" not in good
    assert all(len(str(value)) <= 1_000 and str(value).isprintable() for value in bad.values())
    assert len(update_listing(open_store(tmp_path / "run"), [bad, good], epoch=1)) == 2


def test_hostile_names_in_a_folder(tmp_path: Path) -> None:
    write(tmp_path, "two\nlines.glb", "red\x1b[31m.glb", "n" * 251 + ".glb", "fine.glb")
    os.mkfifo(tmp_path / "pipe.glb")
    rows = {row["id"]: row.get("problem") for row in read_source(str(tmp_path))}
    assert rows == {
        "fine.glb": None, "n" * 251 + ".glb": None, "pipe.glb": None,  # which ingest refuses
        "red\\x1b[31m.glb": "bad_row", "two\\nlines.glb": "bad_row",
    }  # fmt: skip


def test_a_list_that_is_a_pipe_or_a_device_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "list.jsonl")
    (tmp_path / "list.csv").symlink_to("/dev/zero")
    for name in ("list.jsonl", "list.csv"):
        with pytest.raises(SourceError, match="not a regular file"):
            read_source(str(tmp_path / name))


def test_an_endless_line_costs_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_files, "_LONGEST_LINE", 1000)
    path = tmp_path / "list.jsonl"
    path.write_text('{"uri": "a.glb"}\n{"uri": "' + "b" * 10_000 + '"}\n{"uri": "c.glb"}')
    rows = read_source(str(path))
    assert [(row["id"], row.get("problem")) for row in rows] == [
        ("a.glb", None),
        ("line 2", "bad_row"),
        ("c.glb", None),
    ]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_columns_have_a_limit(tmp_path: Path, ending: str) -> None:
    names = ["uri", *(f"c{number}" for number in range(1000))]
    if ending == "csv":
        (tmp_path / "list.csv").write_text(",".join(names) + "\n")
    else:
        pq.write_table(pa.table({name: ["x"] for name in names}), tmp_path / "list.parquet")
    with pytest.raises(SourceError, match="1,001 columns"):
        read_source(str(tmp_path / f"list.{ending}"))


def test_a_parquet_list_that_expands_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_files, "_SLACK", 1 << 20)
    uris = [f"{number}.glb" for number in range(2_000)]
    pq.write_table(pa.table({"uri": uris, "caption": ["w" * 10_000] * 2_000}), tmp_path / "list.parquet")
    assert (tmp_path / "list.parquet").stat().st_size < 100_000
    with pytest.raises(SourceError, match="more than 100 times the size of the file"):
        read_source(str(tmp_path / "list.parquet"))


def test_a_parquet_list_may_have_any_type(tmp_path: Path) -> None:
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ones((2, 2, 3), np.float32))
    columns = {
        "uri": pa.array(["a.glb", "b.glb"]).dictionary_encode(),
        "id": pa.array([b"one", b"two"]),
        "tensor": tensor,
        "uuid": pa.array([uuid.uuid4().bytes] * 2, pa.uuid()),
        "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
        "when": pa.array([0, 1], pa.timestamp("ns")),
        "price": pa.array([Decimal("1.5"), None]),
        "nested": pa.array([{"a": [{"b": float("nan")}]}, None]),
    }
    pq.write_table(pa.table(columns), tmp_path / "list.parquet")
    rows = read_source(str(tmp_path / "list.parquet"))
    assert [row.get("problem") for row in rows] == [None, None]
    assert len(update_listing(open_store(tmp_path / "run"), rows, epoch=1)) == 2


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "csv"])
def test_a_list_gives_captions_in_every_shape(tmp_path: Path, ending: str) -> None:
    given = [["an iron anvil", "a grey anvil"], [{"text": "a keg", "kind": "short"}]]
    path = tmp_path / f"list.{ending}"
    if ending == "jsonl":
        path.write_text("".join(json.dumps({"uri": "a.glb", "captions": value}) + "\n" for value in given))
    elif ending == "csv":
        cells = [json.dumps(value).replace('"', '""') for value in given]
        path.write_text("uri,captions\n" + "".join(f'a.glb,"{cell}"\n' for cell in cells))
    else:
        texts = [[{"text": text, "kind": None} for text in given[0]], given[1]]
        pq.write_table(pa.table({"uri": ["a.glb"] * 2, "captions": texts}), path)
    captions = [captions_in(row["caption"]) for row in read_source(str(path))]
    assert captions == [[{"text": text} for text in given[0]], given[1]]


def test_columns_of_other_names_are_captions_too(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text('{"uri": "a.glb", "description": "An anvil of iron.", "caption": "an anvil", "text": "a block"}\n')
    (row,) = read_source(str(path))
    assert [caption["text"] for caption in captions_in(row["caption"])] == ["an anvil", "a block", "An anvil of iron."]
    assert "extra" not in row


@pytest.mark.parametrize("value", [{"en": "a keg"}, 7, [["a"]], [{"text": "a", "kind": "two words"}]])
def test_captions_of_another_shape_are_a_bad_row(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text(json.dumps({"uri": "a.glb", "caption": value}) + '\n{"uri": "b.glb", "caption": "a keg"}\n')
    bad, good = read_source(str(path))
    assert bad["problem"] == "bad_row" and bad["id"] == "a.glb"
    assert "expected a text, a list of texts, or a list of {text, kind}" in bad["problem_detail"]
    assert good["caption"] == "a keg" and "problem" not in good


def test_ids_without_an_id_never_have_the_path_of_the_machine(tmp_path: Path) -> None:
    names = ["chairs/a.glb", "tables/b.glb"]
    write(tmp_path, *(f"meshes/{name}" for name in names))

    def ids(folder: str, *given: dict[str, str]) -> list[str]:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
        rows = read_source(str(tmp_path / folder / "list.jsonl"))
        assert all(str(tmp_path) not in row.get("source", row["id"]) for row in rows)
        assert not [row for row in rows if "path" in row]
        return [row["id"] for row in rows]

    absolute = [{"path": f"{tmp_path}/meshes/{name}"} for name in names]
    assert ids(".", *absolute) == [f"meshes/{name}" for name in names]  # below the list's folder
    assert ids("lists", *absolute) == names  # below the folder that they share
    assert ids("lists", {"path": f"file://{tmp_path}/meshes/chairs/a.glb"}) == ["a.glb"]
    assert ids("lists", *absolute, {"path": "chairs/a.glb"}) == [*(f"meshes/{name}" for name in names), "chairs/a.glb"]
    assert ids("lists", absolute[0] | {"id": "mine"}, absolute[0] | {"up": "x"}) == ["mine", "a.glb"]


def test_a_folder_says_how_many_files_it_leaves_out(tmp_path: Path) -> None:
    write(tmp_path, "a/x.glb", "b/y.stl", "a/notes.txt", "c.fbx", "README", ".DS_Store", "list.csv", "bin/z.bin")
    write(tmp_path, *(f"b/{number}.JPG" for number in range(12)), "a/photo.png", "a/textures/wood grain.png")
    (tmp_path / "a" / "m.gltf").write_text('{"images": [{"uri": "textures/wood%20grain.png"}]}')
    write(tmp_path, "a/m.bin", "a/m.mtl", "a/\x1b[31m.\x1b[0m")
    told: list[str] = []
    read_source(str(tmp_path), tell=told.append)
    assert told == [
        f"{tmp_path}: 19 files are left out: .jpg 12, .bin 1, .csv 1, .fbx 1, .png 1, .txt 1, no ending 1, other 1; "
        f"a list or an archive is a source of its own: --source FILE; {CONVERT}"
    ]
    for source in (tmp_path / "c.fbx", tmp_path / "bin"):
        with pytest.raises(SourceError, match=r"no mesh found.*1 file is left out: .bin 1$|python -m pipeline convert"):
            read_source(str(source))


def test_of_many_files_that_may_name_textures_none_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(left_out, "_MOST_READ", 1)
    write(tmp_path, "1.glb", "2.glb", "photo.png", "notes.txt")
    told: list[str] = []
    read_source(str(tmp_path), tell=told.append)
    assert told == [f"{tmp_path}: 1 file is left out: .txt 1"]
