"""The listing: numbers for life, withdrawn rows remembered, a damaged file survived."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from manifests.listing import (
    DamagedListing,
    RowChanges,
    damaged_files,
    read_listing,
    require_listing,
    revise,
    update_listing,
    with_earlier_names,
)
from manifests.store import open_store


def rows(*names: str) -> list[dict[str, object]]:
    return [{"id": name, "uri": f"/m/{name}", "extra": {"size": 3}} for name in names]


def numbers(root: Path) -> dict[str, int]:
    listing = read_listing(open_store(root))
    return dict(zip(listing.ids.to_pylist(), listing.sequences.tolist(), strict=True))


def test_numbers_are_given_once_and_for_life(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    update_listing(store, rows("a", "b", "c"), epoch=1)
    update_listing(store, rows("c", "d"), epoch=2)
    assert numbers(tmp_path) == {"c": 2, "d": 3}
    update_listing(store, rows("b", "e", "c"), epoch=3)
    assert numbers(tmp_path) == {"b": 1, "c": 2, "e": 4}


@pytest.mark.parametrize(
    ("up", "expected"),
    [
        ("y", [None, None, "z", "y", None, "auto", None]),
        ("z", ["z", "z", "z", "y", "z", "auto", "z"]),
        ("auto", ["auto", None, "z", "y", None, "auto", None]),
    ],
)
def test_up_of_a_source_is_that_of_rows_without_one(up: str, expected: list[str | None], tmp_path: Path) -> None:
    """`auto` leaves files alone that have y up by definition. The stored listing stays as the source has it."""
    given = rows("a.stl", "b.GLB", "c.stl", "d.stl", "e.gltf?key=1", "f.stl", "g.glb")
    given[2]["up"], given[3]["up"], given[5]["up"] = "z", "y", "auto"
    given[6]["uri"] = "zip:///g.glb::/m.zip"
    listing = update_listing(open_store(tmp_path), given, epoch=1)
    assert [row.get("up") for row in listing.with_up(up, (".glb", ".gltf")).rows([*range(7)])] == expected
    assert [row.get("up") for row in listing.rows([*range(7)])] == [None, None, "z", "y", None, "auto", None]


def test_rows_come_back_whole(tmp_path: Path) -> None:
    listing = update_listing(open_store(tmp_path), [{**rows("ä b")[0], "tags": ["x", "y"]}], epoch=1)
    assert listing.rows([0]) == [
        {
            "id": "ä b",
            "uri": "/m/ä b",
            "tags": ["x", "y"],
            "extra": {"size": 3},
            "sequence": 0,
            "withdrawn": False,
        }
    ]


def test_nothing_is_written_where_nothing_changed(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    update_listing(store, rows("a"), epoch=1)
    update_listing(store, rows("a"), epoch=2)
    assert [*store.list("manifest/rows")] == ["manifest/rows/00000001-copy.parquet", "manifest/rows/00000001.parquet"]


def test_a_damaged_listing_falls_back_to_the_one_before(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    update_listing(store, rows("a", "b"), epoch=1)
    update_listing(store, rows("b", "c"), epoch=2)
    for newest in sorted((tmp_path / "manifest" / "rows").iterdir())[-2:]:
        newest.write_bytes(b"PAR1 no more")
    assert numbers(tmp_path) == {"a": 0, "b": 1}


def test_a_revision_counts_what_it_would_change_and_writes_nothing(tmp_path):
    store = open_store(tmp_path)
    update_listing(store, [{**row, "tags": ["x"]} for row in rows("a", "b", "c")], epoch=1)
    named = [{**rows("a")[0], "tags": ["x"]}, {**rows("b")[0], "tags": ["x", "y"]}, *rows("d", "e")]
    revision = revise(store, named)
    assert revision.count() == RowChanges(before=3, added=2, withdrawn=1, changed=1)
    assert revision.listing.ids.to_pylist() == ["a", "b", "d", "e"]
    assert read_listing(store).ids.to_pylist() == ["a", "b", "c"]
    assert revise(store, [{**row, "tags": ["x"]} for row in rows("a", "b", "c")]).count() == RowChanges(3, 0, 0, 0)


def test_a_damaged_listing_is_read_from_its_copy_and_written_again(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    update_listing(store, rows("b", "a"), epoch=1)
    for damage in (b"", b"PAR1", store.read("manifest/rows/00000001.parquet")[:-30]):
        store.replace("manifest/rows/00000001.parquet", damage)
        assert damaged_files(store) == ["manifest/rows/00000001.parquet"]
        assert numbers(tmp_path) == {"b": 0, "a": 1}
        require_listing(store)
    update_listing(store, rows("a", "b"), epoch=2)
    assert numbers(tmp_path) == {"b": 0, "a": 1} and damaged_files(store) == []


def test_a_listing_that_cannot_be_read_is_not_an_empty_one(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    require_listing(store)  # there is none yet
    update_listing(store, rows("a"), epoch=1)
    update_listing(store, rows("a", "b"), epoch=2)
    for name in ("manifest/rows/00000002.parquet", "manifest/rows/00000002-copy.parquet"):
        store.replace(name, b"PAR1")
    with pytest.raises(DamagedListing, match=r"00000002\.parquet and its copy are damaged: give --source"):
        require_listing(store)


def test_flipped_bytes_of_a_listing_give_no_other_rows(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    update_listing(store, rows(*(f"row {number}" for number in range(50))), epoch=1)
    name, whole = "manifest/rows/00000001.parquet", numbers(tmp_path)
    data, drawn = store.read(name), random.Random(1)
    for _ in range(20):
        place = drawn.randrange(len(data))
        store.replace(name, data[:place] + bytes([data[place] ^ 1 << drawn.randrange(8)]) + data[place + 1 :])
        assert numbers(tmp_path) == whole and damaged_files(store) == [name]


def test_a_run_keeps_the_absolute_paths_that_it_has_as_names(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    earlier = [{"id": path, "uri": path, "source": path} for path in ("/m/a.glb", "/m/b.glb")]
    earlier += [{"id": "c", "uri": "/m/c.glb", "source": "file:///m/c.glb"}]
    listing = update_listing(store, earlier, epoch=1)
    now = [{"id": f"{name}.glb", "uri": f"/m/{name}.glb", "source": f"{name}.glb"} for name in "abd"]
    now += [{"id": "c", "uri": "/m/c.glb", "source": "c.glb"}, {"id": "mine", "uri": "/m/b.glb", "source": "b.glb"}]
    kept = with_earlier_names(now, listing)
    assert [(row["id"], row["source"]) for row in kept] == [
        ("/m/a.glb", "/m/a.glb"),
        ("/m/b.glb", "/m/b.glb"),
        ("d.glb", "d.glb"),
        ("c", "file:///m/c.glb"),
        ("mine", "b.glb"),
    ]
    assert with_earlier_names(now, read_listing(open_store(tmp_path / "new"))) == now
