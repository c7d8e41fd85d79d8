"""The artifacts of stages: what is damaged is told by one kind of error, whatever is damaged."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from manifests.outcomes import DamagedFile
from stages.artifacts import bundle, vectors
from stages.artifacts.splat import Splat
from stages.artifacts.views import Views
from stages.meshes.formats import read_mesh
from stages.meshes.model import Limits


def png(mode: str) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((8, 8), 50).convert(mode).save(file, "png")
    return file.getvalue()


def views() -> bytes:
    eye = np.eye(4, dtype=np.float32)
    cameras = np.stack([eye[:3, :3]] * 2), np.stack([eye] * 2)
    return Views([png("RGBA")] * 2, [png("I;16")] * 2, *cameras, 0.5, np.eye(4)).to_bytes()


def splat() -> bytes:
    shapes = {"means": (3,), "log_scales": (3,), "quaternions": (4,), "opacity_logits": (), "sh": (4, 3)}
    return Splat(**{name: np.ones((5, *shape), np.float32) for name, shape in shapes.items()}).to_ply()


def see(data: bytes) -> None:
    seen = Views.from_bytes(data)
    seen.color_pixels(), seen.depth_pixels(), seen.pictures()


READERS: dict[str, tuple[bytes, Callable[[bytes], Any]]] = {
    "zip": (bundle.pack({"mesh.obj": b"v 0 0 0\n" * 20, "a.png": png("RGB")}), bundle.unpack),
    "mesh": (
        bundle.pack({"mesh.obj": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"}),
        lambda data: read_mesh(data, "mesh.obj", "obj", Limits(9, 9, 9, 9), 64),
    ),
    "views": (views(), see),
    "splat": (splat(), Splat.from_ply),
    "vectors": (vectors.to_bytes(np.eye(3, 8)), vectors.from_bytes),
}


@pytest.mark.parametrize("kind", READERS)
def test_whatever_is_damaged_there_is_one_error(kind: str) -> None:
    data, read = READERS[kind]
    read(data)
    drawn = random.Random(7)
    for number in range(400):
        harmed = bytearray(data)
        for _ in range(drawn.choice([1, 1, 1, 4])):
            harmed[drawn.randrange(len(data))] = drawn.choice([0, 255, drawn.randrange(256)])
        if number % 4 == 0:
            del harmed[drawn.randrange(len(data)) :]
        try:
            read(bytes(harmed))
        except ValueError:  # DamagedFile is one
            continue


def zip_with(data: bytes, mark: bytes, at: int, value: bytes) -> bytes:
    """A zip with other bytes at this distance from the first of its local headers or directory entries."""
    place = data.index(mark) + at
    return data[:place] + value + data[place + len(value) :]


LOCAL, ENTRY = b"PK\3\4", b"PK\1\2"
HARMS = {
    "local name": (LOCAL, 30, b"x"),
    "local compressed": (LOCAL, 8, b"\x08\0"),
    "entry encrypted": (ENTRY, 8, b"\1"),
    "entry of version 99": (ENTRY, 6, b"\x63"),
    "entry compressed": (ENTRY, 10, b"\x08\0"),
    "entry of an unknown method": (ENTRY, 10, b"\x61\0"),
    "entry's checksum": (ENTRY, 16, b"\0\0\0\0"),
    "entry of 4 GB": (ENTRY, 20, b"\xfe\xff\xff\xff\xfe\xff\xff\xff"),
    "entry's name": (ENTRY, 46, b"\xff"),
    "entry's offset": (ENTRY, 42, b"\xff\xff\xff\x7f"),
    "entry's extra field": (ENTRY, 30, b"\xff\xff"),
    "end's disk": (b"PK\5\6", 6, b"\xff"),
    "end's count": (b"PK\5\6", 10, b"\1"),
    "end's offset": (b"PK\5\6", 16, b"\xff\xff\xff\xff"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_zip_whose_headers_are_flipped_is_damaged_or_has_the_same_members(harm: str) -> None:
    data, unpack = READERS["zip"]
    whole = unpack(data)
    try:
        assert unpack(zip_with(data, *HARMS[harm])) == whole
    except DamagedFile:
        assert harm not in ("end's disk", "local compressed")


def test_a_zip_that_declares_gigabytes_is_not_unpacked() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mesh.obj", bytes(1 << 24))
    with pytest.raises(DamagedFile, match=r"mesh\.obj is compressed"):
        bundle.unpack(file.getvalue())


def test_a_zip_that_names_a_member_twice_is_damaged() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("mesh.obj", b"one")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("mesh.obj", b"two")
    with pytest.raises(DamagedFile, match="a name is there twice"):
        bundle.unpack(file.getvalue())


def test_an_array_that_declares_more_than_it_holds_takes_no_memory() -> None:
    header = b"{'descr': '<f2', 'fortran_order': False, 'shape': (1000000000, 1000000), }"
    with pytest.raises(DamagedFile):
        vectors.from_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + b"\0" * 16)
    with pytest.raises(DamagedFile, match="infinite or NaN"):
        vectors.from_bytes(vectors.to_bytes(np.full((2, 4), np.nan)))
