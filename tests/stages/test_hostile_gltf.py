"""glTF files whose values have wrong types, or that make much of little: refused by name, before memory is taken."""

import base64
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.contract.stage import StageError
from stages.meshes.gltf import document
from tests.stages import meshes, packing
from tests.stages.meshes import model_of
from tests.stages.test_render_guards import read

# wrong for every field that is changed below, some of which are lists of numbers
VALUES = [True, -1, 1.5, 1e999, 1 << 60, "1", [0], [[1, 2]], {"a": 1}]


def refusal(data: bytes, folder: Path, name: str = "a.glb", **limits: int) -> StageError:
    with pytest.raises(StageError) as caught:
        model_of(data, folder, name, **limits)
    return caught.value


def whole() -> meshes.Gltf:
    """A cube with all that glTF can say about it."""
    made = meshes.cube_gltf(texture=meshes.png(meshes.QUARTERS), colors=np.ones((24, 4), np.float32))
    document, primitive = made.document, made.document["meshes"][0]["primitives"][0]
    positions = document["accessors"][primitive["attributes"]["POSITION"]]
    primitive["targets"] = [{"POSITION": made.accessor(np.ones((24, 3), np.float32))}]
    primitive["attributes"]["JOINTS_0"] = made.accessor(np.zeros((24, 4), np.uint8))
    primitive["attributes"]["WEIGHTS_0"] = made.accessor(np.ones((24, 4), np.float32))
    document["meshes"][0]["weights"] = [0.5]
    bind = made.accessor(np.eye(4, dtype=np.float32).reshape(1, 16))
    document["skins"] = [{"joints": [0], "inverseBindMatrices": bind}]
    document["nodes"][0] |= {"skin": 0, "translation": [1, 2, 3], "rotation": [0, 0, 0, 1], "scale": [1, 1, 1]}
    made.node(matrix=np.eye(4).reshape(-1).tolist(), children=[])
    indices, values = made.view(np.array([0, 1], np.uint32).tobytes()), made.view(np.zeros((2, 3), "f4").tobytes())
    positions["sparse"] = {
        "count": 2, "indices": {"bufferView": indices, "componentType": 5125}, "values": {"bufferView": values},
    }  # fmt: skip
    document["samplers"] = [{"wrapS": 10497}]
    document["textures"][0]["sampler"] = 0
    document["materials"][0] |= {"emissiveFactor": [1, 1, 1], "alphaMode": "MASK", "alphaCutoff": 0.5}
    color = document["materials"][0]["pbrMetallicRoughness"]
    color["baseColorFactor"] = [1, 1, 1, 1]
    color["baseColorTexture"]["extensions"] = {"KHR_texture_transform": {"offset": [0, 0], "rotation": 0.1}}
    return made


FIELDS = [
    "accessors[1].count", "accessors[1].byteOffset", "accessors[1].componentType", "accessors[1].type",
    "accessors[0].sparse.count", "accessors[0].sparse.indices.bufferView", "bufferViews[1].byteLength",
    "bufferViews[1].byteStride", "bufferViews[1].byteOffset", "bufferViews[1].buffer", "scene", "scenes[0].nodes[0]",
    "nodes[0].mesh", "nodes[0].skin", "nodes[0].translation", "nodes[1].matrix", "nodes[1].children",
    "meshes[0].weights", "meshes[0].primitives", "meshes[0].primitives[0].attributes",
    "meshes[0].primitives[0].attributes.NORMAL", "meshes[0].primitives[0].indices", "skins[0].joints",
    "meshes[0].primitives[0].mode", "meshes[0].primitives[0].targets[0].POSITION", "skins[0].inverseBindMatrices",
    "materials[0].emissiveFactor", "materials[0].alphaMode", "materials[0].pbrMetallicRoughness.baseColorFactor",
    "materials[0].pbrMetallicRoughness.baseColorTexture.index", "samplers[0].wrapS", "textures[0].source",
    "materials[0].pbrMetallicRoughness.baseColorTexture.extensions.KHR_texture_transform.offset",
    "images[0].bufferView", "extensionsRequired",
]  # fmt: skip

