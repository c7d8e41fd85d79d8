"""Zip and tar archives: members are read in place, and hostile archives cost a row or are refused in a line."""

from __future__ import annotations

import gzip
import io
import os
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from manifests import sources
from manifests.archives import archive as archives
from manifests.archives import gunzipped
from manifests.archives.address import Member, address_of, local_file, member_of
from manifests.archives.archive import ArchiveError, MemberError, open_archive
from manifests.archives.gunzipped import Gunzipped
from manifests.sources import SourceError

read_source = partial(sources.read_source, endings=(".glb", ".gltf", ".obj"))
FILES = {"chairs/a.glb": b"a" * 3000, "b.obj": b"b", "b.mtl": b"m", "notes.txt": b"n", "chairs/big.bin": b"012345678"}


def pack(path: Path, files: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    else:
        with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as tar:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


def content(path: Path, name: str) -> bytes:
    with open_archive(str(path)).open(name) as stream:
        return stream.read()


@pytest.mark.parametrize("name", ["m.zip", "m.tar", "m.tar.gz", "m.TGZ"])
def test_members_are_rows_and_are_read_in_any_order(tmp_path: Path, name: str) -> None:
    path = pack(tmp_path / name, FILES | {"__MACOSX/chairs/._a.glb": b"", "chairs/._a.glb": b""})
    told: list[str] = []
    rows = read_source(str(path), tell=told.append)
    assert [row["id"] for row in rows] == ["b.obj", "chairs/a.glb"]
    assert [row["source"] for row in rows] == ["b.obj", "chairs/a.glb"]
    member = member_of(rows[1]["uri"])
    assert member == Member("chairs/a.glb", str(path)) and local_file(rows[1]["uri"]) == str(path)
    assert told == [f"{path}: 1 file is left out: .txt 1"]
    for each in [*FILES, *reversed(FILES)]:
        assert content(path, each) == FILES[each]
    assert open_archive(str(path)).find("CHAIRS/A.GLB") == "chairs/a.glb"


def test_a_list_may_name_members(tmp_path: Path) -> None:
    pack(tmp_path / "m.zip", FILES)
    (tmp_path / "list.csv").write_text("path\nzip://chairs/a.glb::m.zip\n")
    (row,) = read_source(str(tmp_path / "list.csv"))
    assert row == {
        "id": "m.zip/chairs/a.glb",
        "uri": address_of(Member("chairs/a.glb", str(tmp_path / "m.zip"))),
        "source": "m.zip/chairs/a.glb",
    }
    (tmp_path / "list.csv").write_text("path\nzip://a.glb::s3://b/m.zip\n/abs/b.glb\n")
    remote, local = read_source(str(tmp_path / "list.csv"))  # ingest refuses the first
    assert (remote["uri"], local["id"]) == ("zip:///a.glb::s3://b/m.zip", "b.glb")


def test_names_that_lead_out_of_an_archive_cost_their_row(tmp_path: Path) -> None:
    path = pack(tmp_path / "m.zip", {"../../etc/x.glb": b"x", "/abs.glb": b"y", "a\\b.glb": b"z", "./c.glb": b""})
    rows = {row["id"]: row.get("problem", "") for row in read_source(str(path))}
    assert rows == {"../../etc/x.glb": "bad_row", "abs.glb": "", "a/b.glb": "", "c.glb": ""}


def encrypted(path: Path) -> None:
    pack(path, {"a.glb": b"secret"})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)


def zip_link(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("a.glb")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")


def tar_link(path: Path, kind: bytes = tarfile.SYMTYPE) -> None:
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("a.glb")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)


def wrong_checksum(path: Path) -> None:
    pack(path, {"a.glb": b"abc" * 100})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 16] ^= 1
    path.write_bytes(data)


def unlimited_compression(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a.glb", b"\0" * 10_000)


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("a.zip", encrypted, "unreadable"),
        ("a.zip", zip_link, "not_a_file"),
        ("a.zip", wrong_checksum, "corrupt_file"),
        ("a.zip", unlimited_compression, "unsupported"),
        ("a.tar", tar_link, "not_a_file"),
        ("a.tar", partial(tar_link, kind=tarfile.LNKTYPE), "not_a_file"),
        ("a.tar", partial(tar_link, kind=tarfile.FIFOTYPE), "not_a_file"),
    ],
)
def test_a_member_that_cannot_be_read_costs_its_row(
    tmp_path: Path, name: str, make: Callable[[Path], None], reason: str
) -> None:
    make(tmp_path / name)
    assert len(read_source(str(tmp_path / name))) == 1
    with pytest.raises(MemberError) as caught:
        content(tmp_path / name, "a.glb")
    assert caught.value.reason == reason


