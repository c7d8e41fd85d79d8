"""Files that declare much, or are made to take long, are refused with the right reason, or read, in little memory.

Peaks are of the memory that Python and NumPy allocate in the readers; nothing is drawn.
"""

import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.contract.stage import StageError
from tests.stages import meshes
from tests.stages.meshes import read_file

_MOST_BYTES = 64 << 20
_TRIANGLE = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
_PLY = (
    b"ply\nformat %b 1.0\nelement vertex %d\nproperty float x\nproperty float y\nproperty float z\n%b"
    b"element face %d\nproperty list %b int vertex_indices\nend_header\n"
)


def bomb(side: int) -> bytes:
    """A PNG of side x side black pixels, without ever holding them."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    rows = [packer.compress(b"\0" * (side // 8 + 1)) for _ in range(side)]
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    body = b"".join(rows) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def changed(change: Callable[[dict[str, Any]], Any]) -> bytes:
    made = meshes.cube_gltf()
    change(made.document)
    return made.glb()


def deep(levels: int) -> bytes:
    nodes = [{"children": [number + 1]} for number in range(levels)] + [{"mesh": 0}]
    return changed(lambda document: document.update(nodes=nodes))


def instanced(count: int) -> bytes:
    made = meshes.quad_gltf({})
    places = made.accessor(np.random.default_rng(0).random((count, 3)).astype(np.float32))
    made.document["nodes"][0]["extensions"] = {"EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": places}}}
    return made.glb()


def unbacked(count: int) -> Callable[[dict[str, Any]], Any]:
    def change(document: dict[str, Any]) -> None:
        document["accessors"][0]["count"] = count
        del document["accessors"][0]["bufferView"]

    return change


REFUSED = {
    "accessor.glb": (changed(lambda d: d["accessors"][0].update(count=4_000_000_000)), "corrupt_file"),
    "unbacked.glb": (changed(unbacked(4_000_000_000)), "too_large"),
    "zeros.glb": (changed(unbacked(9_000_000)), "too_large"),
    "bomb.glb": (meshes.cube_gltf(texture=bomb(60_000)).glb(), "too_large"),
    "nodes.glb": (changed(lambda d: d.update(nodes=[{"mesh": 0}] * 100_001)), "too_large"),
    "cycle.glb": (changed(lambda d: d.update(nodes=[{"children": [1]}, {"children": [0]}])), "corrupt_file"),
    "instances.glb": (instanced(1_300_000), "too_large"),
    "brackets.gltf": (b'{"asset":{},"extras":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "corrupt_file"),
    "types.gltf": (b'{"asset":{},"buffers":3}', "corrupt_file"),
    "uri.gltf": (b'{"asset":{},"buffers":[{"byteLength":1,"uri":5}]}', "corrupt_file"),
    "required.gltf": (b'{"asset":{},"extensionsRequired":5}', "corrupt_file"),
    "vertices.ply": (_PLY % (b"binary_little_endian", 1 << 31, b"", 1, b"uchar") + b"\0" * 1000, "corrupt_file"),
    "faces.ply": (_PLY % (b"ascii", 3, b"", 1 << 31, b"uchar") + b"0 " * 1000, "corrupt_file"),
    "list.ply": (_PLY % (b"binary_big_endian", 3, b"", 1, b"uint") + b"\0" * 36 + b"\xff" * 16, "corrupt_file"),
    "words.ply": (_PLY % (b"ascii", 3, b"", 1, b"uint") + b"0 " * 9 + b"4000000000 0 1 2", "corrupt_file"),
    "other.ply": (
        _PLY % (b"binary_little_endian", 1, b"element q 6000000\nproperty list uchar int a\n", 1, b"uchar")
        + b"\0" * 6_000_100, "too_large",
    ),
    "rows.ply": (_PLY % (b"ascii", 3, b"element q 999999999999\n", 1, b"uchar") + b"0 " * 13, "too_large"),
    "digits.ply": (_PLY.replace(b"%d", b"%b") % (b"ascii", b"\xb2", b"", b"9" * 5000, b"uchar"), "corrupt_file"),
    "count.stl": (b"\0" * 80 + b"\xff" * 4 + b"\0" * 1000, "corrupt_file"),
    "claims.off": (b"OFF\n4000000000 4000000000 0\n0 0 0\n", "corrupt_file"),
    "long face.obj": (_TRIANGLE + b"f " + b"1 2 3 " * 2_000_000, "too_large"),
    "long vertex.obj": (_TRIANGLE + b"v " + b"1 2 3 " * 1_000_000, "corrupt_file"),
    "lines.obj": (_TRIANGLE + b"\n" * 20_000_001, "too_large"),
    "libraries.obj": (b"".join(b"mtllib %d.mtl\n" % n for n in range(10_001)) + _TRIANGLE, "too_large"),
    "number.obj": (_TRIANGLE + b"f 1 2 " + b"9" * 400, "corrupt_file"),
}  # fmt: skip
READ = {
    "deep.glb": deep(20_000),
    "instances.glb": instanced(20_000),
    "wide.obj": b"v 1 2 3" + b" 1" * 20_000 + b"\n" + _TRIANGLE * 5_000,
    "backslashes.obj": _TRIANGLE + b"\\" * 1_000_000,
    "comment.obj": _TRIANGLE + b"# " + b"f 1 2 3 " * 1_000_000,
}


def read(data: bytes, path: Path) -> tuple[Any, int]:
    """The model or the error, and the most memory taken at once beyond five times the file."""
    path.write_bytes(data)
    outcome: Any
    tracemalloc.start()
    try:
        outcome = read_file(path)
    except StageError as error:
        outcome = error
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return outcome, peak - 5 * len(data)


@pytest.mark.parametrize("name", REFUSED)
def test_declared_sizes_are_refused_before_memory_is_taken(tmp_path: Path, name: str) -> None:
    data, reason = REFUSED[name]
    outcome, taken = read(data, tmp_path / name)
    assert isinstance(outcome, StageError) and outcome.reason == reason, outcome
    assert "\n" not in outcome.detail and len(outcome.detail) < 600
    assert taken < _MOST_BYTES


@pytest.mark.parametrize("name", READ)
def test_unusual_but_small_files_are_read(tmp_path: Path, name: str) -> None:
    outcome, taken = read(READ[name], tmp_path / name)
    assert not isinstance(outcome, StageError), outcome
    assert outcome.faces and len(outcome.parts) == 1 and taken < _MOST_BYTES
