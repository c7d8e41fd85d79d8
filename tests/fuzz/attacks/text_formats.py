"""OBJ, PLY, STL and OFF that take long to read, or more memory than they have bytes."""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image

from tests.fuzz.attacks.table import attack
from tests.fuzz.generators.images import picture
from tests.fuzz.seeds import Files
from tests.render.features import encoded
from tests.stages.meshes import obj_cube

_MANY = 100_000
_TRIANGLE = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"


@attack("obj", large=True)
def copies_for_every_pair_of_images() -> Files:
    """An image with the opacity of another is a copy; n images with n opacities are n * n."""
    names = [f"{number}.png" for number in range(15)]
    pairs = [(color, alpha) for color in names for alpha in names]
    images = {name: encoded(Image.new("LA", (2048, 2048), (number, 100))) for number, name in enumerate(names)}
    library = "".join(f"newmtl {c}{a}\nmap_Kd {c}\nmap_d {a}\n" for c, a in pairs)
    faces = "".join(f"usemtl {c}{a}\nf 1 2 3\n" for c, a in pairs)
    return {"mesh.obj": b"mtllib a.mtl\n" + _TRIANGLE + faces.encode(), "a.mtl": library.encode(), **images}


@attack("obj", large=True)
def many_materials_of_one_face() -> Files:
    faces = b"".join(b"usemtl %d\nf 1 2 3\n" % number for number in range(_MANY))
    library = b"".join(b"newmtl %d\nKd 1 0 0\n" % number for number in range(_MANY))
    return {"mesh.obj": b"mtllib a.mtl\n" + _TRIANGLE + faces, "a.mtl": library}


@attack("obj")
def libraries_in_a_circle() -> Files:
    return {
        "mesh.obj": b"mtllib a.mtl mesh.obj\nusemtl a\n" + _TRIANGLE,
        "a.mtl": b"newmtl a\nmtllib a.mtl\nmap_Kd a.mtl\n",
    }


@attack("obj")
def a_star_of_many_corners() -> bytes:
    angles = np.linspace(0, 2 * np.pi, 100_001)[:-1]
    radii = np.where(np.arange(100_000) % 2, 1.0, 0.5)
    lines = [b"v %f %f 0" % (r * np.cos(a), r * np.sin(a)) for r, a in zip(radii, angles, strict=True)]
    return b"\n".join([*lines, b"f " + b" ".join(b"%d" % n for n in range(1, 100_001))])


@attack("obj")
def backslashes_and_blanks() -> bytes:
    return _TRIANGLE + (b"\\" + b" " * 1000) * 1000 + b"x\n" + b"\t" * 1_000_000 + b"mtllib\n"


@attack("obj")
def a_library_with_long_options() -> Files:
    line = b"map_Kd " + b"-s 1 " * 200_000 + b"a.png\n"
    return {"mesh.obj": obj_cube("mtllib a.mtl\nusemtl a"), "a.mtl": b"newmtl a\n" + line}


@attack("obj")
def texture_scale_is_infinite() -> Files:
    line = b"map_Kd -s 1e999 1e308 -o 1e308 -1e999 a.png\n"
    return {"mesh.obj": obj_cube("mtllib a.mtl\nusemtl a"), "a.mtl": b"newmtl a\n" + line, "a.png": picture("PNG")}


@attack("obj")
def zero_bytes_after_the_head() -> bytes:
    return _TRIANGLE + b"#" * 70_000 + b"\n" + b"\0" * 1000 + b"\nf 1 2 3\nf \0 1 2\n"


@attack("ply")
def a_comment_of_blanks() -> bytes:
    return b"ply\nformat ascii 1.0\ncomment TextureFile a" + b" " * 900_000 + b"b\nelement vertex 0\nend_header\n"


@attack("ply")
def a_hundred_thousand_elements() -> bytes:
    elements = b"".join(b"element e%d 1\nproperty float a\n" % number for number in range(30_000))
    return b"ply\nformat ascii 1.0\n" + elements + b"end_header\n" + b"0 " * 30_000


@attack("ply")
def a_thousand_textures() -> Files:
    comments = b"".join(b"comment TextureFile %ba.png\n" % (b"./" * number) for number in range(500))
    head = (
        b"ply\nformat ascii 1.0\n"
        + comments
        + b"element vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    )
    head += b"property float s\nproperty float t\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n"
    body = b"0 0 0 0 0\n1 0 0 1 0\n0 1 0 0 1\n3 0 1 2\n"
    return {"mesh.ply": head + body, "a.png": encoded(Image.new("RGB", (1024, 1024)))}


def _ply(count: bytes, list_type: bytes, body: bytes, form: bytes = b"binary_little_endian") -> bytes:
    head = b"ply\nformat %b 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n" % form
    head += b"element face %b\nproperty list %b int vertex_indices\nend_header\n" % (count, list_type)
    return head + np.eye(3, dtype="<f4").tobytes() + body


@attack("ply")
def a_list_of_negative_length() -> bytes:
    return _ply(b"2", b"char", b"\x03\0\0\0\0\1\0\0\0\2\0\0\0\xff" + b"\0" * 600)


@attack("ply")
def a_list_counted_by_floats() -> bytes:
    return _ply(b"2", b"float", struct.pack("<f3if", 3, 0, 1, 2, float("nan")) + b"\0" * 60)


@attack("ply")
def a_million_empty_lists() -> bytes:
    return _ply(b"1000000", b"uchar", b"\3" + b"\0" * 12 + b"\0" * 999_999)


@attack("ply")
def strips_of_everything() -> bytes:
    head = b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    head += b"element tristrips 1\nproperty list int int vertex_indices\nend_header\n0 0 0\n1 0 0\n0 1 0\n"
    return head + b"300000 " + b"0 1 2 -1 2 1 " * 50_000


@attack("ply")
def counts_in_other_digits() -> bytes:
    return "ply\nformat ascii 1.0\nelement vertex ٣\nelement face ²\nend_header\n".encode()


@attack("stl")
def words_without_numbers() -> bytes:
    return b"solid a\nfacet\n" + b"vertex " * 300_000 + b" " * 300_000 + b"endfacet\nendsolid\n"


@attack("stl")
def blanks_between_numbers() -> bytes:
    gap = b" " * 200_000
    return b"solid a\nfacet\n" + b"".join(b"vertex 1" + gap for _ in range(5)) + b"\nendfacet\nendsolid\n"


@attack("stl")
def a_header_with_the_colour_at_its_end() -> bytes:
    return b"COLOR=".rjust(80, b" ") + struct.pack("<I", 1) + b"\0" * 50


@attack("stl")
def two_million_triangles_without_area() -> bytes:
    return b"\0" * 80 + struct.pack("<I", 200_000) + b"\0" * 50 * 200_000


@attack("off")
def comments_before_everything() -> bytes:
    return b"# a\n" * 300_000 + b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"


@attack("off")
def comment_without_an_end() -> bytes:
    return b"OFF\n3 1 0 #" + b"#" * 3_000_000


@attack("off")
def a_face_of_a_million_corners() -> bytes:
    return b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n1000000 " + b"0 1 2 " * 333_334


@attack("off")
def a_word_of_a_megabyte() -> bytes:
    return b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 " + b"9" * 1_000_000 + b"\n3 0 1 2\n"
