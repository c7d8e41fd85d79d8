"""Small meshes in many formats, for the tests of ingest and render."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stages.ingest import Ingest
from stages.meshes.formats import read_mesh
from stages.meshes.model import Limits, Model

# 24 vertices: each side of the cube [-0.5, 0.5] has its own four, so that sides can differ in normal, uv and colour
_SIDES = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], np.float64)
_RED, _GREEN, _BLUE, _YELLOW = (255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 255), (255, 255, 0, 255)
QUARTERS = np.array([[_RED, _GREEN], [_BLUE, _YELLOW]], np.uint8)  # [2, 2, 4]: red top left, green top right


def cube() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """positions [24, 3], normals [24, 3], uv [24, 2] with v down, faces [12, 3] counter-clockwise from outside"""
    positions: list[np.ndarray] = []
    normals: list[np.ndarray] = []
    faces: list[tuple[int, int, int]] = []
    for normal in _SIDES:
        up = np.array([0, 1, 0]) if abs(normal[1]) < 0.5 else np.array([0, 0, -normal[1]])
        right = np.cross(up, normal)
        start = len(positions)
        positions += [(normal - right + up) / 2, (normal - right - up) / 2]
        positions += [(normal + right - up) / 2, (normal + right + up) / 2]
        normals += [normal] * 4
        faces += [(start, start + 1, start + 2), (start, start + 2, start + 3)]
    uv = np.tile([(0, 0), (0, 1), (1, 1), (1, 0)], (6, 1))
    return np.array(positions), np.array(normals), uv.astype(np.float64), np.array(faces)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def blocks(colors: np.ndarray, side: int = 16) -> np.ndarray:
    """Each pixel as a block of side x side, so that filtering leaves its middle alone."""
    return np.repeat(np.repeat(colors, side, 0), side, 1)


class Gltf:
    """A glTF document that grows by meshes, materials and nodes."""

    def __init__(self) -> None:
        self.binary = b""
        self.document: dict[str, Any] = {
            "asset": {"version": "2.0"},
            "scene": 0,
            "scenes": [{"nodes": []}],
            "nodes": [],
            "meshes": [],
            "materials": [],
            "textures": [],
            "images": [],
            "accessors": [],
            "bufferViews": [],
        }

    def add(self, field: str, entry: dict[str, Any]) -> int:
        self.document.setdefault(field, []).append(entry)
        return len(self.document[field]) - 1

    def view(self, data: bytes) -> int:
        self.binary += b"\0" * (-len(self.binary) % 4)
        start = len(self.binary)
        self.binary += data
        return self.add("bufferViews", {"buffer": 0, "byteOffset": start, "byteLength": len(data)})

    def accessor(self, values: np.ndarray, **more: Any) -> int:
        kinds = {"float32": 5126, "uint32": 5125, "uint16": 5123, "uint8": 5121}
        kind = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}[values.shape[1] if values.ndim > 1 else 1]
        entry = {"componentType": kinds[values.dtype.name], "count": len(values), "type": kind, **more}
        return self.add("accessors", {"bufferView": self.view(values.tobytes()), **entry})

    def mesh(
        self, positions: np.ndarray, faces: np.ndarray, attributes: dict[str, np.ndarray], material: dict | None = None,
        **more: Any,
    ) -> int:  # fmt: skip
        numbers = {"POSITION": self.accessor(positions.astype(np.float32))}
        numbers |= {name: self.accessor(values) for name, values in attributes.items()}
        primitive = {"attributes": numbers, "indices": self.accessor(faces.astype(np.uint32).reshape(-1)), **more}
        if material is not None:
            primitive["material"] = self.add("materials", material)
        return self.add("meshes", {"primitives": [primitive]})

    def node(self, root: bool = True, **entry: Any) -> int:
        number = self.add("nodes", entry)
        if root:
            self.document["scenes"][0]["nodes"].append(number)
        return number

    def texture(self, data: bytes) -> int:
        image = self.add("images", {"bufferView": self.view(data), "mimeType": "image/png"})
        return self.add("textures", {"source": image})

    def external_texture(self, uri: str) -> int:
        return self.add("textures", {"source": self.add("images", {"uri": uri})})

    def finished(self) -> dict[str, Any]:
        document = {key: value for key, value in self.document.items() if value != []}
        return {**document, "buffers": [{"byteLength": len(self.binary)}]}

    def glb(self) -> bytes:
        return glb(self.finished(), self.binary)

    def gltf(self, buffer_uri: str) -> bytes:
        document = self.finished()
        document["buffers"][0]["uri"] = buffer_uri
        return json.dumps(document).encode()


def glb(document: dict[str, Any], binary: bytes) -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(binary), 0x004E4942) + binary
    return b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks


def cube_gltf(
    material: dict[str, Any] | None = None, colors: np.ndarray | None = None, texture: bytes | str | None = None,
    color_extension: dict[str, Any] | None = None, **node: Any,
) -> Gltf:  # fmt: skip
    """A cube in one node. texture: PNG bytes to embed, or the uri of a file."""
    made = Gltf()
    positions, normals, uv, faces = cube()
    attributes = {"NORMAL": normals.astype(np.float32), "TEXCOORD_0": uv.astype(np.float32)}
    if colors is not None:
        attributes["COLOR_0"] = colors
    material = {"pbrMetallicRoughness": {}, **(material or {})}
    if texture is not None:
        number = made.texture(texture) if isinstance(texture, bytes) else made.external_texture(texture)
        reference = {"index": number, **({"extensions": color_extension} if color_extension else {})}
        material["pbrMetallicRoughness"] = {**material["pbrMetallicRoughness"], "baseColorTexture": reference}
    made.node(mesh=made.mesh(positions, faces, attributes, material), **node)
    return made


def quad_gltf(material: dict[str, Any], texture: bytes | None = None) -> Gltf:
    """The square [-0.5, 0.5] in the plane z = 0 that faces +z."""
    made = Gltf()
    positions, normals, uv, _ = (array[16:20] for array in cube())
    attributes = {"NORMAL": normals.astype(np.float32), "TEXCOORD_0": uv.astype(np.float32)}
    if texture is not None:
        reference = {"index": made.texture(texture)}
        material = {**material, "pbrMetallicRoughness": {"baseColorTexture": reference}}
    flat = positions - [0, 0, 0.5]
    made.node(mesh=made.mesh(flat, np.array([[0, 1, 2], [0, 2, 3]]), attributes, material))
    return made


def draco_glb() -> bytes:
    import DracoPy

    made = Gltf()
    positions, normals, _, faces = cube()
    packed = DracoPy.encode(positions.astype(np.float32), faces.astype(np.uint32), preserve_order=True)
    decoded = DracoPy.decode(packed)
    ids = {"POSITION": decoded.attributes[0]["unique_id"]}
    unbacked = {"componentType": 5126, "count": len(positions), "type": "VEC3"}
    indices = {"componentType": 5125, "count": faces.size, "type": "SCALAR"}
    primitive = {
        "attributes": {"POSITION": made.add("accessors", unbacked)},
        "indices": made.add("accessors", indices),
        "extensions": {"KHR_draco_mesh_compression": {"bufferView": made.view(packed), "attributes": ids}},
    }
    made.node(mesh=made.add("meshes", {"primitives": [primitive]}))
    made.document["extensionsRequired"] = made.document["extensionsUsed"] = ["KHR_draco_mesh_compression"]
    return made.glb()


def obj_cube(header: str = "") -> bytes:
    """Sides as quads, with uv (v up, as OBJ has it) and normals."""
    positions, normals, uv, _ = cube()
    lines = [header] if header else []
    lines += ["v " + " ".join(f"{x:.6f}" for x in row) for row in positions]
    lines += [f"vt {u:.6f} {1 - v:.6f}" for u, v in uv]
    lines += ["vn " + " ".join(f"{x:.6f}" for x in row) for row in normals]
    for side in range(6):
        lines.append("f " + " ".join(f"{n}/{n}/{n}" for n in range(4 * side + 1, 4 * side + 5)))
    return "\n".join(lines).encode()


def ply_cube(colors: np.ndarray | None = None, binary: bool = False) -> bytes:
    """colors: [24, 3] uint8"""
    positions, _, _, faces = cube()
    header = ["ply", f"format {'binary_little_endian' if binary else 'ascii'} 1.0", "element vertex 24"]
    header += [f"property float {axis}" for axis in "xyz"]
    if colors is not None:
        header += [f"property uchar {name}" for name in ("red", "green", "blue")]
    header += ["element face 12", "property list uchar int vertex_indices", "end_header"]
    body = b""
    for index, row in enumerate(positions):
        color = [] if colors is None else [int(c) for c in colors[index]]
        if binary:
            body += struct.pack("<3f", *row) + bytes(color)
        else:
            body += (" ".join([*(f"{x:.6f}" for x in row), *map(str, color)]) + "\n").encode()
    for face in faces:
        body += struct.pack("<B3i", 3, *face) if binary else (f"3 {face[0]} {face[1]} {face[2]}\n").encode()
    return "\n".join(header).encode() + b"\n" + body


def stl_cube(binary: bool = True) -> bytes:
    positions, normals, _, faces = cube()
    if binary:
        triangles = [struct.pack("<12fH", *normals[f[0]], *positions[f].reshape(-1), 0) for f in faces]
        return b"\0" * 80 + struct.pack("<I", len(faces)) + b"".join(triangles)
    lines = ["solid cube"]
    for face in faces:
        corners = "\n".join("vertex " + " ".join(f"{x:.6f}" for x in positions[n]) for n in face)
        lines.append(f"facet normal 0 0 0\nouter loop\n{corners}\nendloop\nendfacet")
    return "\n".join([*lines, "endsolid cube"]).encode()


def off_cube() -> bytes:
    positions = cube()[0]
    lines = ["OFF", "# a cube of quads", "24 6 0"]
    lines += [" ".join(f"{x:.6f}" for x in row) for row in positions]
    return "\n".join(lines + [f"4 {4 * s} {4 * s + 1} {4 * s + 2} {4 * s + 3}" for s in range(6)]).encode()


def read_file(path: Path, **limits: int) -> Model:
    """Ingest and read a file as the stages do; raises the StageError of either."""
    taken = Ingest().fetch({"uri": str(path)})
    columns = taken.columns
    return read_mesh(taken.artifact or b"", columns["mesh_name"], columns["format"], Limits(**limits), 2048)


def model_of(data: bytes, folder: Path, name: str = "a.glb", **limits: int) -> Model:
    (folder / name).write_bytes(data)
    return read_file(folder / name, **limits)
