"""Small OBJ, PLY and STL meshes, one for each feature that three.js shows too; they join those of features.py."""

from __future__ import annotations

import struct

import numpy as np

from tests.render.features import Files, encoded, feature
from tests.stages import meshes
from tests.stages.meshes import cube, obj_cube, ply_cube, stl_cube

_PALETTE = np.random.default_rng(3).integers(30, 256, (4, 4, 4)).astype(np.uint8)
_PALETTE[..., 3] = 255
_PICTURE = encoded(meshes.blocks(_PALETTE))
_COLORS = np.random.default_rng(4).integers(0, 256, (24, 3))


def _with_library(library: str, obj: bytes | None = None, **more: bytes) -> Files:
    """A cube of one material `m` and its library, with a picture."""
    obj = obj or obj_cube("mtllib m.mtl\nusemtl m")
    return {"mesh.obj": obj, "m.mtl": library.encode(), "my skin.png": _PICTURE, **more}


@feature
def obj_without_colour() -> Files:
    return {"mesh.obj": obj_cube()}


@feature
def obj_vertex_colours() -> Files:
    lines = obj_cube().decode().split("\n")
    painted = [
        f"{line} {r / 255:.4f} {g / 255:.4f} {b / 255:.4f}" for line, (r, g, b) in zip(lines, _COLORS, strict=False)
    ]
    return {"mesh.obj": "\n".join(painted + lines[24:]).encode()}


@feature
def obj_materials() -> Files:
    """A material a side; groups, smoothing, an object, Windows line ends, tabs and comments between."""
    lines = obj_cube("mtllib a.mtl\nmtllib b.mtl\no thing").decode().split("\n")
    faces = [f"g side{n}\ns {n % 2}\nusemtl m {n}\n{line} # {n}" for n, line in enumerate(lines[-6:])]
    colors = [f"newmtl m {n}\n\tKd {n / 5} {1 - n / 5} 0.5 # {n}" for n in range(6)]
    obj = "\n".join(lines[:-6] + faces).replace("\n", "\r\n").replace("vn ", "vn\t")
    return {
        "mesh.obj": obj.encode(),
        "a.mtl": "\n".join(colors[:3]).encode(),
        "b.mtl": "\r\n".join(colors[3:]).encode(),
    }


@feature
def obj_texture() -> Files:
    return _with_library("newmtl m\nmap_Kd my skin.png\n")


@feature
def obj_factor_times_texture() -> Files:
    return _with_library("newmtl m\nKd 1.0 0.5 0.25\nmap_Kd my skin.png\n")


@feature
def obj_texture_placed() -> Files:
    return _with_library("newmtl m\nKd 1 1 1\nmap_Kd -s 2 0.5 1 -o 0.125 0.25 0 my skin.png\n")


@feature
def obj_emission() -> Files:
    return _with_library("newmtl m\nKd 0.1 0.1 0.1\nKe 0.2 0.4 0.6\nmap_Ke my skin.png\n")


@feature
def obj_opacity() -> Files:
    return _with_library("newmtl m\nKd 0.8 0.2 0.1\nd 0.4\n", obj_cube("mtllib m.mtl\nusemtl m"))


@feature
def obj_transparency() -> Files:
    return _with_library("newmtl m\nKd 0.1 0.2 0.9\nTr 0.3\n")


@feature
def obj_cut_out() -> Files:
    holes = np.full((64, 64, 4), 255, np.uint8)
    holes[16:48, 16:48, :3] = 0
    return _with_library("newmtl m\nmap_Kd my skin.png\nmap_d holes.png\n", **{"holes.png": encoded(holes)})


@feature
def obj_counts_back() -> Files:
    positions, _, _, _ = cube()
    lines = []
    for side in range(6):
        lines += [f"v {x} {y} {z}" for x, y, z in positions[4 * side : 4 * side + 4]] + ["f -4 -3 -2 -1"]
    return {"mesh.obj": "\n".join(lines).encode()}


