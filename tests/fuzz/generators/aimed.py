"""Files that each try one attack on a reader, a limit, a log or a terminal."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import DracoPy
import numpy as np
from PIL import Image

from tests.fuzz.generators.gltf import text_of
from tests.fuzz.generators.images import ihdr, picture, png
from tests.fuzz.generators.values import Token
from tests.fuzz.seeds import Files, textured_glb
from tests.render.features import encoded
from tests.stages.meshes import Gltf, cube, cube_gltf, glb, obj_cube, quad_gltf
from tests.stages.packing import packed_cube

_TRIANGLE = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
_MANY = 100_000


@dataclass(frozen=True)
class Attack:
    files: Callable[[], Files]
    large: bool = False  # whether it takes many seconds or much memory to make or to refuse


ATTACKS: dict[str, dict[str, Attack]] = {
    form: {} for form in ("gltf", "ply", "obj", "stl", "off", "image", "compressed")
}


def attack(form: str, large: bool = False) -> Callable[[Callable[[], Files | bytes]], Callable[[], Files | bytes]]:
    """Put a function into the table. It gives the files, or the bytes of the mesh."""

    def put(make: Callable[[], Files | bytes]) -> Callable[[], Files | bytes]:
        def files() -> Files:
            made = make()
            return made if isinstance(made, dict) else {f"mesh.{_ending(form, made)}": made}

        ATTACKS[form][make.__name__.replace("_", "-")] = Attack(files, large)
        return make

    return put


def _ending(form: str, data: bytes) -> str:
    return ("glb" if data.startswith(b"glTF") else "gltf") if form in ("gltf", "image", "compressed") else form


def _document(**fields: Any) -> bytes:
    return text_of({"asset": {"version": "2.0"}, **fields})


def _cube(change: Callable[[dict[str, Any]], Any], **options: Any) -> bytes:
    made = cube_gltf(**options)
    change(made.document)
    return made.glb()


# -- names and texts ---------------------------------------------------------------------------------------------------

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


def _texts(kind: str, name: str) -> None:
    """A name in every place that ends in a message."""

    def version() -> bytes:
        return text_of({"asset": {"version": f"3{name}"}})

    def required() -> bytes:
        return _cube(lambda document: document.update(extensionsRequired=[name]))

    def image() -> bytes:
        made = cube_gltf(texture=picture("PNG"))
        made.document["images"][0]["name"] = name
        made.document["bufferViews"][made.document["images"][0]["bufferView"]]["byteLength"] = 3
        return made.glb()

    def missing_image() -> bytes:
        return cube_gltf(texture=name.replace("\0", "")[:200_000]).glb()

    def missing_buffer() -> bytes:
        return _document(buffers=[{"byteLength": 4, "uri": name}])

    def attribute() -> bytes:
        def change(document: dict[str, Any]) -> None:
            document["accessors"][0]["type"] = name
            document["meshes"][0]["primitives"][0]["attributes"][name] = name

        return _cube(change)

    def meshopt_mode() -> bytes:
        made = packed_cube()
        made.document["bufferViews"][0]["extensions"]["EXT_meshopt_compression"]["mode"] = name
        return made.glb()

    for make in (version, required, image, missing_image, missing_buffer, attribute, meshopt_mode):
        make.__name__ = f"{kind}_in_{make.__name__}"
        attack("gltf", large=kind == "long")(make)

    raw = name.encode("utf-8", "surrogatepass").replace(b"\n", b" ").replace(b"\r", b" ")

    def library() -> Files:
        return {"mesh.obj": b"mtllib " + raw[:100_000] + b"\nusemtl " + raw + b"\n" + obj_cube()}

    def textures() -> Files:
        lines = b"".join(b"map_%b %d%b\nKd %b\n" % (kind, n, raw[:5000], raw) for n in range(3) for kind in (b"Kd", b"d"))
        return {"mesh.obj": obj_cube("mtllib a.mtl\nusemtl a"), "a.mtl": b"newmtl a\n" + lines}

    for make_obj in (library, textures):
        make_obj.__name__ = f"{kind}_in_{make_obj.__name__}"
        attack("obj", large=kind == "long")(make_obj)

    def element() -> bytes:
        return b"ply\nformat ascii 1.0\nelement " + raw + b" 1e9\ncomment TextureFile " + raw + b"\nend_header\n"

    element.__name__ = f"{kind}_in_element"
    attack("ply", large=kind == "long")(element)


for _kind, _name in _NAMES.items():
    _texts(_kind, _name)


@attack("obj")
def a_hundred_warnings() -> Files:
    """As many warnings as a mesh may have, each long and full of words that credentials have."""
    names = [f"{number} {'my-token-' * 20}".encode() for number in range(200)]
    library = b"".join(b"newmtl %d\nmap_Kd %b\n" % (number, name) for number, name in enumerate(names))
    return {"mesh.obj": obj_cube("mtllib a.mtl\nusemtl 0"), "a.mtl": library}


# -- glTF: numbers, counts and memory ----------------------------------------------------------------------------------


def _view_and_accessor(**view: Any) -> Callable[[Any], bytes]:
    def make(count: Any) -> bytes:
        def change(document: dict[str, Any]) -> None:
            document["bufferViews"][0].update(view)
            document["accessors"][0]["count"] = count

        return _cube(change)

    return make


@attack("gltf")
def stride_is_a_list() -> bytes:
    return _view_and_accessor(byteStride=[0])(600_000_000)


@attack("gltf")
def stride_is_text() -> bytes:
    return _view_and_accessor(byteStride="ab")(600_000_000)


@attack("gltf")
def count_is_a_list() -> bytes:
    return _view_and_accessor(byteStride=600_000_000)([0])


@attack("gltf")
def length_is_a_list() -> bytes:
    return _view_and_accessor(byteLength=[0] * 1000)(24)


@attack("gltf")
def count_is_infinite() -> bytes:
    return _view_and_accessor()(Token("1e999"))


@attack("gltf")
def count_has_five_thousand_digits() -> bytes:
    return _view_and_accessor()(Token("9" * 4000))


@attack("gltf")
def meshopt_stride_is_a_list() -> bytes:
    made = packed_cube()
    made.document["bufferViews"][0]["extensions"]["EXT_meshopt_compression"] |= {"byteStride": [0], "count": 1 << 30}
    return made.glb()


@attack("gltf", large=True)
def a_hundred_megabytes_of_objects() -> bytes:
    return b'{"asset":{"version":"2.0"},"extras":[' + b"{}," * 40_000_000 + b"{}]}"


@attack("gltf", large=True)
def a_hundred_megabytes_of_lists_in_a_glb() -> bytes:
    text = b'{"asset":{"version":"2.0"},"extras":[' + b"[]," * 40_000_000 + b"[]]}"
    return b"glTF" + struct.pack("<IIII", 2, 20 + len(text), len(text), 0x4E4F534A) + text


@attack("gltf")
def a_million_names() -> bytes:
    names = ",".join(f'"{number}":0' for number in range(1_000_000))
    return b'{"asset":{"version":"2.0"},"extras":{' + names.encode() + b"}}"


@attack("gltf")
def morph_weights_are_lists() -> bytes:
    made = cube_gltf()
    target = {"POSITION": made.accessor(np.zeros((1, 3), np.float32))}
    made.document["meshes"][0]["primitives"][0]["targets"] = [target]
    made.document["meshes"][0]["weights"] = [[[[1.0]] * 20_000] * 1]
    return made.glb()


@attack("gltf")
def morph_targets_broadcast() -> bytes:
    made = cube_gltf()
    column = made.accessor(np.zeros((20_000, 1), np.float32))
    made.document["accessors"][column]["type"] = "SCALAR"
    row = made.accessor(np.zeros((1, 3), np.float32))
    primitive = made.document["meshes"][0]["primitives"][0]
    primitive["attributes"]["POSITION"] = row
    primitive["targets"] = [{"POSITION": column}]
    made.document["meshes"][0]["weights"] = [1]
    return made.glb()


@attack("gltf")
def accessors_without_views() -> bytes:
    """Attributes other than POSITION, whose counts no limit adds up; normalised, so that they are really made."""
    made = cube_gltf()
    zeros = {"componentType": 5121, "count": 9_999_999, "type": "MAT4", "normalized": True}
    numbers = [made.add("accessors", dict(zeros)) for _ in range(12)]
    attributes = made.document["meshes"][0]["primitives"][0]["attributes"]
    attributes |= {f"TEXCOORD_{index + 1}": number for index, number in enumerate(numbers)}
    return made.glb()


@attack("gltf")
def accessors_that_overlap() -> bytes:
    """Sixty-four bytes for each byte of the file, in each of many attributes."""
    made = cube_gltf()
    made.document["bufferViews"][made.view(b"\0" * 2_000_064)]["byteStride"] = 1
    entry = {"bufferView": len(made.document["bufferViews"]) - 1, "componentType": 5126, "count": 2_000_000, "type": "MAT4"}
    attributes = made.document["meshes"][0]["primitives"][0]["attributes"]
    attributes |= {f"TEXCOORD_{index + 1}": made.add("accessors", dict(entry)) for index in range(50)}
    return made.glb()


@attack("gltf")
def bind_matrices_without_a_view() -> bytes:
    made = cube_gltf(skin=0)
    entry = {"componentType": 5121, "count": 9_999_999, "type": "MAT4", "normalized": True}
    made.document["skins"] = [{"joints": [0] * _MANY, "inverseBindMatrices": made.add("accessors", entry)}]
    return made.glb()


@attack("gltf")
def sparse_over_nothing() -> bytes:
    made = cube_gltf()
    index, value = made.view(b"\0\0\0\0"), made.view(b"\0" * 64)
    part = {"count": 1, "indices": {"bufferView": index, "componentType": 5125}, "values": {"bufferView": value}}
    entry = {"componentType": 5126, "count": 9_999_999, "type": "MAT4", "sparse": part}
    attributes = made.document["meshes"][0]["primitives"][0]["attributes"]
    attributes |= {f"TEXCOORD_{index + 1}": made.add("accessors", dict(entry)) for index in range(6)}
    return made.glb()


@attack("gltf")
def many_skins() -> bytes:
    made = cube_gltf()
    made.document["skins"] = [{"joints": [0] * 2000} for _ in range(300)]
    made.document["nodes"] = [{"mesh": 0, "skin": number} for number in range(300)]
    made.document["scenes"] = [{"nodes": list(range(300))}]
    return made.glb()


@attack("gltf", large=True)
def a_skin_with_a_million_joints() -> bytes:
    made = cube_gltf(skin=0)
    made.document["skins"] = [{"joints": [0] * 5_000_000}]
    return made.glb()


@attack("gltf", large=True)
def many_primitives() -> bytes:
    """Within max_vertices, but each is a part of its own."""
    made = cube_gltf()
    accessor = made.accessor(np.eye(3, dtype=np.float32))
    made.document["meshes"][0]["primitives"] = [{"attributes": {"POSITION": accessor}}] * _MANY
    return made.glb()


@attack("gltf", large=True)
def many_materials() -> bytes:
    made = cube_gltf()
    accessor = made.accessor(np.eye(3, dtype=np.float32))
    made.document["materials"] = [{"alphaMode": "BLEND"}] * 20_000
    made.document["meshes"][0]["primitives"] = [
        {"attributes": {"POSITION": accessor}, "material": number} for number in range(20_000)
    ]
    return made.glb()


@attack("gltf")
def many_nodes_with_one_mesh() -> bytes:
    made = quad_gltf({})
    made.document["nodes"] = [{"mesh": 0}] * _MANY
    made.document["scenes"] = [{"nodes": list(range(_MANY))}]
    return made.glb()


@attack("gltf")
def nodes_in_a_chain() -> bytes:
    nodes: list[dict[str, Any]] = [{"children": [number + 1], "scale": [2, 2, 2]} for number in range(90_000)]
    return _cube(lambda document: document.update(nodes=[*nodes, {"mesh": 0}]))


@attack("gltf")
def nodes_in_a_circle() -> bytes:
    return _cube(lambda document: document.update(nodes=[{"children": [0], "mesh": 0}]))


@attack("gltf")
def a_million_roots() -> bytes:
    return _cube(lambda document: document["scenes"][0].update(nodes=[5] * 1_000_000))


@attack("gltf")
def indices_are_booleans() -> bytes:
    return _cube(lambda document: document.update(scene=False, scenes=[{"nodes": [False]}]))


@attack("gltf")
def matrix_of_lists() -> bytes:
    return _cube(lambda document: document["nodes"][0].update(matrix=[[1.0] * 16] * 16))


@attack("gltf")
def translation_of_a_million() -> bytes:
    return _cube(lambda document: document["nodes"][0].update(translation=[0.0] * 1_000_000))


@attack("gltf")
def scale_broadcasts() -> bytes:
    return _cube(lambda document: document["nodes"][0].update(scale=[[1.0, 1, 1]] * 100_000))


@attack("gltf")
def factor_of_a_million() -> bytes:
    return _cube(lambda document: document["materials"][0]["pbrMetallicRoughness"].update(baseColorFactor=[1] * 1_000_000))


@attack("gltf")
def emission_of_texts() -> bytes:
    return _cube(lambda document: document["materials"][0].update(emissiveFactor="111"))


@attack("gltf")
def emission_is_multiplied_by_text() -> bytes:
    strength = {"KHR_materials_emissive_strength": {"emissiveStrength": [1] * 1000}}
    return _cube(lambda document: document["materials"][0].update(emissiveFactor=[1, 1, 1], extensions=strength))


@attack("gltf")
def texture_offset_of_lists() -> bytes:
    change = {"offset": [[0.0] * 5000, 0], "scale": [[1.0] * 5000, 1]}
    extension = {"KHR_texture_transform": change}
    return cube_gltf(texture=picture("PNG"), color_extension=extension).glb()


@attack("gltf")
def texture_set_of_five_thousand_digits() -> bytes:
    def change(document: dict[str, Any]) -> None:
        reference = document["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]
        reference["texCoord"] = int("9" * 4000)

    return _cube(change, texture=picture("PNG"))


@attack("gltf")
def four_hundred_textures_of_one_image() -> bytes:
    made = cube_gltf(texture=encoded(Image.new("RGB", (2048, 2048))))
    made.document["textures"] = [{"source": 0, "sampler": 0}] * 400
    made.document["samplers"] = [{}]
    material = {"baseColorTexture": {"index": 0}}
    made.document["materials"] = [
        {"pbrMetallicRoughness": {**material, "baseColorTexture": {"index": number}}} for number in range(400)
    ]
    primitive = made.document["meshes"][0]["primitives"][0]
    made.document["meshes"][0]["primitives"] = [{**primitive, "material": number} for number in range(400)]
    return made.glb()


@attack("gltf")
def four_hundred_names_of_one_image() -> Files:
    """One file under names that differ in case and in escapes; each is decoded."""
    made = cube_gltf(texture="a.png")
    names = [f"{'./' * number}a.png" for number in range(100)]
    made.document["images"] = [{"uri": name} for name in names]
    made.document["textures"] = [{"source": number} for number in range(len(names))]
    made.document["materials"] = [
        {"pbrMetallicRoughness": {"baseColorTexture": {"index": number}}} for number in range(len(names))
    ]
    primitive = made.document["meshes"][0]["primitives"][0]
    made.document["meshes"][0]["primitives"] = [{**primitive, "material": number} for number in range(len(names))]
    return {"mesh.gltf": made.gltf("all.bin"), "all.bin": made.binary, "a.png": encoded(Image.new("RGB", (1024, 1024)))}


@attack("gltf")
def many_buffers_of_one_file() -> Files:
    """Each buffer may hold the same file once more."""
    buffers = [{"byteLength": 4, "uri": f"{'./' * number}all.bin"} for number in range(500)]
    views = [{"buffer": number, "byteLength": 4} for number in range(500)]
    return {"mesh.gltf": _document(buffers=buffers, bufferViews=views), "all.bin": b"\0" * 4_000_000}


@attack("gltf", large=True)
def many_data_uris() -> bytes:
    uri = "data:;base64," + base64.b64encode(b"\0" * 30_000).decode()
    return _document(buffers=[{"byteLength": 4, "uri": uri}] * 1000, bufferViews=[{"buffer": 0, "byteLength": 4}] * _MANY)


@attack("gltf")
def the_mesh_is_its_own_buffer() -> Files:
    made = cube_gltf(texture="mesh.gltf")
    return {"mesh.gltf": made.gltf("mesh.gltf")}


@attack("gltf")
def instances_are_counted() -> bytes:
    made = cube_gltf()
    attributes = {"TRANSLATION": made.accessor(np.zeros((200_000, 3), np.float32))}
    made.document["nodes"][0]["extensions"] = {"EXT_mesh_gpu_instancing": {"attributes": attributes}}
    return made.glb()


@attack("gltf")
def instances_by_scalars() -> bytes:
    made = cube_gltf()
    attributes = {"ROTATION": made.accessor(np.zeros((2000, 1), np.float32)), "SCALE": made.accessor(np.zeros((5, 16), np.float32))}
    made.document["nodes"][0]["extensions"] = {"EXT_mesh_gpu_instancing": {"attributes": attributes}}
    return made.glb()


@attack("gltf")
def asset_is_deep() -> bytes:
    return b'{"asset":' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}"


@attack("gltf")
def fields_twice() -> bytes:
    return b'{"asset":{"version":"2.0"},"asset":[],"asset":{"version":[2]},"buffers":[],"buffers":{"a":1}}'


@attack("gltf")
def coordinates_at_the_end_of_float() -> bytes:
    made = Gltf()
    positions = cube()[0].astype(np.float32) * np.float32(3e38)
    made.node(mesh=made.mesh(positions, cube()[3], {}))
    return made.glb()


@attack("gltf")
def draws_far_more_faces_than_declared() -> bytes:
    return _draco(DracoPy.encode(*_sheet(500)), vertices=3, corners=3)


def _sheet(side: int) -> tuple[np.ndarray, np.ndarray]:
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
    view = made.view(DracoPy.encode(*_sheet(300)))
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


# -- images ------------------------------------------------------------------------------------------------------------


def _bomb(width: int, height: int, depth: int = 1, color: int = 0, step: int = 1) -> bytes:
    packer = zlib.compressobj(9)
    row = b"\0" * (-(-width * depth * step // 8) + 1)
    packed = b"".join([packer.compress(row) for _ in range(height)]) + packer.flush()
    return png(ihdr(width, height, depth, color), (b"IDAT", packed), (b"IEND", b""))


@attack("image")
def png_wider_than_any_row() -> Files:
    return textured_glb(_bomb(1 << 27, 1))


@attack("image", large=True)
def png_as_large_as_is_allowed() -> Files:
    return textured_glb(_bomb(8192, 16384, 16, 6, 4))


@attack("image", large=True)
def png_of_billions_of_pixels() -> Files:
    return textured_glb(_bomb(60_000, 60_000))


@attack("image")
def png_with_a_large_text() -> Files:
    text = zlib.compress(b"\0" * 200_000_000, 9)
    chunks = [(b"zTXt", b"a\0\0" + text)] * 10 + [(b"iCCP", b"a\0\0" + text)]
    return textured_glb(png(ihdr(1, 1), *chunks, (b"IDAT", zlib.compress(b"\0" * 4)), (b"IEND", b"")))


@attack("image")
def png_of_a_million_chunks() -> Files:
    return textured_glb(png(ihdr(1, 1), *[(b"tEXt", b"")] * 1_000_000, (b"IEND", b"")))


@attack("image")
def blp_with_a_large_jpeg() -> Files:
    """The header says 16 x 16; the JPEG within has 144 million pixels."""
    inner = bytearray(picture("JPEG"))
    frame = inner.index(b"\xff\xc0")
    inner[frame + 5 : frame + 9] = struct.pack(">HH", 12_000, 12_000)
    sizes = struct.pack("<16I", len(inner), *[0] * 15)
    header = b"BLP1" + struct.pack("<IIIIII", 0, 0, 16, 16, 5, 1) + struct.pack("<16I", 28 + 128 + 4, *[0] * 15) + sizes
    return textured_glb(header + struct.pack("<I", 0) + bytes(inner))


@attack("image")
def eps() -> Files:
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(%pipe%touch /tmp/started) (w) file\nshowpage\n%%EOF\n"
    return textured_glb(script)


@attack("image")
def eps_with_a_preview() -> Files:
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    return textured_glb(b"\xc5\xd0\xd3\xc6" + struct.pack("<II", 32, len(script)) + b"\0" * 20 + script)


@attack("image")
def icon_with_a_bomb() -> Files:
    inner = _bomb(20_000, 20_000)
    return textured_glb(struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(inner), 22) + inner)


@attack("image")
def icns_with_a_bomb() -> Files:
    inner = _bomb(20_000, 20_000)
    entry = b"ic07" + struct.pack(">I", len(inner) + 8) + inner
    return textured_glb(b"icns" + struct.pack(">I", len(entry) + 8) + entry)


@attack("image")
def gif_with_a_large_screen() -> Files:
    data = bytearray(picture("GIF", "P"))
    data[6:10] = struct.pack("<HH", 65_535, 65_535)
    return textured_glb(bytes(data))


@attack("image")
def gif_with_a_large_frame() -> Files:
    data = bytearray(picture("GIF", "P"))
    frame = data.index(b",\0\0\0\0")
    data[frame + 5 : frame + 9] = struct.pack("<HH", 11_000, 12_000)
    return textured_glb(bytes(data))


@attack("image")
def tiff_of_large_strips() -> Files:
    tags = ((256, 4, 100_000), (257, 4, 1000), (258, 3, 8), (259, 3, 8), (262, 3, 1), (273, 4, 200), (278, 4, 1000), (279, 4, 20))
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    directory = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 8)
    return textured_glb(directory.ljust(200, b"\0") + zlib.compress(b"\0" * 1000))


@attack("image")
def tga_of_runs() -> Files:
    header = struct.pack("<BBBHHBHHHHBB", 0, 0, 10, 0, 0, 0, 0, 0, 11_000, 12_000, 32, 0)
    return textured_glb(header + b"\xff\0\0\0\0" * 1000)


@attack("image")
def ppm_of_billions() -> Files:
    return textured_glb(b"P6\n99999 99999\n255\n" + b"\0" * 100)


@attack("image")
def dds_of_billions() -> Files:
    header = struct.pack("<4s7I", b"DDS ", 124, 0x1007, 60_000, 60_000, 0, 0, 1) + b"\0" * 44
    return textured_glb(header + struct.pack("<II4s5I", 32, 4, b"DXT1", 0, 0, 0, 0, 0) + b"\0" * 20)


@attack("image")
def jpeg_of_nothing() -> Files:
    data = bytearray(picture("JPEG", progressive=True))
    frame = data.index(b"\xff\xc2")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 11_000, 12_000)
    return textured_glb(bytes(data))


@attack("image")
def jpeg_of_a_thousand_scans() -> Files:
    """A progressive JPEG: each scan goes over the whole picture again."""
    data = picture("JPEG", progressive=True)
    frame, scan = data.index(b"\xff\xc2"), data.rindex(b"\xff\xda")
    sized = bytearray(data)
    sized[frame + 5 : frame + 9] = struct.pack(">HH", 8000, 8000)
    return textured_glb(bytes(sized[:scan]) + bytes(sized[scan:-2]) * 1000 + b"\xff\xd9")


@attack("image")
def webp_of_one_colour() -> Files:
    return textured_glb(encoded(Image.new("RGB", (11_000, 12_000)), "WEBP", lossless=True, method=0))


@attack("image")
def a_link_to_lfs() -> Files:
    return textured_glb(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


# -- text formats ------------------------------------------------------------------------------------------------------


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
    return {"mesh.obj": b"mtllib a.mtl mesh.obj\nusemtl a\n" + _TRIANGLE, "a.mtl": b"newmtl a\nmtllib a.mtl\nmap_Kd a.mtl\n"}


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
    head = b"ply\nformat ascii 1.0\n" + comments + b"element vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
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


@attack("gltf")
def buffers_end_in_many_links() -> bytes:
    return json.dumps({"asset": {"version": "2.0"}, "images": [{"uri": f"{'a/' * 500}{n}.png"} for n in range(300)]}).encode()


@attack("gltf")
def chunk_of_text_is_empty() -> bytes:
    return glb({}, b"")[:12] + struct.pack("<II", 0, 0x4E4F534A) + struct.pack("<II", 0, 0x004E4942)