RIGHT = {"1": "alphaMode", "[0]": ("joints", "children", "weights"), "{'a': 1}": "attributes"}  # what is right where


def set_field(document: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.replace("[", ".[").split(".")
    owner: Any = document
    for part in parents:
        owner = owner[int(part[1:-1])] if part.startswith("[") else owner[part]
    owner[int(last[1:-1]) if last.startswith("[") else last] = value


@pytest.mark.parametrize("path", FIELDS)
def test_a_value_of_a_wrong_type_is_named(tmp_path: Path, path: str) -> None:
    assert model_of(whole().glb(), tmp_path).faces == 12
    real = path.endswith(("translation", "matrix", "weights", "emissiveFactor", "baseColorFactor", "offset"))
    for value in VALUES:
        if path.endswith(RIGHT.get(str(value), ())):
            continue
        made = whole()
        set_field(made.document, path, value)
        error = refusal(made.glb(), tmp_path)
        assert error.reason == "corrupt_file", (value, error.detail)
        assert (path in error.detail or f"{path.rsplit('[', 1)[0]}" in error.detail) and ", expected " in error.detail
        assert not real or "finite number" in error.detail


@pytest.mark.parametrize("field", ["count", "byteStride", "byteOffset", "byteLength", "buffer", "mode", "filter"])
@pytest.mark.parametrize("value", [[0], True, -1, {}])
def test_wrong_types_in_meshopt_are_refused(tmp_path: Path, field: str, value: Any) -> None:
    made = packing.packed_cube()
    packed = made.finished()
    packed["bufferViews"][0]["extensions"][made.extension][field] = value
    error = refusal(meshes.glb(packed, made.binary), tmp_path)
    assert error.reason == "corrupt_file" and f"{made.extension}.{field} is" in error.detail


def test_values_in_messages_are_short(tmp_path: Path) -> None:
    made = meshes.cube_gltf()
    made.document["asset"]["version"] = "9" * 1_000_000
    assert len(refusal(made.glb(), tmp_path).detail) < 200
    for value in ("x" * 1_000_000, [["y" * 100_000] * 9] * 9, int("7" * 4000)):
        made.document["asset"]["version"] = "2.0"
        made.document["accessors"][0]["count"] = value
        assert len(refusal(made.glb(), tmp_path).detail) < 1000
    made.document["extensionsRequired"] = ["EXT_" + "z" * 1_000_000]
    made.document["accessors"][0]["count"] = 24
    assert len(refusal(made.glb(), tmp_path).detail) < 300


# JSON -----------------------------------------------------------------------------------------------------------------

_ASSET = b'{"asset":{"version":"2.0"},"extras":%s}'
JSONS = {
    "objects": (_ASSET % (b"[" + b"{}," * 4_000_000 + b"{}]"), "too_large"),
    "lists": (_ASSET % (b"[" + b"[0]," * 3_000_000 + b"[]]"), "too_large"),
    "text": (_ASSET % (b'"' + "😀".encode() + b"a" * (2 << 20) + b'"'), "too_large"),
    "digits": (_ASSET % (b"9" * 100_000), "corrupt_file"),
    "depth": (_ASSET % (b'{"a":' * 50_000 + b"1" + b"}" * 50_000), "corrupt_file"),
    "data URIs": (_ASSET % (b"[" + b'"data:",' * 1001 + b"0]"), "too_large"),
}


@pytest.mark.parametrize("name", JSONS)
def test_json_that_unfolds_is_refused_before_it_is_parsed(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, reason = JSONS[name]
    if name in ("text", "data URIs"):
        monkeypatch.setattr(document, "_MOST_BYTES", 1 << 20)
        monkeypatch.setattr(document, "_MOST_DATA_URIS", 1000)
    outcome, taken = read(text, tmp_path / "a.gltf")
    assert isinstance(outcome, StageError) and outcome.reason == reason, outcome
    assert taken < 64 << 20


def test_data_uris_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = meshes.cube_gltf(texture="data:image/png;base64," + base64.b64encode(meshes.png(meshes.QUARTERS)).decode())
    text = made.gltf("DATA:application/octet-stream;base64," + base64.b64encode(made.binary).decode())
    plain = len(text) - len(base64.b64encode(made.binary))
    monkeypatch.setattr(document, "_MOST_BYTES", plain)
    for spelled in (text, text.replace(b"/", b"\\/")):  # as some libraries write a slash
        model = model_of(spelled, tmp_path, "a.gltf")
        assert model.faces == 12 and model.parts[0].material.color_texture is not None
    monkeypatch.setattr(document, "_MOST_BYTES", 500)
    assert refusal(text, tmp_path, "a.gltf").reason == "too_large"


# more than is declared ------------------------------------------------------------------------------------------------


def draco(positions: np.ndarray, faces: np.ndarray) -> meshes.Gltf:
    """A primitive whose accessors declare 3 vertices and 1 triangle, whatever its compressed data has."""
    import DracoPy

    return with_draco(DracoPy.encode(positions.astype(np.float32), faces.astype(np.uint32)))


def with_draco(packed: bytes) -> meshes.Gltf:
    made = meshes.Gltf()
    extension = {"bufferView": made.view(packed), "attributes": {"POSITION": 0}}
    primitive = {
        "attributes": {"POSITION": made.add("accessors", {"componentType": 5126, "count": 3, "type": "VEC3"})},
        "indices": made.add("accessors", {"componentType": 5125, "count": 3, "type": "SCALAR"}),
        "extensions": {"KHR_draco_mesh_compression": extension},
    }
    made.node(mesh=made.add("meshes", {"primitives": [primitive]}))
    return made


def strip(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangles that share no vertex."""
    corners = np.random.default_rng(0).random((3 * count, 3))
    return corners, np.arange(3 * count).reshape(-1, 3)


def test_faces_of_draco_are_counted_whatever_their_accessors_declare(tmp_path: Path) -> None:
    made = draco(*strip(1200))
    assert model_of(made.glb(), tmp_path).faces == 1200
    for limits in ({"max_faces": 1000}, {"max_vertices": 1000}):
        assert refusal(made.glb(), tmp_path, **limits).reason == "too_large"
    made.node(mesh=0)  # twice is too many
    assert refusal(made.glb(), tmp_path, max_faces=2000).reason == "too_large"


def varint(number: int) -> bytes:
    return bytes([number & 127 | 128]) + varint(number >> 7) if number > 127 else bytes([number])


@pytest.mark.parametrize("kind", ["edgebreaker", "sequential", "metadata"])
def test_sizes_in_the_header_of_draco_are_checked_before_it_is_decoded(tmp_path: Path, kind: str) -> None:
    flags = 0x8000 if kind == "metadata" else 0
    header = struct.pack("<5s4BH", b"DRACO", 2, 2, 1, int(kind != "sequential"), flags)
    if flags:
        header += b"\1\5" + b"\1\4name\3abc\1\3sub\0\0" + b"\0\0"
    header += (b"\0" if kind != "sequential" else b"") + varint(900_000_000) * 2
    outcome, taken = read(with_draco(header + b"\0" * 100).glb(), tmp_path / "a.glb")
    assert isinstance(outcome, StageError) and outcome.reason == "too_large" and "900,000,000" in outcome.detail
    assert taken < 4 << 20


@pytest.mark.parametrize(
    "data",
    [b"", b"DRACO", b"DRACX" * 9, b"DRACO\2\2\0\1\0\0" + b"\0" * 9, b"DRACO\2\2\1\1\0\x80" + b"\1" * 900]
    + [b"DRACO\2\2\1\1\0\0\0" + b"\xff" * 20],
)
def test_a_draco_header_that_is_not_valid_is_corrupt(tmp_path: Path, data: bytes) -> None:
    error = refusal(with_draco(data or b"\0").glb(), tmp_path)
    assert error.reason == "corrupt_file" and "Draco" in error.detail


def changed(change: Callable[[meshes.Gltf, dict[str, Any]], Any]) -> bytes:
    made = whole()
    change(made, made.document["meshes"][0]["primitives"][0])
    return made.glb()


def sparse(made: meshes.Gltf, **more: Any) -> None:
    made.document["accessors"][0]["sparse"] |= more


def unbacked(made: meshes.Gltf, kind: str, count: int) -> int:
    return made.add("accessors", {"componentType": 5126, "count": count, "type": kind})


SHAPES: dict[str, tuple[bytes, str]] = {
    "one morphed vertex for all": (
        changed(lambda made, p: p["targets"][0].update(POSITION=unbacked(made, "VEC3", 1))), "1 elements, expected 24"
    ),
    "many morphed vertices": (
        changed(lambda made, p: p["targets"][0].update(POSITION=unbacked(made, "VEC3", 9_000_000))), "expected 24"
    ),
    "wide positions": (
        changed(lambda made, p: p["attributes"].update(POSITION=unbacked(made, "MAT4", 24))), "expected 3"
    ),
    "many normals": (
        changed(lambda made, p: p["attributes"].update(NORMAL=unbacked(made, "VEC3", 9_000_000))), "expected 24"
    ),
    "many colours": (
        changed(lambda made, p: p["attributes"].update(COLOR_0=unbacked(made, "VEC4", 9_000_000))), "expected 24"
    ),
    "a joint beyond the skin": (
        changed(lambda made, p: p["attributes"].update(JOINTS_0=made.accessor(np.full((24, 4), 9, "u1")))), "joint 9"
    ),
    "joints that are not numbers": (
        changed(lambda made, p: p["attributes"].update(JOINTS_0=made.accessor(np.full((24, 4), np.nan, "f4")))),
        "joint",
    ),
    "fewer matrices than joints": (
        changed(lambda made, _: made.document["skins"][0].update(joints=[0, 1])), "expected 2"
    ),
    "a sparse index out of range": (
        changed(lambda made, _: sparse(
            made, indices={"bufferView": made.view(np.array([0, 24], "u4").tobytes()), "componentType": 5125})),
        "beyond the 24",
    ),
    "sparse values that are not there": (
        changed(lambda made, _: sparse(made, count=24)), "more than its view can hold"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_arrays_that_do_not_fit_are_refused_before_they_are_read(tmp_path: Path, name: str) -> None:
    data, text = SHAPES[name]
    outcome, taken = read(data, tmp_path / "a.glb")
    assert isinstance(outcome, StageError) and outcome.reason == "corrupt_file" and text in outcome.detail, outcome
    assert taken < 4 << 20


def nodes_with(mesh: dict[str, Any], count: int) -> bytes:
    made = meshes.cube_gltf()
    made.document["meshes"][0] |= mesh
    for _ in range(count - 1):
        made.node(mesh=0)
    return made.glb()


def many_instances(count: int) -> bytes:
    """Instances of a mesh without vertices."""
    made = meshes.cube_gltf()
    empty = {"attributes": {"POSITION": unbacked(made, "VEC3", 0)}}
    number = made.add("meshes", {"primitives": [empty]})
    places = made.add("accessors", {"componentType": 5121, "count": count, "type": "VEC3", "bufferView": 0})
    made.document["bufferViews"][0]["byteStride"] = 1
    made.binary += b"\0" * count
    made.document["bufferViews"][0] |= {"byteOffset": 0, "byteLength": len(made.binary)}
    made.node(mesh=number, extensions={"EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": places}}})
    return made.glb()


MULTIPLIED = {
    "parts": (nodes_with({"primitives": [{"attributes": {"POSITION": 0}, "mode": 0}] * 1000}, 5000), "parts"),
    "joints": (changed(lambda made, _: made.document.update(skins=[{"joints": [0] * 100_001}])), "joints"),
    "instances": (many_instances(6_000_000), "instances"),
}


@pytest.mark.parametrize("name", MULTIPLIED)
def test_what_multiplies_is_counted_before_it_is_read(tmp_path: Path, name: str) -> None:
    data, things = MULTIPLIED[name]
    outcome, taken = read(data, tmp_path / "a.glb")
    assert isinstance(outcome, StageError) and outcome.reason == "too_large" and things in outcome.detail, outcome
    assert taken < 64 << 20


def test_children_in_common_are_refused(tmp_path: Path) -> None:
    """A graph of 40 levels whose nodes share two children would be drawn a million million times."""
    made = meshes.cube_gltf()
    made.document["nodes"] = [{"children": [n + 1, n + 1]} for n in range(40)] + [{"mesh": 0}]
    error = refusal(made.glb(), tmp_path)
    assert error.reason == "corrupt_file" and "two parents" in error.detail


def test_json_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Text that looks like a data URI, in places where it is none, is harmless."""
    made = meshes.cube_gltf()
    made.document["extras"] = {"data:a": 'say "data:b" \\', "list": ["data:,c", "data:0"]}
    made.document["asset"]["generator"] = 'a "data:x" \\"'
    json.loads(made.gltf("x.bin"))
    assert model_of(made.glb(), tmp_path).faces == 12


def with_buffer(uri: bytes) -> bytes:
    made = meshes.cube_gltf()
    made.document["buffers"] = []
    return made.gltf("URI").replace(b'"URI"', uri)


DATA_URIS = {
    "half a surrogate pair": (rb'"data:,\ud800"', "corrupt_file"),
    "spelled in another way": (rb'"\u0064ata:0"', "corrupt_file"),
    "a line end": (b'"data:,a\nb"', "corrupt_file"),
    "not UTF-8": (b'"data:,\xff"', "corrupt_file"),
    "percent signs": (b'"data:,' + b"%" * 4_000_001 + b'"', "too_large"),
}


@pytest.mark.parametrize("name", DATA_URIS)
def test_data_uris_that_are_not_valid_or_that_unfold(tmp_path: Path, name: str) -> None:
    uri, reason = DATA_URIS[name]
    outcome, taken = read(with_buffer(uri), tmp_path / "a.gltf")
    assert isinstance(outcome, StageError) and outcome.reason == reason, outcome
    assert taken < 4 << 20


def test_a_reference_longer_than_any_path_is_missing(tmp_path: Path) -> None:
    outcome, taken = read(with_buffer(b'"' + b"a%2F" * 200_000 + b'"'), tmp_path / "a.gltf")
    assert isinstance(outcome, StageError) and outcome.reason == "missing_file" and len(outcome.detail) < 400
    assert taken < 4 << 20


def test_roots_are_not_matrices_of_their_own(tmp_path: Path) -> None:
    made = meshes.cube_gltf()
    made.document["scenes"][0]["nodes"] = [0] * 100_000
    outcome, taken = read(made.glb(), tmp_path / "a.glb")
    assert isinstance(outcome, StageError) and "two parents" in outcome.detail
    assert taken < 10 << 20


@pytest.mark.parametrize("digits", ["0000000009", "9" * 20, "0" * 5000, "٣"])
def test_numbers_that_stand_for_data_uris_are_no_uris(tmp_path: Path, digits: str) -> None:
    buffers = f'[{{"byteLength": 1, "uri": "data:,a"}}, {{"byteLength": 1, "uri": "\\u0064ata:{digits}"}}]'
    text = f'{{"asset": {{"version": "2.0"}}, "buffers": {buffers}, "bufferViews": [{{"buffer": 1, "byteLength": 1}}]}}'
    error = refusal(text.encode(), tmp_path, "a.gltf")
    assert error.reason == "corrupt_file" and "ends beyond its buffer of 0 bytes" in error.detail


def test_a_data_uri_that_many_buffers_name_is_decoded_once() -> None:
    text = b'{"asset": {}, "images": [{"uri": "data:,%s"}, {"uri": "\\u0064ata:0"}]}' % (b"a" * 100)
    parsed = document.Document(text, "a.gltf")
    first, second = (parsed.embedded(entry.text("uri"), "a.gltf") for entry in parsed.entries("images"))
    assert first == b"a" * 100 and first is second


def test_morph_targets_are_counted_with_their_vertices(tmp_path: Path) -> None:
    made = meshes.cube_gltf()
    primitive = made.document["meshes"][0]["primitives"][0]
    primitive["targets"] = [{"POSITION": primitive["attributes"]["POSITION"]}] * 100
    made.document["meshes"][0]["weights"] = [1] * 20 + [0] * 80
    assert model_of(made.glb(), tmp_path, max_vertices=24).vertices == 24
    made.document["meshes"][0]["weights"] = [1] * 21
    error = refusal(made.glb(), tmp_path, max_vertices=24)
    assert error.reason == "too_large" and "504 vertices; max_vertices allows 480" in error.detail
