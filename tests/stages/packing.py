"""KTX2 pictures and meshopt-compressed glTF, for the tests of render."""

from __future__ import annotations

import base64
import struct
from typing import Any

import meshopt
import numpy as np

from tests.stages.meshes import QUARTERS, Gltf, cube

# QUARTERS as blocks of 8 x 8 pixels, the last with alpha 90, by npm's ktx2-encoder 0.6.0 with `isUASTC: false`
ETC1S_QUARTERS = base64.b64decode(
    "q0tUWCAyMLsNChoKAAAAAAEAAAAQAAAAEAAAAAAAAAAAAAAAAQAAAAEAAAABAAAAaAAAADwAAACkAAAAJAAAAMgAAAAAAAAAlQAA"
    "AAAAAABdAQAAAAAAAAkAAAAAAAAAAAAAAAAAAAA8AAAAAAAAAAIAOACjAQIAAwMAAAgIAAAAAAAAAAA/AAAAAAAAAAAA/////0AA"
    "Pw8AAAAAAAAAAP////8fAAAAS1RYd3JpdGVyAEJhc2lzIFVuaXZlcnNhbCAyLjUwAAAGAAMALQAAAA0AAAAzAAAAAAAAAAAAAAAA"
    "AAAABwAAAAcAAAACAAAAIMBEAAAAAAAA4sQGMCUAAAAAAICsUAgAEwAAAAAAAAgBwAQAAAAAAACCAzob/P///6+qqqpSVVVVBRTA"
    "hAABAAAAENSF0ACYAiAAAAAAQDIQAVEDBgAAhGEBM1HZE9gnOAATAQAAAAAASAEgAM65rVVRCAG8Fg=="
)
HEADER = 12  # where the KTX2 header starts: format, type size, width, height, depth, layers, faces, levels, packing


def uastc(*levels: np.ndarray, zstandard: bool = False) -> bytes:
    """A KTX2 picture, largest level first: each [H, W, 4] colour is one block of 4 x 4 pixels."""
    height, width = (4 * side for side in levels[0].shape[:2])
    start = 80 + 24 * len(levels) + 44
    entries, body = [], b""
    for colors in reversed(levels):  # the smallest lies first
        body += b"\0" * (-(start + len(body)) % 16)
        blocks = b"".join(_solid(color) for color in colors.reshape(-1, 4).tolist())
        stored = _zstandard(blocks) if zstandard else blocks
        entries.append(struct.pack("<3Q", start + len(body), len(stored), len(blocks)))
        body += stored
    header = struct.pack(
        "<9I4I2Q", 0, 1, width, height, 0, 0, 1, len(levels), 2 * zstandard, start - 44, 44, 0, 0, 0, 0
    )
    described = struct.pack("<IIHHBBBB4s8s", 44, 0, 2, 40, 166, 1, 2, 0, b"\3\3\0\0", b"\x10" + b"\0" * 7)  # sRGB
    described += struct.pack("<HBB4sII", 0, 127, 3, b"\0" * 4, 0, 0xFFFFFFFF)  # RGBA
    return b"\xabKTX 20\xbb\r\n\x1a\n" + header + b"".join(reversed(entries)) + described + body


def _solid(color: list[int]) -> bytes:
    """UASTC's mode 8: five bits that name it, then R, G, B, A."""
    red, green, blue, alpha = color
    return (0x17 | red << 5 | green << 13 | blue << 21 | alpha << 29).to_bytes(16, "little")


def _zstandard(data: bytes) -> bytes:
    """A frame of one block as it is; up to 128 KB."""
    return struct.pack("<IBI", 0xFD2FB528, 0xA0, len(data)) + (len(data) << 3 | 1).to_bytes(3, "little") + data


