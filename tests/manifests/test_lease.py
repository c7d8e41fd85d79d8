"""One driver a run: who may take the lease, when, and which error a superseded driver gets."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from manifests.lease import Lease, LeaseLost, RunBusy, damaged_files, find_holder, read_bounds
from manifests.log import Log
from manifests.records import OK, Record
from manifests.store import open_store


def pretend_elsewhere(root: Path) -> None:
    """The newest holder is on another host, where its process cannot be looked at."""
    claim = sorted(path for path in (root / "manifest" / "lease").iterdir() if "beat" not in path.name)[-1]
    claim.write_text(json.dumps({**json.loads(claim.read_text()), "place": "elsewhere"}))


def test_epochs_follow_each_other_and_a_released_run_is_free_at_once(tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        lease = Lease.acquire(open_store(tmp_path))
        assert lease.epoch == epoch
        assert find_holder(lease.store).at_work
        lease.release()
        assert not find_holder(lease.store).at_work


def test_a_held_run_is_refused_with_its_holder(tmp_path: Path) -> None:
    lease = Lease.acquire(open_store(tmp_path))
    with pytest.raises(RunBusy, match="another build is at work"):
        Lease.acquire(open_store(tmp_path))
    lease.release()


def test_a_holder_elsewhere_that_shows_life_is_respected(tmp_path: Path) -> None:
    lease = Lease.acquire(open_store(tmp_path))
    pretend_elsewhere(tmp_path)
    with pytest.raises(RunBusy):
        Lease.acquire(open_store(tmp_path), wait_seconds=10)
    lease.release()


def test_a_silent_holder_elsewhere_loses_the_run_and_is_told(tmp_path: Path) -> None:
    first = Lease.acquire(open_store(tmp_path))
    first._stop.set()  # as if its host had stopped
    first._thread.join()
    pretend_elsewhere(tmp_path)
    second = Lease.acquire(open_store(tmp_path), wait_seconds=1)
    assert second.epoch == 2
    second.check()
    with pytest.raises(LeaseLost, match="taken for dead"):
        first.check()
    second.release()


def test_what_counts_of_earlier_epochs_is_fixed_when_the_run_is_taken(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    Lease.acquire(store).release()
    old = Log(store, epoch=1)
    old.add(Record("a", "fit", "k", OK))
    old.flush()
    second = Lease.acquire(store)
    old.add(Record("b", "fit", "k", OK))
    old.flush()
    second.release()
    third = Lease.acquire(store)
    assert third.bounds == {1: 1, 2: 0}
    assert read_bounds(store) == {1: 1, 2: 0}
    third.release()


def test_one_of_many_drivers_gets_the_run(tmp_path: Path) -> None:
    got: list[Lease] = []
    refused: list[RunBusy] = []

    def take() -> None:
        try:
            got.append(Lease.acquire(open_store(tmp_path), wait_seconds=0.1))
        except RunBusy as busy:
            refused.append(busy)

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 5)
    got[0].release()


@pytest.mark.parametrize("file", ["00000001.json", "00000001-beat.json"])
@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"null", b"{}", b"{", b"7", b"\xff", b"[" * 100_000, b'{"bounds": 3}', b'{"host": 5, "pid": "x"}',
        b'{"host": "a", "pid": 1e400, "place": [], "process": {}}',
        b'{"count": 1, "time": "x", "released": false}', b'{"count": 1, "time": 1e400, "released": false}',
        b'{"count": 1, "time": NaN, "released": false}', b'{"count": 1, "time": 1, "released": 2, "bounds": {"x": 1}}',
        b'{"count": 1, "time": 1, "released": false, "bounds": {"1": "x"}}',
    ],
)  # fmt: skip
def test_a_damaged_lease_is_named_and_taken_over(tmp_path: Path, file: str, content: bytes) -> None:
    store = open_store(tmp_path)
    Lease.acquire(store).release()
    claim = json.loads(store.read("manifest/lease/00000001.json"))
    store.replace("manifest/lease/00000001.json", json.dumps({**claim, "process": "ended"}).encode())
    store.replace(f"manifest/lease/{file}", content)
    assert damaged_files(store) == [f"manifest/lease/{file}"]
    assert not find_holder(store).at_work
    following = Lease.acquire(store, wait_seconds=0.01)
    assert following.epoch == 2 and following.bounds == {1: 0}
    following.release()
    assert damaged_files(store) == []


def test_a_lease_of_a_huge_epoch_is_followed_by_a_larger_one(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.replace("manifest/lease/99999999.json", b"{}")
    for epoch in (10**8, 10**8 + 1):
        lease = Lease.acquire(store, wait_seconds=0.01)
        assert lease.epoch == epoch
        lease.release()


def test_a_clock_before_1970_makes_no_heartbeat_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: -96_260_527.5)
    lease = Lease.acquire(open_store(tmp_path))
    lease.release()
    assert damaged_files(lease.store) == [] and find_holder(lease.store).gone
