"""Small glTF meshes, one for each feature of the render stage; a feature is files by name, the mesh first."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.stages import meshes
from tests.stages.meshes import Gltf, cube, cube_gltf, quad_gltf

Files = dict[str, bytes]
FEATURES: dict[str, Callable[[], Files]] = {}

_PALETTE = np.random.default_rng(3).integers(30, 256, (4, 4, 4)).astype(np.uint8)
_PALETTE[..., 3] = 255
_PICTURE = meshes.blocks(_PALETTE)  # [64, 64, 4]: sixteen colours, so that a turned or shifted picture is seen
_WHITE: dict[str, Any] = {"pbrMetallicRoughness": {}}


def feature(make: Callable[[], Files | Gltf | bytes]) -> Callable[[], Files]:
    def files() -> Files:
        made = make()
        if isinstance(made, Gltf):
            used = set(re.findall(r'"((?:KHR|EXT)_\w+)"', json.dumps(made.document)))
            made.document["extensionsUsed"] = sorted(used)  # three.js looks at no other extension
            made = made.glb()
        return {"mesh.glb": made} if isinstance(made, bytes) else made

    FEATURES[make.__name__] = files
    return files


def write_features(folder: Path) -> list[tuple[str, Path]]:
    """The name and the mesh of each feature, each in a folder of its own."""
    meshes_of = []
    for name, make in FEATURES.items():
        files = make()
        for file, data in files.items():
            (folder / name / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / name / file).write_bytes(data)
        meshes_of.append((name, folder / name / next(iter(files))))
    return meshes_of


def encoded(pixels: np.ndarray | Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, form, **options)
    return buffer.getvalue()


def textured(data: bytes | None = None, uv_scale: float = 1.0, **reference: Any) -> Gltf:
    """A cube whose texture reference has these fields more, and a second set of texture coordinates, turned around."""
    made = Gltf()
    positions, normals, uv, faces = cube()
    attributes = {
        "NORMAL": normals.astype(np.float32),
        "TEXCOORD_0": (uv * uv_scale).astype(np.float32),
        "TEXCOORD_1": uv[:, ::-1].astype(np.float32).copy(),
    }
    number = made.texture(data or encoded(_PICTURE))
    material = {"pbrMetallicRoughness": {"baseColorTexture": {"index": number, **reference}}}
    made.node(mesh=made.mesh(positions, faces, attributes, material))
    return made


def painted(colors: np.ndarray, material: dict[str, Any] | None = None, **accessor: Any) -> Gltf:
    made = Gltf()
    positions, normals, _, faces = cube()
    mesh = made.mesh(positions, faces, {"NORMAL": normals.astype(np.float32)}, material or _WHITE)
    number = made.accessor(colors, **accessor)
    made.document["meshes"][mesh]["primitives"][0]["attributes"]["COLOR_0"] = number
    made.node(mesh=mesh)
    return made


def _shades(channels: int) -> np.ndarray:
    """[24, channels] in 0..1"""
    shades = np.random.default_rng(5).uniform(0.05, 1, (24, channels))
    shades[:, 3:] = 1
    return shades


@feature
def texture() -> Gltf:
    return textured()


@feature
def factor_texture_and_vertex_colour() -> Gltf:
    material = {"pbrMetallicRoughness": {"baseColorFactor": [0.9, 0.5, 0.7, 1], "metallicFactor": 1.0}}
    return cube_gltf(material, _shades(4).astype(np.float32), encoded(_PICTURE))


@feature
def vertex_colours_float_rgb() -> Gltf:
    return painted(_shades(3).astype(np.float32))


@feature
def vertex_colours_8_bit() -> Gltf:
    return painted((_shades(4) * 255).astype(np.uint8), normalized=True)


@feature
def vertex_colours_16_bit() -> Gltf:
    return painted((_shades(4) * 65535).astype(np.uint16), normalized=True)


@feature
def texture_transform() -> Gltf:
    change = {"offset": [0.3, 0.1], "rotation": 0.4, "scale": [0.6, 1.7]}
    return textured(extensions={"KHR_texture_transform": change})


@feature
def texture_transform_with_its_own_uv_set() -> Gltf:
    return textured(extensions={"KHR_texture_transform": {"scale": [0.5, 0.5], "texCoord": 1}})


@feature
def second_uv_set() -> Gltf:
    return textured(texCoord=1)


@feature
def wrap_modes() -> Gltf:
    made = textured(uv_scale=2.7)
    made.document["textures"][0]["sampler"] = 0
    made.document["samplers"] = [{"wrapS": 33648, "wrapT": 33071}]
    return made


@feature
def nearest_filter() -> Gltf:
    made = textured(encoded(_PALETTE))
    made.document["textures"][0]["sampler"] = 0
    made.document["samplers"] = [{"magFilter": 9728, "minFilter": 9728}]
    return made


@feature
def linear_filter_of_few_texels() -> Gltf:
    return textured(encoded(_PALETTE))


@feature
def emission() -> Gltf:
    made = textured()
    material = made.document["materials"][0]
    material["pbrMetallicRoughness"]["baseColorFactor"] = [0.3, 0.3, 0.3, 1]
    material |= {"emissiveFactor": [0.2, 0.1, 0.3], "emissiveTexture": {"index": 0, "texCoord": 1}}
    material["extensions"] = {"KHR_materials_emissive_strength": {"emissiveStrength": 1.5}}
    return made


@feature
def emission_of_a_black_material() -> Gltf:
    return cube_gltf({"pbrMetallicRoughness": {"baseColorFactor": [0, 0, 0, 1]}, "emissiveFactor": [0.2, 0.8, 0.4]})


@feature
def unlit() -> Gltf:
    made = textured()
    made.document["materials"][0]["extensions"] = {"KHR_materials_unlit": {}}
    return made


@feature
def alpha_mask() -> Gltf:
    pixels = _PICTURE.copy()
    pixels[..., 3] = meshes.blocks(np.array([[[20], [220]], [[130], [90]]], np.uint8), 32)[..., 0]
    material = {"alphaMode": "MASK", "alphaCutoff": 0.45, "doubleSided": True}
    made = textured(encoded(pixels))
    made.document["materials"][0] |= material
    return made


@feature
def alpha_mask_of_vertex_colours() -> Gltf:
    colors = _shades(4).astype(np.float32)
    colors[:, 3] = np.tile([0.0, 1.0, 1.0, 0.0], 6)
    return painted(colors, {"alphaMode": "MASK", "doubleSided": True})


@feature
def alpha_blend() -> Gltf:
    glass = {"pbrMetallicRoughness": {"baseColorFactor": [1, 0.1, 0.1, 0.6]}, "alphaMode": "BLEND", "doubleSided": True}
    made = quad_gltf(glass)
    positions, _, _, faces = cube()
    blue = {"pbrMetallicRoughness": {"baseColorFactor": [0.1, 0.2, 1, 1]}}
    made.node(mesh=made.mesh(positions * 0.5 - [0, 0, 0.5], faces, {}, blue))
    return made


@feature
def alpha_of_an_opaque_material() -> Gltf:
    pixels = _PICTURE.copy()
    pixels[..., 3] = 100
    return textured(encoded(pixels))


@feature
def culled_backs() -> Gltf:
    made = quad_gltf({**_WHITE, "doubleSided": False})
    positions, _, _, faces = cube()
    red = {"pbrMetallicRoughness": {"baseColorFactor": [1, 0, 0, 1]}, "doubleSided": True}
    made.node(mesh=made.mesh(positions[16:20] * [1, 0.5, 1] - [0, 0, 1], faces[:2], {}, red))
    return made


@feature
def mirrored_nodes() -> Gltf:
    made = textured()
    made.document["nodes"][0] |= {"scale": [-1, 1, 2]}
    made.node(mesh=0, scale=[1, -0.5, 1], translation=[1.5, 0.5, 0])
    made.node(mesh=0, scale=[-0.5, -0.5, -0.5], translation=[-1.5, 0.5, 0.3])
    return made


@feature
def nested_nodes() -> Gltf:
    made = textured()
    made.document["scenes"][0]["nodes"] = []
    made.document["nodes"] = []
    leaf = made.node(root=False, mesh=0, translation=[1, 0.2, 0], rotation=[0.2, 0.4, 0.1, 0.79**0.5])
    arm = made.node(root=False, children=[leaf], mesh=0, scale=[1, 0.4, 0.7], rotation=[0, 0, 0.6, 0.8])
    made.node(children=[arm], matrix=[0, 1, 0, 0, -1.5, 0, 0, 0, 0, 0, -2, 0, 5, 6, 7, 1])
    return made


@feature
def instances() -> Gltf:
    made = textured()
    turns = np.array([[0, 0, 0, 1], [0.6, 0, 0, 0.8], [0, 0.28, 0, 0.96]], np.float32)
    attributes = {
        "TRANSLATION": made.accessor(np.array([[0, 0, 0], [1.5, 0.3, 0], [0, 2, 1]], np.float32)),
        "ROTATION": made.accessor(turns),
        "SCALE": made.accessor(np.array([[1, 1, 1], [0.5, 1, 1], [1, 0.4, 1.3]], np.float32)),
    }
    made.document["nodes"][0] |= {
        "translation": [3, 2, 1], "extensions": {"EXT_mesh_gpu_instancing": {"attributes": attributes}},
    }  # fmt: skip
    return made


@feature
def second_scene_is_the_default() -> Gltf:
    made = textured()
    shown = made.node(root=False, mesh=0, scale=[1, 2, 0.5])
    made.document["scenes"].append({"nodes": [shown]})
    made.document["scene"] = 1
    return made


@feature
def skin() -> Gltf:
    """A tower bent by two joints, whose node's own transform counts for nothing."""
    made = Gltf()
    positions, normals, uv, faces = cube()
    share = (positions[:, 1] + 0.5).astype(np.float32)
    weights = np.stack([1 - share, share, share * 0, share * 0], 1)
    attributes: dict[str, np.ndarray] = {
        "NORMAL": normals.astype(np.float32), "TEXCOORD_0": uv.astype(np.float32), "WEIGHTS_0": weights,
        "JOINTS_0": np.tile(np.array([[0, 1, 0, 0]], np.uint16), (24, 1)),
    }  # fmt: skip
    material = {"pbrMetallicRoughness": {"baseColorTexture": {"index": made.texture(encoded(_PICTURE))}}}
    mesh = made.mesh(positions, faces, attributes, material)
    tip = made.node(root=False, translation=[0.7, 1.2, 0], rotation=[0, 0, 0.28, 0.96])
    root = made.node(children=[tip], translation=[0, 0.5, 0])
    inverse = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
    inverse[1, 3, :3] = [0, -0.5, 0]
    made.document["skins"] = [{"joints": [root, tip], "inverseBindMatrices": made.accessor(inverse.reshape(2, 16))}]
    made.node(mesh=mesh, skin=0, translation=[40, 0, 0], scale=[3, 3, 3])
    return made