class Packed(Gltf):
    """glTF whose views may be compressed with meshopt; what they claim to repeat, buffer 1, has no bytes."""

    def __init__(self, extension: str = "EXT_meshopt_compression"):
        super().__init__()
        self.extension = extension
        self.unpacked = 0

    def packed(self, rows: np.ndarray, mode: str = "ATTRIBUTES", kind: str = "NONE") -> int:
        """A view of these rows, filtered already as `kind` says."""
        version = int(self.extension.startswith("KHR"))
        data = meshopt.encode_gltf_buffer(rows, mode, version)  # type: ignore[arg-type]
        number = self.view(data)
        view = self.document["bufferViews"][number]
        layout = {"count": len(rows), "byteStride": rows.nbytes // len(rows), "mode": mode, "filter": kind}
        self.document["bufferViews"][number] = {
            "buffer": 1,
            "byteOffset": self.unpacked,
            "byteLength": rows.nbytes,
            **({"byteStride": layout["byteStride"]} if mode == "ATTRIBUTES" else {}),
            "extensions": {self.extension: {**view, **layout}},
        }
        self.unpacked += rows.nbytes
        return number

    def packed_accessor(self, view: int, component: int, count: int, kind: str, **more: Any) -> int:
        entry = {"bufferView": view, "componentType": component, "count": count, "type": kind}
        return self.add("accessors", {**entry, **more})

    def finished(self) -> dict[str, Any]:
        document = super().finished()
        document["buffers"].append({"byteLength": self.unpacked, "extensions": {self.extension: {"fallback": True}}})
        return {**document, "extensionsRequired": [self.extension, "KHR_mesh_quantization"],
                "extensionsUsed": [self.extension, "KHR_mesh_quantization", "EXT_mesh_gpu_instancing"]}  # fmt: skip


TURNS = np.array([[0, 0, 0, 1], [0.6, 0, 0, 0.8], [0, 0.28, 0, 0.96]], np.float32)
PLACES = np.array([[0, 0, 0], [1.5, 0.3, 0], [0, 2, 1]], np.float32)


def packed_cube(extension: str = "EXT_meshopt_compression", mode: str = "TRIANGLES") -> Packed:
    """Three cubes: every filter at work; indices by `mode`; colours only where the extension has a filter for them."""
    made = Packed(extension)
    positions, normals, uv, faces = cube()
    unit = np.pad(normals, ((0, 0), (0, 1))).astype(np.float32)

    def attribute(rows: np.ndarray, kind: str, component: int, shape: str, **more: Any) -> int:
        return made.packed_accessor(made.packed(rows, kind=kind), component, len(rows), shape, **more)

    attributes = {
        "POSITION": attribute(meshopt.encode_filter_exp(positions, 15), "EXPONENTIAL", 5126, "VEC3"),
        "NORMAL": attribute(meshopt.encode_filter_oct(unit, 4, 8), "OCTAHEDRAL", 5120, "VEC3", normalized=True),
        "TEXCOORD_0": attribute((uv * 65535).astype(np.uint16), "NONE", 5123, "VEC2", normalized=True),
    }
    if extension.startswith("KHR"):
        colors = meshopt.encode_filter_color(QUARTERS.reshape(4, 4)[np.arange(24) % 4] / 255, 4, 8)
        attributes["COLOR_0"] = attribute(colors, "COLOR", 5121, "VEC4", normalized=True)
    indices = made.packed(faces.astype(np.uint16).reshape(-1), mode)
    primitive = {
        "attributes": attributes,
        "indices": made.packed_accessor(indices, 5123, faces.size, "SCALAR"),
        "material": made.add("materials", {"pbrMetallicRoughness": {}}),
    }
    turns = attribute(meshopt.encode_filter_quat(TURNS, 8, 12), "QUATERNION", 5122, "VEC4", normalized=True)
    instances = {"ROTATION": turns, "TRANSLATION": made.accessor(PLACES)}
    made.node(
        mesh=made.add("meshes", {"primitives": [primitive]}),
        extensions={"EXT_mesh_gpu_instancing": {"attributes": instances}},
    )
    return made
