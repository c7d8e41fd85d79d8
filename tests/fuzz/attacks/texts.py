"""Names that hurt a log, a terminal or a page, in every place that ends in a message."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.fuzz.attacks.table import attack
from tests.fuzz.generators.gltf import text_of
from tests.fuzz.generators.images import picture
from tests.fuzz.seeds import Files
from tests.stages.meshes import cube_gltf, obj_cube
from tests.stages.packing import packed_cube

_NAMES = {
    "surrogate": "a\ud800b",
    "escapes": "\x1b]0;owned\x07\x1b[2J\x1b[31m",
    "lines": "a\nok 5\r\x00\u2028b",
    "direction": "\u202egnp.exe",
    "credentials": "https://user:secret@host/a?X-Amz-Signature=abcdef0123456789",
    "dashes": "a-" * 4000,
    "keys": "access-key" * 800,
    "long": "x" * 3_000_000,
}


def _version(name: str) -> bytes:
    return text_of({"asset": {"version": f"3{name}"}})


def _required(name: str) -> bytes:
    made = cube_gltf()
    made.document["extensionsRequired"] = [name]
    return made.glb()


def _image(name: str) -> bytes:
    made = cube_gltf(texture=picture("PNG"))
    image = made.document["images"][0]
    image["name"] = name
    made.document["bufferViews"][image["bufferView"]]["byteLength"] = 3
    return made.glb()


def _missing_image(name: str) -> bytes:
    return cube_gltf(texture=name.replace("\0", "")[:200_000]).glb()


def _missing_buffer(name: str) -> bytes:
    return text_of({"asset": {"version": "2.0"}, "buffers": [{"byteLength": 4, "uri": name}]})


def _attribute(name: str) -> bytes:
    made = cube_gltf()
    made.document["accessors"][0]["type"] = name
    made.document["meshes"][0]["primitives"][0]["attributes"][name] = name
    return made.glb()


def _meshopt_mode(name: str) -> bytes:
    made = packed_cube()
    made.document["bufferViews"][0]["extensions"]["EXT_meshopt_compression"]["mode"] = name
    return made.glb()


def _raw(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass").replace(b"\n", b" ").replace(b"\r", b" ")


def _library(name: str) -> Files:
    return {"mesh.obj": b"mtllib " + _raw(name)[:100_000] + b"\nusemtl " + _raw(name) + b"\n" + obj_cube()}


def _textures(name: str) -> Files:
    kinds = (b"map_Kd a%b\n", b"map_d b%b\n", b"map_Ke c%b\n", b"Kd %b\n")
    lines = b"".join(kind % _raw(name)[:5000] for kind in kinds)
    return {"mesh.obj": obj_cube("mtllib a.mtl\nusemtl a"), "a.mtl": b"newmtl a\n" + lines}


def _element(name: str) -> bytes:
    return b"ply\nformat ascii 1.0\nelement %b 1e9\ncomment TextureFile %b\nend_header\n" % (_raw(name), _raw(name))


_PLACES: dict[str, dict[str, Callable[[str], Files | bytes]]] = {
    "gltf": {
        "version": _version, "required": _required, "image": _image, "missing-image": _missing_image,
        "missing-buffer": _missing_buffer, "attribute": _attribute, "meshopt-mode": _meshopt_mode,
    },
    "obj": {"library": _library, "textures": _textures},
    "ply": {"element": _element},
}  # fmt: skip

for _kind, _name in _NAMES.items():
    for _form, _makers in _PLACES.items():
        for _place, _make in _makers.items():
            attack(_form, large=_kind == "long", name=f"{_kind}-in-{_place}")(partial(_make, _name))


@attack("obj")
def a_hundred_warnings() -> Files:
    """As many warnings as a mesh may have, each long and full of words that credentials have."""
    names = [f"{number} {'my-token-' * 20}".encode() for number in range(200)]
    library = b"".join(b"newmtl %d\nmap_Kd %b\n" % (number, name) for number, name in enumerate(names))
    return {"mesh.obj": obj_cube("mtllib a.mtl\nusemtl 0"), "a.mtl": library}