@feature
def morph_targets() -> Gltf:
    made = Gltf()
    positions, normals, _, faces = cube()
    lift = (positions * [0, 2, 0]).astype(np.float32)
    widen = (positions * [3, 0, 0]).astype(np.float32)
    targets = [{"POSITION": made.accessor(lift)}, {"POSITION": made.accessor(widen)}]
    attributes = {"NORMAL": normals.astype(np.float32), "COLOR_0": _shades(4).astype(np.float32)}
    mesh = made.mesh(positions, faces, attributes, _WHITE, targets=targets)
    made.document["meshes"][mesh]["weights"] = [0.7, 0.0]
    made.node(mesh=mesh)
    made.node(mesh=mesh, weights=[0.0, 0.3], translation=[0, -2, 0])
    return made


@feature
def draco() -> bytes:
    return meshes.draco_glb()


@feature
def quantised() -> Gltf:
    made = Gltf()
    positions, _, uv, faces = cube()
    mesh = made.mesh(positions, faces, {})
    numbers = made.document["meshes"][mesh]["primitives"][0]["attributes"]
    numbers["POSITION"] = made.accessor(np.pad(((positions + 0.5) * 60000).astype(np.uint16), ((0, 0), (0, 1))))
    made.document["accessors"][numbers["POSITION"]]["type"] = "VEC3"
    made.document["bufferViews"][-1]["byteStride"] = 8
    numbers["TEXCOORD_0"] = made.accessor((uv * 65535).astype(np.uint16), normalized=True)
    reference = {"index": made.texture(encoded(_PICTURE))}
    material = made.add("materials", {"pbrMetallicRoughness": {"baseColorTexture": reference}})
    made.document["meshes"][mesh]["primitives"][0]["material"] = material
    made.document["extensionsRequired"] = ["KHR_mesh_quantization"]
    made.node(mesh=mesh, scale=[1 / 60000] * 3)
    return made


