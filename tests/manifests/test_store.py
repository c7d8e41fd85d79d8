"""The store on a disk and behind a URI: whole files or none, and the first one wins."""

from __future__ import annotations

import resource
import threading
import uuid
from pathlib import Path

import fsspec
import pytest

from manifests.store import Store, open_store


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return open_store(tmp_path)
    return open_store(f"{request.getfixturevalue('bucket')}/{uuid.uuid4().hex}")


def test_what_is_written_is_read_and_listed(store: Store) -> None:
    store.replace("a/b/one.bin", b"1")
    store.replace("a/b/one.bin", b"22")
    assert store.create("a/two.bin", b"333")
    assert store.read("a/b/one.bin") == b"22"
    assert store.list("a") == {"a/b/one.bin": 2, "a/two.bin": 3}
    assert (store.size("a/two.bin"), store.size("a/three.bin")) == (3, None)
    with store.open("a/b/one.bin") as file:
        file.seek(1)
        assert file.read() == b"2"
    assert store.exists("a/two.bin") and not store.exists("a/three.bin")
    store.delete("a/two.bin")
    store.delete("a/two.bin")
    assert store.list("a") == {"a/b/one.bin": 2}
    assert store.list("nothing") == {}
    with pytest.raises(FileNotFoundError):
        store.read("a/two.bin")


def test_create_never_changes_what_is_there(store: Store) -> None:
    assert store.create("x/file", b"first")
    assert not store.create("x/file", b"second")
    assert store.read("x/file") == b"first"


def test_one_of_many_creators_wins(store: Store) -> None:
    won: list[int] = []

    def create(number: int) -> None:
        if store.create("race", str(number).encode()):
            won.append(number)

    threads = [threading.Thread(target=create, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.read("race") == str(won[0]).encode()


def test_upload_brings_a_local_file_in(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "draft"
    path.write_bytes(b"shard")
    store.upload("dataset/data/shard.parquet", path)
    assert store.read("dataset/data/shard.parquet") == b"shard"
    assert not path.exists()


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file where a folder should be")
    store = open_store(tmp_path)
    with pytest.raises(OSError):
        store.create("blocked/file", b"data")
    assert store.list("") == {"blocked": 31}


def test_errors_of_an_object_store_out_of_reach_are_os_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.config.conf["s3"] = {"config_kwargs": {"retries": {"max_attempts": 0}}, "skip_instance_cache": True}
    try:
        with pytest.raises(OSError, match="x/y"):
            open_store("s3://nowhere/run").read("x/y")
    finally:
        del fsspec.config.conf["s3"]


def test_a_file_that_cannot_be_written_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    store, (soft, hard) = open_store(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))  # as a full disk, the system then names no file
    try:
        with pytest.raises(OSError, match="a/big.bin"):
            store.replace("a/big.bin", b"1" * 2_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.list("") == {}


def test_names_outside_the_folder_are_none_of_the_store(tmp_path: Path) -> None:
    store = open_store(tmp_path / "run")
    (tmp_path / "secret").write_text("outside")
    assert store.size("../secret") is None
    for name in ("../secret", "a/../../secret", str(tmp_path / "secret")):
        with pytest.raises(FileNotFoundError):
            store.read(name)
