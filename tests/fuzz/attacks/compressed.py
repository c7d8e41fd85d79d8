"""Draco, meshopt and KTX2 that hold more, or less, than glTF says of them."""

from __future__ import annotations

import struct

import DracoPy
import numpy as np

from tests.fuzz.attacks.table import attack
from tests.fuzz.seeds import textured_glb
from tests.stages.meshes import Gltf, cube
from tests.stages.packing import packed_cube


@attack("gltf")
def draws_far_more_faces_than_declared() -> bytes:
    return _draco(DracoPy.encode(*sheet(500)), vertices=3, corners=3)


def sheet(side: int) -> tuple[np.ndarray, np.ndarray]:
    numbers = np.arange(side * side).reshape(side, side)
    a, b, c, d = (part.reshape(-1) for part in (numbers[:-1, :-1], numbers[1:, :-1], numbers[:-1, 1:], numbers[1:, 1:]))
    points = np.stack([*np.divmod(numbers.reshape(-1), side), numbers.reshape(-1) % 7], 1).astype(np.float32)
    return points, np.concatenate([np.stack([a, b, c], 1), np.stack([c, b, d], 1)]).astype(np.uint32)


def _draco(data: bytes, vertices: int, corners: int) -> bytes:
    made = Gltf()
    primitive = {
        "attributes": {"POSITION": made.add("accessors", {"componentType": 5126, "count": vertices, "type": "VEC3"})},
        "indices": made.add("accessors", {"componentType": 5125, "count": corners, "type": "SCALAR"}),
        "extensions": {"KHR_draco_mesh_compression": {"bufferView": made.view(data), "attributes": {"POSITION": 0}}},
    }
    made.node(mesh=made.add("meshes", {"primitives": [primitive]}))
    return made.glb()


@attack("compressed")
def one_draco_view_in_many_primitives() -> bytes:
    made = Gltf()
    view = made.view(DracoPy.encode(*sheet(300)))
    position = made.add("accessors", {"componentType": 5126, "count": 3, "type": "VEC3"})
    extension = {"KHR_draco_mesh_compression": {"bufferView": view, "attributes": {"POSITION": 0}}}
    primitives = [{"attributes": {"POSITION": position}, "extensions": extension}] * 200
    made.node(mesh=made.add("meshes", {"primitives": primitives}))
    return made.glb()


@attack("compressed")
def draco_of_points() -> bytes:
    return _draco(DracoPy.encode(cube()[0].astype(np.float32)), vertices=24, corners=36)


@attack("compressed")
def draco_header_declares_billions() -> bytes:
    return _draco(b"DRACO\2\2\1\1\0\0" + b"\xff\xff\xff\xff\x0f" * 8 + b"\0" * 64, vertices=24, corners=36)


@attack("compressed")
def meshopt_of_one_byte_becomes_gigabytes() -> bytes:
    made = packed_cube()
    settings = made.document["bufferViews"][0]["extensions"]["EXT_meshopt_compression"]
    settings |= {"count": 4_000_000, "byteStride": 256}
    made.document["bufferViews"][0]["byteLength"] = 1_024_000_000
    return made.glb()


@attack("compressed")
def ktx2_of_many_levels() -> bytes:
    header = struct.pack("<9I4I2Q", 0, 1, 1 << 31, 1 << 31, 0, 0, 1, 0xFFFFFFFF, 2, 0, 0, 0, 0, 0, 0)
    return textured_glb(b"\xabKTX 20\xbb\r\n\x1a\n" + header + b"\xff" * 1000)["mesh.glb"]