@feature
def sparse_positions() -> Gltf:
    made = painted(_shades(4).astype(np.float32))
    places, values = np.array([0, 4, 8], np.uint16), np.array([[0.9, 1, 0.4], [0, 1.5, 0], [1, 1, 1]], np.float32)
    number = made.document["meshes"][0]["primitives"][0]["attributes"]["POSITION"]
    made.document["accessors"][number]["sparse"] = {
        "count": 3,
        "indices": {"bufferView": made.view(places.tobytes()), "componentType": 5123},
        "values": {"bufferView": made.view(values.tobytes())},
    }
    return made


def _band(mode: int, order: list[int] | None) -> Gltf:
    """Six corners of a sheet as a strip or a fan."""
    made = Gltf()
    corners = np.array([[0, 0, 0], [0, 1, 0], [1, 0, 0.2], [1, 1, 0], [2, 0.3, 0], [2, 1, 0.5]], np.float32)
    mesh = made.mesh(corners, np.array(order or [0]), {"COLOR_0": _shades(4)[:6].astype(np.float32)}, mode=mode)
    if order is None:
        del made.document["meshes"][mesh]["primitives"][0]["indices"]
    made.document["meshes"][mesh]["primitives"][0]["material"] = made.add("materials", {"doubleSided": False})
    made.node(mesh=mesh)
    return made