def test_a_directory_without_end_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = tarfile.TarInfo("a.glb").tobuf()
    header = bytearray(huge)
    header[156:157] = tarfile.XHDTYPE
    header[124:136] = b"%011o\0" % (4 << 30)
    header[148:156] = b"%06o\0 " % (256 + sum(header[:148]) + sum(header[156:]))
    for name, data in {"huge.tar": bytes(header), "huge.tgz": gzip.compress(bytes(header))}.items():
        (tmp_path / name).write_bytes(data + bytes(1024))
        with pytest.raises(SourceError, match="a header .*of 4,294,967,296 bytes"):
            read_source(str(tmp_path / name))
    monkeypatch.setattr(archives, "MOST_MEMBERS", 10)
    many = {f"{number}.glb": b"" for number in range(11)}
    for name in ("many.zip", "many.tar", "many.tgz"):
        with pytest.raises(SourceError, match=r"more than 10 members; divide it, or unpack it into a folder"):
            read_source(str(pack(tmp_path / name, many)))
    with tarfile.open(tmp_path / "folders.tar", "w") as tar:
        for number in range(11):
            folder = tarfile.TarInfo(f"folder{number}")
            folder.type = tarfile.DIRTYPE
            tar.addfile(folder)
    with tarfile.open(tmp_path / "same.tar", "w") as tar:
        for _ in range(11):
            tar.addfile(tarfile.TarInfo("a.glb"))
    for name in ("folders.tar", "same.tar"):
        with pytest.raises(SourceError, match="more than 10 members"):
            read_source(str(tmp_path / name))
    monkeypatch.setattr(archives, "_LARGEST_READ", 100)
    with pytest.raises(SourceError, match="a header or a directory of 5"):
        read_source(str(pack(tmp_path / "long.zip", many)))


def test_a_tar_gz_that_unfolds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_SLACK", 1 << 20)
    path = pack(tmp_path / "bomb.tar.gz", {"a.glb": bytes(30 << 20)})
    with pytest.raises(SourceError, match=r"bytes uncompressed: more than 100 times its size; unpack it yourself"):
        read_source(str(path))


@pytest.mark.parametrize("name", ["m.zip", "m.tar", "m.tar.gz"])
def test_damaged_archives_are_refused_or_cost_rows(tmp_path: Path, name: str) -> None:
    whole = pack(tmp_path / name, FILES).read_bytes()
    random_ = random.Random(name)
    for number in range(120):
        data = bytearray(whole[: random_.randrange(len(whole))] if number % 3 == 0 else whole)
        for _ in range(number % 4):
            if data:
                data[random_.randrange(len(data))] ^= 1 << random_.randrange(8)
        path = tmp_path / f"{number}-{name}"
        path.write_bytes(data)
        try:
            archive = open_archive(str(path))
            for member in archive.members:
                assert archive.size(member) < 1 << 40
                with archive.open(member) as stream:
                    stream.read(1 << 20)
        except (ArchiveError, MemberError):
            pass


def test_a_damaged_archive_is_read_once_for_all_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack(tmp_path / "m.tgz", FILES)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ArchiveError, match="it ends early"):
        open_archive(str(path))
    monkeypatch.setattr(archives, "Gunzipped", None)
    with pytest.raises(ArchiveError, match="it ends early"):
        open_archive(str(path))


def test_what_is_no_archive_is_refused_in_a_line(tmp_path: Path) -> None:
    for name in ("a.zip", "a.tar", "a.tgz"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(SourceError, match="damaged, or not an archive of its ending|no mesh found"):
            read_source(str(tmp_path / name))
    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(SourceError, match="not a regular file"):
        read_source(str(tmp_path / "pipe.zip"))
    for name, problem in {"a.7z": "unpack it", "no.zip": "No such file", "s3://bucket/a.zip": "local disk"}.items():
        with pytest.raises(SourceError, match=problem):
            read_source(name if "://" in name else str(tmp_path / name))


def test_a_gzip_file_is_read_from_any_position(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gunzipped, "_BLOCK", 1000)
    monkeypatch.setattr(gunzipped, "_INPUT", 100)
    monkeypatch.setattr(gunzipped, "_APART", 3000)
    monkeypatch.setattr(gunzipped, "_MOST_COPIES", 8)
    random_ = random.Random(5)
    data = b"".join(struct.pack("<H", random_.randrange(3000)) for _ in range(30_000))
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(data[:20_000]) + gzip.compress(data[20_000:]) + bytes(700))
    with open(path, "rb") as file:
        found = Gunzipped(file, 1 << 30, 1 << 20)
        for _ in range(200):
            begin, size = random_.randrange(len(data) + 100), random_.randrange(5000)
            found.seek(begin)
            assert found.read(size) == data[begin : begin + size]
            assert found.tell() == min(begin + size, max(begin, len(data)))