@feature
def obj_polygons() -> Files:
    angles = np.linspace(0, 2 * np.pi, 9, endpoint=False)
    lines = [f"v {np.cos(a):.5f} {np.sin(a):.5f} {z}" for z in (0.0, 0.5) for a in angles]
    lines += ["f " + " ".join(map(str, range(9, 0, -1))), "f " + " ".join(map(str, range(10, 19)))]
    lines += [f"f {n + 1} {(n + 1) % 9 + 1} {(n + 1) % 9 + 10} {n + 10}" for n in range(9)]
    return {"mesh.obj": "\n".join(lines).encode()}


@feature
def obj_lines_and_points_beside() -> Files:
    return {"mesh.obj": obj_cube("o cube") + b"\no wire\nl 1 2 3\no dot\np 4\n"}


@feature
def ply_colours() -> Files:
    return {"mesh.ply": ply_cube(_COLORS)}


@feature
def ply_binary_colours() -> Files:
    return {"mesh.ply": ply_cube(_COLORS, binary=True)}


def _ply(vertex: str, rows: list[bytes], face: str, faces: list[bytes], form: str = "binary_big_endian") -> bytes:
    properties = [f"element vertex {len(rows)}", *vertex.split(", "), f"element face {len(faces)}", *face.split(", ")]
    lines = [f"property {line}" if not line.startswith("element") else line for line in properties]
    head = ["ply", f"format {form} 1.0", "comment TextureFile skin.png", "obj_info none", *lines, "end_header"]
    return "\r\n".join(head).encode() + b"\r\n" + b"".join(rows + faces)


@feature
def ply_face_colours() -> Files:
    positions, _, _, _ = cube()
    rows = [struct.pack(">3f", *row) for row in positions]
    faces = [struct.pack(">B4I3B", 4, *range(4 * n, 4 * n + 4), *_COLORS[n]) for n in range(6)]
    face = "list uchar uint vertex_indices, uchar red, uchar green, uchar blue"
    return {"mesh.ply": _ply("float x, float y, float z", rows, face, faces)}


@feature
def ply_texture() -> Files:
    positions, _, uv, _ = cube()
    rows = [struct.pack(">5f", *row, u, 1 - v) for row, (u, v) in zip(positions, uv, strict=True)]
    faces = [struct.pack(">B4i", 4, *range(4 * n, 4 * n + 4)) for n in range(6)]
    vertex = "float x, float y, float z, float texture_u, float texture_v"
    return {"mesh.ply": _ply(vertex, rows, "list uchar int vertex_index", faces), "skin.png": _PICTURE}


@feature
def ply_texture_of_corners() -> Files:
    positions, _, uv, triangles = cube()
    rows = [struct.pack(">3f", *row) for row in positions]
    flipped = uv * (1, -1) + (0, 1)
    faces = [struct.pack(">B3iB6f", 3, *f, 6, *flipped[f].reshape(-1)) for f in triangles]
    face = "list uchar int vertex_index, list uchar float texcoord"
    return {"mesh.ply": _ply("float x, float y, float z", rows, face, faces), "skin.png": _PICTURE}


@feature
def stl_binary() -> Files:
    return {"mesh.stl": b"solid" + stl_cube()[5:]}


@feature
def stl_text() -> Files:
    cubes = [stl_cube(binary=False), stl_cube(binary=False).replace(b"0.500000", b"1.500000")]
    return {"mesh.stl": b"\n".join(cubes)}


@feature
def stl_magics_colours() -> Files:
    data = bytearray(stl_cube())
    data[:10] = b"COLOR=" + bytes([200, 40, 90, 255])
    for triangle in range(12):
        own = (31 - triangle * 2) | triangle << 5 | 7 << 10
        struct.pack_into("<H", data, 84 + 50 * triangle + 48, own if triangle % 3 else 1 << 15)
    return {"mesh.stl": bytes(data)}