@feature
def strip() -> Gltf:
    return _band(5, [0, 2, 1, 3, 5, 4])


@feature
def strip_without_indices() -> Gltf:
    return _band(5, None)


@feature
def fan() -> Gltf:
    return _band(6, [0, 2, 4, 5, 3, 1])


@feature
def triangles_without_indices() -> Gltf:
    return _band(4, None)


@feature
def far_from_the_origin() -> Gltf:
    made = textured()
    made.document["nodes"][0] |= {"translation": [1e6, -3e5, 2e6], "scale": [2.0, 3.0, 4.0]}
    return made


@feature
def tiny() -> Gltf:
    made = textured()
    made.document["nodes"][0] |= {"scale": [1e-7, 1e-7, 2e-7]}
    return made


@feature
def degenerate_and_doubled_faces() -> Gltf:
    made = Gltf()
    positions, normals, uv, faces = cube()
    faces = np.concatenate([faces, faces[:4], [[3, 3, 3], [0, 1, 1]]])
    attributes = {"NORMAL": normals.astype(np.float32) * 0, "TEXCOORD_0": uv.astype(np.float32)}
    material = {"pbrMetallicRoughness": {"baseColorTexture": {"index": made.texture(encoded(_PICTURE))}}}
    made.node(mesh=made.mesh(positions, faces, attributes, material))
    return made


@feature
def faces_in_one_place() -> Gltf:
    """Coloured twice over, by corners that are the same to the last bit: the later colours are seen."""
    made = Gltf()
    positions, normals, _, faces = cube()
    attributes = {
        "NORMAL": np.tile(normals, (2, 1)).astype(np.float32),
        "COLOR_0": np.concatenate([_shades(4), 1 - 0.9 * _shades(4)]).clip(0, 1).astype(np.float32),
    }
    twice = np.concatenate([faces, faces + len(positions)])
    made.node(mesh=made.mesh(np.tile(positions, (2, 1)), twice, attributes, _WHITE))
    return made


@feature
def missing_texture_leaves_the_factor() -> Files:
    made = cube_gltf({"pbrMetallicRoughness": {"baseColorFactor": [0.8, 0.2, 0.1, 1]}}, texture="gone.png")
    return {"mesh.glb": made.glb()}


@feature
def files_beside_with_spaces() -> Files:
    made = cube_gltf(texture="skins/my%20skin%20%C3%A9.png")
    return {"my mesh.gltf": made.gltf("all%20of%20it.bin"), "all of it.bin": made.binary,
            "skins/my skin é.png": encoded(_PICTURE)}  # fmt: skip


def _image(name: str, data: bytes, mime: str = "image/png", extension: str = "") -> None:
    def make() -> Gltf:
        made = textured(data)
        made.document["images"][0]["mimeType"] = mime
        if extension:
            made.document["textures"][0] = {"extensions": {extension: {"source": 0}}}
            made.document["extensionsRequired"] = [extension]
        return made

    make.__name__ = f"image_{name}"
    feature(make)


_SMOOTH = Image.fromarray(_PICTURE).resize((256, 256), Image.Resampling.BICUBIC)
_image("palette", encoded(_SMOOTH.convert("P")))
_image("grey", encoded(_SMOOTH.convert("L")))
_image("grey_alpha", encoded(_SMOOTH.convert("LA")))
_image("grey_16_bit", encoded(Image.fromarray(np.asarray(_SMOOTH.convert("L")).astype(np.uint16) * 257)))
_image("one_bit", encoded(_SMOOTH.convert("1")))
_image("jpeg", encoded(_SMOOTH.convert("RGB"), "JPEG", quality=90), "image/jpeg")
_image("jpeg_grey", encoded(_SMOOTH.convert("L"), "JPEG", quality=90), "image/jpeg")
_image("jpeg_progressive", encoded(_SMOOTH.convert("RGB"), "JPEG", progressive=True), "image/jpeg")
_image("webp", encoded(_SMOOTH, "WEBP", quality=90), "image/webp", "EXT_texture_webp")
_image("avif", encoded(_SMOOTH, "AVIF", quality=90), "image/avif", "EXT_texture_avif")
_image("odd_size", encoded(_SMOOTH.resize((37, 101))))
_image("one_pixel", encoded(np.array([[[200, 90, 20, 255]]], np.uint8)))
