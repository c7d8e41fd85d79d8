"""The log and its fold: the last record of a row counts, whatever became of parts and drivers."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pyarrow as pa
import pytest

from manifests.log import Log, LogReader, list_parts, read_fields, read_object
from manifests.records import FAILED, OK, Record
from manifests.store import open_store
from manifests.text import LONGEST


def record(name: str, key: str = "k", status: str = OK, stage: str = "fit", **more: object) -> Record:
    return Record(name, stage, key, status, **more)


def fold(
    root: Path, ids: list[str], stage: str = "fit", bounds: dict[int, int] | None = None
) -> dict[str, tuple[str, str]]:
    found = LogReader(open_store(root), bounds).latest_of(stage, pa.array(ids, pa.string()))
    records = found.records.to_pylist()
    return {
        ids[row]: (record["key"], record["status"]) for row, record in zip(found.rows.tolist(), records, strict=True)
    }


def test_the_last_record_of_a_row_counts(tmp_path: Path) -> None:
    log = Log(open_store(tmp_path), epoch=1)
    log.add(record("a", "1", FAILED, reason="broken"))
    log.add(record("b", "1"))
    log.flush()
    log.add(record("a", "2"))
    log.add(record("other stage", stage="render"))
    log.flush()
    later = Log(open_store(tmp_path), epoch=2)
    later.add(record("b", "3", FAILED, reason="broken"))
    later.flush()
    assert fold(tmp_path, ["b", "c", "a"]) == {"a": ("2", OK), "b": ("3", FAILED)}
    assert fold(tmp_path, ["other stage"], "render") == {"other stage": ("k", OK)}
    assert fold(tmp_path, [], "fit") == {}
    assert fold(tmp_path, ["a"], "never seen") == {}


def test_repeats_within_a_part_count_once_and_in_order(tmp_path: Path) -> None:
    log = Log(open_store(tmp_path), epoch=1)
    for number in range(50):
        log.add(record("a", str(number)))
    log.flush()
    assert fold(tmp_path, ["a"]) == {"a": ("49", OK)}
    assert LogReader(open_store(tmp_path)).latest("fit").num_rows == 1


def test_what_a_superseded_driver_wrote_after_it_lost_the_run_does_not_count(tmp_path: Path) -> None:
    log = Log(open_store(tmp_path), epoch=1)
    log.add(record("a", "in time"))
    log.flush()
    log.add(record("a", "too late"))
    log.flush()
    assert fold(tmp_path, ["a"], bounds={1: 1}) == {"a": ("in time", OK)}


def test_no_text_of_a_record_can_stop_the_log(tmp_path: Path) -> None:
    half = "half \ud83d"
    log = Log(open_store(tmp_path), epoch=1)
    texts = {"reason": half, "error": half + "x" * 25_000_000, "worker": half, "content": half}
    log.add(record("a", FAILED, columns={half: [half, {"n": float("nan"), "of": object()}]}, **texts))
    log.add(record(half, seen={"uri": half, "files": [(half, None, None)]}))
    log.add(record("b"))
    log.flush()
    (bad, other, good) = LogReader(open_store(tmp_path)).latest("fit").to_pylist()
    assert bad["error"].startswith("half x") and len(bad["error"]) == LONGEST
    assert [bad["id"], other["id"], good["id"]] == ["a", "half ", "b"]
    assert json.loads(other["seen"])["files"] == [[half, None, None]]  # as the file system knows it


def test_a_damaged_part_is_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = Log(open_store(tmp_path), epoch=1)
    for key in ("1", "2"):
        log.add(record("a", key))
        log.flush()
    part = sorted((tmp_path / "manifest" / "log" / "fit").iterdir())[-1]
    part.write_bytes(part.read_bytes()[:40])
    assert fold(tmp_path, ["a"]) == {"a": ("1", OK)}
    assert part.name in caplog.text


def test_flipped_bytes_of_a_part_give_no_other_record(tmp_path: Path) -> None:
    store, log = open_store(tmp_path), Log(open_store(tmp_path), epoch=1)
    for number in range(200):
        log.add(record(f"row {number}", f"key {number}", columns={"psnr": number}))
    log.flush()
    (part,) = list_parts(store)
    data, whole = store.read(part.name), LogReader(store).latest("fit").to_pylist()
    drawn = random.Random(3)
    for _ in range(20):
        place = drawn.randrange(len(data) - 1_000)  # what is stored, not how
        store.replace(part.name, data[:place] + bytes([data[place] ^ 1 << drawn.randrange(8)]) + data[place + 1 :])
        assert LogReader(store).latest("fit").to_pylist() in ([], whole)


def test_an_object_in_a_record_is_one_or_empty() -> None:
    assert read_object('{"a": 1}') == {"a": 1}
    assert [read_object(text) for text in ("", None, "[]", "null", "{", "[" * 100_000)] == [{}] * 6


@pytest.mark.parametrize("odd", ["", "torn", "[1]", '{"psnr": "x"}', '{"psnr": [1]}', '{"psnr": null}', '{"psnr": 1'])
def test_a_number_in_the_columns_is_read_also_beside_damaged_ones(odd: str) -> None:
    fields = pa.schema([("psnr", pa.float64()), ("ssim", pa.float64())])
    read = read_fields(['{"psnr": 20.5, "views": ["a"]}', odd, '{"ssim": 1, "psnr": 30}'], fields)
    assert read.to_pydict() == {"psnr": [20.5, None, 30.0], "ssim": [None, None, 1.0]}


def test_a_snapshot_stands_for_all_before_it(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    log = Log(store, epoch=1)
    for number in range(30):
        log.add(record(f"row {number % 7}", str(number), columns={"n": number}))
        log.flush()
    before = fold(tmp_path, [f"row {number}" for number in range(7)])
    later = Log(store, epoch=2)
    assert later.compact(list_parts(store))
    assert len(list_parts(store)) == 1
    assert fold(tmp_path, [f"row {number}" for number in range(7)]) == before
    later.add(record("row 0", "new"))
    later.flush()
    assert fold(tmp_path, ["row 0"]) == {"row 0": ("new", OK)}
    assert not later.compact(list_parts(store))


def test_a_crash_between_snapshot_and_deletion_changes_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    log = Log(store, epoch=1)
    for number in range(25):
        log.add(record("a", str(number)))
        log.flush()
    old = {name: store.read(name) for name in store.list("manifest/log")}
    Log(store, epoch=2).compact(list_parts(store))
    for name, data in old.items():
        store.replace(name, data)
    assert fold(tmp_path, ["a"]) == {"a": ("24", OK)}
