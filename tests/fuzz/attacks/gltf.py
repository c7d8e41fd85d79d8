"""glTF whose numbers, counts and structure ask for more time or memory than a file may."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from tests.fuzz.attacks.compressed import sheet
from tests.fuzz.attacks.table import attack
from tests.fuzz.generators.gltf import text_of
from tests.fuzz.generators.images import picture
from tests.fuzz.generators.values import Token
from tests.fuzz.seeds import Files
from tests.render.features import encoded
from tests.stages.meshes import Gltf, cube, cube_gltf, glb, quad_gltf
from tests.stages.packing import packed_cube

_MANY = 100_000


def _document(**fields: Any) -> bytes:
    return text_of({"asset": {"version": "2.0"}, **fields})


def _cube(change: Callable[[dict[str, Any]], Any], **options: Any) -> bytes:
    made = cube_gltf(**options)
    change(made.document)
    return made.glb()


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
    entry = {
        "bufferView": len(made.document["bufferViews"]) - 1,
        "componentType": 5126,
        "count": 2_000_000,
        "type": "MAT4",
    }
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
    made.document["materials"] = [{"alphaMode": "BLEND"}] * 10_000
    made.document["meshes"][0]["primitives"] = [
        {"attributes": {"POSITION": accessor}, "material": number} for number in range(10_000)
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
    return _cube(
        lambda document: document["materials"][0]["pbrMetallicRoughness"].update(baseColorFactor=[1] * 1_000_000)
    )


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
    return _document(
        buffers=[{"byteLength": 4, "uri": uri}] * 1000, bufferViews=[{"buffer": 0, "byteLength": 4}] * _MANY
    )


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
    attributes = {
        "ROTATION": made.accessor(np.zeros((2000, 1), np.float32)),
        "SCALE": made.accessor(np.zeros((5, 16), np.float32)),
    }
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
def buffers_end_in_many_links() -> bytes:
    return json.dumps(
        {"asset": {"version": "2.0"}, "images": [{"uri": f"{'a/' * 500}{n}.png"} for n in range(300)]}
    ).encode()


@attack("gltf")
def chunk_of_text_is_empty() -> bytes:
    return glb({}, b"")[:12] + struct.pack("<II", 0, 0x4E4F534A) + struct.pack("<II", 0, 0x004E4942)


@attack("gltf", large=True)
def many_morph_targets() -> bytes:
    """Each goes over all vertices."""
    made = Gltf()
    positions, faces = sheet(400)
    mesh = made.mesh(positions, faces[:3], {})
    primitive = made.document["meshes"][mesh]["primitives"][0]
    primitive["targets"] = [{"POSITION": primitive["attributes"]["POSITION"]}] * _MANY
    made.document["meshes"][mesh]["weights"] = [1e-6] * _MANY
    made.node(mesh=mesh)
    return made.glb()


@attack("gltf", large=True)
def many_images_in_one_large_view() -> bytes:
    made = cube_gltf(texture=picture("PNG") + b"\0" * 40_000_000)
    image, primitive = made.document["images"][0], made.document["meshes"][0]["primitives"][0]
    made.document["images"] = [image] * 8000
    made.document["textures"] = [{"source": number} for number in range(8000)]
    made.document["materials"] = [
        {"pbrMetallicRoughness": {"baseColorTexture": {"index": number}}} for number in range(8000)
    ]
    made.document["meshes"][0]["primitives"] = [{**primitive, "material": number} for number in range(8000)]
    return made.glb()


@attack("gltf", large=True)
def many_buffers_of_one_data_uri() -> bytes:
    """The escape hides from a reader that looks for data URIs in the text that this is one."""
    made = cube_gltf()
    made.document |= made.finished()
    uri = "data:;base64," + base64.b64encode(made.binary.ljust(10_000_000, b"\0")).decode()
    view, primitive = made.document["bufferViews"][0], made.document["meshes"][0]["primitives"][0]
    accessor = made.document["accessors"][primitive["attributes"]["POSITION"]]
    made.document["buffers"] = [{"byteLength": 4, "uri": uri if number == 0 else "@"} for number in range(400)]
    made.document["bufferViews"] += [{**view, "buffer": number} for number in range(400)]
    first = len(made.document["bufferViews"]) - 400
    numbers = [made.add("accessors", {**accessor, "bufferView": first + number}) for number in range(400)]
    made.document["meshes"][0]["primitives"] = [{"attributes": {"POSITION": number}} for number in numbers]
    return json.dumps(made.document).replace('"@"', '"\\u0064ata:0"').encode()


@attack("gltf")
def number_of_a_data_uri() -> bytes:
    """As it may stand for one within a reader, with as many zeros as nobody expects."""
    buffers = '[{"byteLength": 1, "uri": "data:,a"}, {"byteLength": 1, "uri": "\\u0064ata:0000000009"}]'
    return f'{{"asset": {{"version": "2.0"}}, "buffers": {buffers}}}'.encode()


@attack("gltf")
def number_of_five_thousand_digits_of_a_data_uri() -> bytes:
    buffers = f'[{{"byteLength": 1, "uri": "data:,a"}}, {{"byteLength": 1, "uri": "\\u0064ata:{"0" * 5000}"}}]'
    return f'{{"asset": {{"version": "2.0"}}, "buffers": {buffers}}}'.encode()


@attack("gltf")
def data_uri_that_is_no_string() -> bytes:
    return b'{"asset":{"version":"2.0"},"buffers":[{"byteLength":1,"uri":"data:\\q,a"}]}'
