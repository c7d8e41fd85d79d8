"""Hostile data for the decoders of KTX2, Draco and meshopt, within glTF that is otherwise right."""

from __future__ import annotations

import copy
import struct
from collections.abc import Callable
from random import Random

import DracoPy
import numpy as np

from tests.fuzz.generators.gltf import glb, text_of
from tests.fuzz.generators.noise import harmed
from tests.fuzz.generators.values import NUMBERS, floats, some
from tests.fuzz.seeds import Files, textured_glb
from tests.stages.meshes import Gltf, blocks, cube
from tests.stages.packing import ETC1S_QUARTERS, packed_cube, uastc

_PALETTE = np.random.default_rng(6).integers(0, 256, (4, 4, 4)).astype(np.uint8)
_NUMBERS = (0, 1, 2, 3, 4, 16, 255, 65_535, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)


def ktx2_picture(random: Random) -> bytes:
    return random.choice(
        (
            ETC1S_QUARTERS,
            uastc(blocks(_PALETTE, 2)),
            uastc(_PALETTE, zstandard=True),
            uastc(blocks(_PALETTE, 2), _PALETTE),
        )
    )


def ktx2(random: Random) -> Files:
    """Header, levels and data of KTX2."""
    data = bytearray(ktx2_picture(random))
    for _ in range(some(random, 4)):
        kind = random.randrange(3)
        if kind == 0:
            struct.pack_into("<I", data, 12 + 4 * random.randrange(17), random.choice(_NUMBERS))
        elif kind == 1:
            number = random.choice((*_NUMBERS, 1 << 40, (1 << 64) - 1))
            struct.pack_into("<Q", data, 80 + 8 * random.randrange(3), number)
        else:
            data = bytearray(harmed(bytes(data), random)).ljust(110, b"\0")
    return textured_glb(bytes(data))


def draco_data(random: Random) -> bytes:
    positions, _, _, faces = cube()
    if random.random() < 0.5:
        positions, faces = floats(random, 72).reshape(24, 3), faces[: random.randrange(1, 13)]
    positions = np.nan_to_num(positions.astype(np.float32), posinf=1, neginf=-1).clip(-1e6, 1e6)
    level = random.randrange(11)
    data = DracoPy.encode(
        positions, faces.astype(np.uint32), preserve_order=random.random() < 0.3, compression_level=level
    )
    return data if random.random() < 0.1 else harmed(data, random)


def draco(random: Random) -> Files:
    """Damaged Draco data, and accessors that say something else."""
    made = Gltf()
    said = {"componentType": 5126, "count": random.choice((24, 0, 3, 1 << 20)), "type": random.choice(("VEC3", "VEC2"))}
    indices = {"componentType": 5125, "count": random.choice((36, 0, 3, 1 << 20)), "type": "SCALAR"}
    ids = random.choice(({"POSITION": 0}, {"POSITION": 1}, {"NORMAL": 0}, {"POSITION": 0, "COLOR_0": 0}))
    extension = {"bufferView": made.view(draco_data(random)), "attributes": ids}
    primitive = {
        "attributes": {"POSITION": made.add("accessors", said)},
        "indices": made.add("accessors", indices),
        "extensions": {"KHR_draco_mesh_compression": extension},
    }
    made.node(mesh=made.add("meshes", {"primitives": [primitive]}))
    return {"mesh.glb": made.glb()}


def meshopt(random: Random) -> Files:
    """Damaged meshopt data, and settings that do not fit it."""
    extension = random.choice(("EXT_meshopt_compression", "KHR_meshopt_compression"))
    made = packed_cube(extension, random.choice(("TRIANGLES", "INDICES")))
    document, binary = copy.deepcopy(made.finished()), made.binary
    packed = [view["extensions"][extension] for view in document["bufferViews"] if "extensions" in view]
    for _ in range(some(random, 3)):
        settings = random.choice(packed)
        name = random.choice(("count", "byteStride", "byteLength", "byteOffset", "mode", "filter", "buffer", ""))
        if name in ("mode", "filter"):
            settings[name] = random.choice(
                (
                    "ATTRIBUTES",
                    "TRIANGLES",
                    "INDICES",
                    "NONE",
                    "OCTAHEDRAL",
                    "QUATERNION",
                    "EXPONENTIAL",
                    "COLOR",
                    "",
                    1,
                )
            )
        elif name:
            settings[name] = random.choice((*NUMBERS[:24], 4, 8, 12, 16, 24, 256, 260, [4], True))
        else:
            binary = harmed(binary, random)
    return {"mesh.glb": glb((0x4E4F534A, text_of(document)), (0x004E4942, binary))}


GENERATORS: dict[str, Callable[[Random], Files]] = {make.__name__: make for make in (ktx2, draco, meshopt)}
