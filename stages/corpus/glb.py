"""Write painted solids as GLB: one mesh, with one primitive for all plain paints and one for each textured paint."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Sequence

import numpy as np
from PIL import Image

from stages.corpus.paint import Paint, texture
from stages.corpus.solid import Solid

Painted = tuple[Solid, Paint]
SWATCH = 8  # side in pixels of one plain colour in their shared texture
FLOAT, SHORT, UINT = 5126, 5123, 5125
LINEAR, LINEAR_MIPMAP, REPEAT = 9729, 9987, 10497


def glb(name: str, painted: Sequence[Painted]) -> bytes:
    """The bytes of the file, equal for equal solids."""
    writer = _Writer()
    plain = [(solid, paint) for solid, paint in painted if paint.plain]
    if plain:
        colors = list(dict.fromkeys(paint.rgb for _, paint in plain))
        swatches = np.zeros((SWATCH, SWATCH * len(colors), 3), np.uint8)
        for index, color in enumerate(colors):
            swatches[:, SWATCH * index : SWATCH * (index + 1)] = np.round(255 * np.array(color))
        uvs = [
            np.tile(((colors.index(paint.rgb) + 0.5) / len(colors), 0.5), (len(solid.points), 1))
            for solid, paint in plain
        ]
        writer.primitive([solid for solid, _ in plain], uvs, swatches)
    for paint in dict.fromkeys(paint for _, paint in painted if not paint.plain):
        solids = [solid for solid, other in painted if other == paint]
        writer.primitive(solids, [tiled(solid, paint) for solid in solids], texture(paint))
    return writer.finish(name)


def tiled(solid: Solid, paint: Paint) -> np.ndarray:
    """[N, 2] UVs in repeats of the pattern, a whole number of them around a closed surface."""
    scale = np.full(2, 1.0 / paint.tile)
    if solid.around:
        scale[0] = max(3, round(solid.around / paint.tile)) / solid.around
    uvs = solid.uvs * scale
    return uvs[:, ::-1] if paint.sideways else uvs


class _Writer:
    """The binary chunk and the JSON that describes it."""

    def __init__(self) -> None:
        self.chunk = bytearray()
        self.views: list[dict] = []
        self.accessors: list[dict] = []
        self.images: list[dict] = []
        self.primitives: list[dict] = []

    def view(self, data: bytes, target: int | None = None) -> int:
        self.chunk += b"\0" * (-len(self.chunk) % 4)
        view = {"buffer": 0, "byteOffset": len(self.chunk), "byteLength": len(data)}
        self.views.append(view if target is None else {**view, "target": target})
        self.chunk += data
        return len(self.views) - 1

    def accessor(self, array: np.ndarray, kind: str, component: int, bounded: bool = False) -> int:
        entry = {
            "bufferView": self.view(array.tobytes(), 34963 if kind == "SCALAR" else 34962),
            "componentType": component,
            "count": len(array),
            "type": kind,
        }
        if bounded:
            entry |= {"min": array.min(0).tolist(), "max": array.max(0).tolist()}
        self.accessors.append(entry)
        return len(self.accessors) - 1

    def primitive(self, solids: Sequence[Solid], uvs: Sequence[np.ndarray], pixels: np.ndarray) -> None:
        starts = np.cumsum([0, *(len(solid.points) for solid in solids)])
        faces = np.concatenate([solid.faces + start for solid, start in zip(solids, starts, strict=False)])
        small = starts[-1] < 65535
        index = faces.reshape(-1).astype("<u2" if small else "<u4")
        points = np.concatenate([solid.points for solid in solids]).astype("<f4")
        normals = np.concatenate([solid.normals for solid in solids]).astype("<f4")
        self.primitives.append(
            {
                "attributes": {
                    "POSITION": self.accessor(points, "VEC3", FLOAT, bounded=True),
                    "NORMAL": self.accessor(normals, "VEC3", FLOAT),
                    "TEXCOORD_0": self.accessor(np.concatenate(uvs).astype("<f4"), "VEC2", FLOAT),
                },
                "indices": self.accessor(index, "SCALAR", SHORT if small else UINT),
                "material": len(self.images),
            }
        )
        png = io.BytesIO()
        Image.fromarray(pixels).save(png, "PNG", compress_level=6)
        self.images.append({"bufferView": self.view(png.getvalue()), "mimeType": "image/png"})

    def finish(self, name: str) -> bytes:
        count = range(len(self.images))
        document = {
            "asset": {"version": "2.0", "generator": "gs-triplets demo corpus"},
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"name": name, "mesh": 0}],
            "meshes": [{"name": name, "primitives": self.primitives}],
            "materials": [
                {
                    "pbrMetallicRoughness": {
                        "baseColorTexture": {"index": index},
                        "metallicFactor": 0.0,
                        "roughnessFactor": 0.8,
                    }
                }
                for index in count
            ],
            "textures": [{"source": index, "sampler": 0} for index in count],
            "samplers": [{"magFilter": LINEAR, "minFilter": LINEAR_MIPMAP, "wrapS": REPEAT, "wrapT": REPEAT}],
            "images": self.images,
            "accessors": self.accessors,
            "bufferViews": self.views,
            "buffers": [{"byteLength": len(self.chunk)}],
        }
        text = json.dumps(document, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        binary = bytes(self.chunk) + b"\0" * (-len(self.chunk) % 4)
        total = 12 + 8 + len(text) + 8 + len(binary)
        head = struct.pack("<4sIIII", b"glTF", 2, total, len(text), 0x4E4F534A)
        return b"".join([head, text, struct.pack("<II", len(binary), 0x004E4942), binary])
