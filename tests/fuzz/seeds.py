"""Small valid meshes of every format, all made here: what the generators change."""

from __future__ import annotations

from functools import cache

import numpy as np

from tests.render import features, features_packed  # noqa: F401 (its features join the table)
from tests.stages import meshes

Files = dict[str, bytes]


@cache
def seeds(form: str) -> list[Files]:
    """The files of each seed, the mesh first. None of them may be changed."""
    return [dict(files) for files in _SEEDS[form]()]


def picture() -> bytes:
    return features.encoded(meshes.blocks(meshes.QUARTERS, 4))


def textured_glb(image: bytes) -> Files:
    """A cube with this image as its texture."""
    return {"mesh.glb": features.textured(image).glb()}


def _gltf() -> list[Files]:
    made = [make() for make in features.FEATURES.values()]  # of other formats too, where others have imported those
    return [files for files in made if next(iter(files)).endswith((".gltf", ".glb"))]


def _obj() -> list[Files]:
    library = b"newmtl red\nKd 1 0 0\nKe 0 0 0\nd 0.5\nmap_Kd -s 2 2 1 -o 0.1 0 0 -clamp on skin.png\nmap_d skin.png\n"
    library += b"newmtl glow\nKe 1 1 0\nmap_Ke skin.png\nTr 0.1\nillum 2\nbump -bm 0.5 skin.png\n"
    painted = meshes.obj_cube("mtllib cube.mtl\nusemtl red").replace(b"\nf 13/", b"\nusemtl glow\nf 13/")
    from_end = b"v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 0.5 0.4 0 1 0 0\nf -5 -4 -3 -2\nf -1 -5 -4\n"
    star = "".join(f"v {x} {y} 0\n" for x, y in ((0, 2), (1, 0), (2, 2), (0, 0.7), (2, 0.7))) + "g a\nf 1 2 3 4 5\n"
    return [
        {"mesh.obj": painted, "cube.mtl": library, "skin.png": picture()},
        {"mesh.obj": meshes.obj_cube()},
        {"mesh.obj": from_end},
        {"mesh.obj": star.encode()},
    ]


def _ply() -> list[Files]:
    colors = np.random.default_rng(1).integers(0, 256, (24, 3))
    return [{"mesh.ply": meshes.ply_cube(given, binary)} for given in (None, colors) for binary in (False, True)]


def _stl() -> list[Files]:
    return [{"mesh.stl": meshes.stl_cube(binary)} for binary in (True, False)]


def _off() -> list[Files]:
    lines = meshes.off_cube().decode().splitlines()
    colored = "\n".join([*lines[:27], *(f"{line} 255 0 {30 * n}" for n, line in enumerate(lines[27:]))])
    normals = "NOFF\n3 1 3\n0 0 0 0 0 1\n1 0 0 0 0 1\n0 1 0 0 0 1\n3 0 1 2\n"
    corners = "COFF\n3 1 0\n0 0 0 1 0 0 1\n1 0 0 0 1 0 1\n0 1 0 0 0 1 0.5\n3 0 1 2\n"
    return [{"mesh.off": text.encode()} for text in ("\n".join(lines), colored, normals, corners)]


def _images() -> list[Files]:
    return [make() for name, make in features.FEATURES.items() if name.startswith("image_")]


def _compressed() -> list[Files]:
    return [make() for name, make in features.FEATURES.items() if name.startswith(("draco", "meshopt", "ktx2"))]


_SEEDS = {
    "gltf": _gltf, "ply": _ply, "obj": _obj, "stl": _stl, "off": _off, "image": _images, "compressed": _compressed,
}  # fmt: skip
