"""Meshopt-compressed views and KTX2 textures: their content, and the reasons of damaged ones."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.contract.stage import StageError
from stages.ingest import Ingest
from stages.meshes import images
from stages.meshes.gltf.data import GltfData
from stages.meshes.gltf.format import GlbFile
from stages.meshes.model import Limits
from tests.stages import meshes, packing
from tests.stages.meshes import read_file
from tests.stages.packing import ETC1S_QUARTERS, HEADER, Packed, packed_cube, uastc

EXTENSIONS = ("EXT_meshopt_compression", "KHR_meshopt_compression")


def glb_file(folder: Path, document: dict[str, Any], binary: bytes) -> Path:
    (folder / "a.glb").write_bytes(meshes.glb(document, binary))
    return folder / "a.glb"


def reason_of(work: Callable[[], Any]) -> str:
    with pytest.raises(StageError) as caught:
        work()
    assert "\n" not in caught.value.detail and len(caught.value.detail) < 400
    return caught.value.reason


# meshopt --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["TRIANGLES", "INDICES"])
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_meshopt_gives_back_what_was_packed(tmp_path: Path, extension: str, mode: str) -> None:
    made = packed_cube(extension, mode)
    model = read_file(glb_file(tmp_path, made.finished(), made.binary))
    positions, normals, _, faces = meshes.cube()
    assert model.warnings == [] and model.vertices == 72 and model.faces == 36
    seen = {name: np.concatenate([getattr(part, name) for part in model.parts]) for name in ("positions", "normals")}
    assert np.allclose(seen["positions"][:24], positions, atol=1e-4)
    assert np.allclose(seen["normals"][:24], normals, atol=0.02)
    assert (np.sort(model.parts[0].faces[:12], 1) == np.sort(faces, 1)).all()  # corners of a triangle may take turns
    turned = positions @ [[1, 0, 0], [0, 0.28, 0.96], [0, -0.96, 0.28]] + packing.PLACES[1]
    assert np.allclose(seen["positions"][24:48], turned, atol=2e-3)
    if extension.startswith("KHR"):
        colors = meshes.QUARTERS.reshape(4, 4)[np.arange(24) % 4] / 255
        assert np.allclose(model.parts[0].colors[:24], colors, atol=0.02)


def test_a_view_is_unpacked_once() -> None:
    file = GlbFile(packed_cube().glb(), "a.glb")
    data = GltfData(file.name, file.document, file.chunk, {}, Limits())
    assert data.view(0) is data.view(0)


@pytest.mark.parametrize("uri", ["gone.bin", "beside.bin", "data:application/octet-stream;base64,AAAA"])
def test_a_fallback_buffer_is_not_needed_and_not_read(tmp_path: Path, uri: str) -> None:
    made = packed_cube()
    document = made.finished()
    document["buffers"][1]["uri"] = uri
    del document["extensionsRequired"]
    (tmp_path / "beside.bin").write_bytes(b"\xff" * made.unpacked)
    path = glb_file(tmp_path, document, made.binary)
    assert Ingest().fetch({"uri": str(path)}).columns["mesh_bytes"] == path.stat().st_size
    model = read_file(path)
    assert model.warnings == [] and np.allclose(model.parts[0].positions[:24], meshes.cube()[0], atol=1e-4)


def test_a_buffer_without_bytes_is_missing_unless_it_is_a_fallback(tmp_path: Path) -> None:
    made = packed_cube()
    document = made.finished()
    del document["bufferViews"][0]["extensions"]
    assert reason_of(lambda: read_file(glb_file(tmp_path, document, made.binary))) == "missing_file"


MESHOPT_DAMAGE: dict[str, tuple[dict[str, Any], str]] = {
    "more": ({"count": 300}, "corrupt_file"),
    "fewer": ({"count": 3}, "corrupt_file"),
    "none": ({"count": 0}, "corrupt_file"),
    "negative": ({"count": -24}, "corrupt_file"),
    "half": ({"count": 24.5}, "corrupt_file"),
    "text": ({"count": "24"}, "corrupt_file"),
    "stride": ({"byteStride": 18}, "corrupt_file"),
    "wide": ({"byteStride": 1024}, "corrupt_file"),
    "bomb": ({"count": 1 << 40}, "too_large"),
    "infinite": ({"count": 1e999}, "corrupt_file"),
    "length": ({"byteLength": 20}, "corrupt_file"),
    "empty": ({"byteLength": 0}, "corrupt_file"),
    "past the end": ({"byteLength": 1 << 40}, "corrupt_file"),
    "buffer": ({"buffer": 7}, "corrupt_file"),
    "mode": ({"mode": "TRIANGLES"}, "corrupt_file"),
    "unknown mode": ({"mode": "POINTS"}, "unsupported"),
    "unknown filter": ({"filter": "WAVELET"}, "unsupported"),
    "filter of other rows": ({"filter": "QUATERNION"}, "corrupt_file"),
}


@pytest.mark.parametrize("name", MESHOPT_DAMAGE)
def test_damaged_meshopt_has_its_reason(tmp_path: Path, name: str) -> None:
    change, reason = MESHOPT_DAMAGE[name]
    made = packed_cube()
    document = made.finished()
    document["bufferViews"][0]["extensions"][made.extension] |= change
    assert reason_of(lambda: read_file(glb_file(tmp_path, document, made.binary))) == reason


def test_packed_views_are_counted_before_they_are_unpacked(tmp_path: Path) -> None:
    made = packed_cube()
    path = glb_file(tmp_path, made.finished(), made.binary)
    assert read_file(path, max_vertices=72).vertices == 72  # as many as are drawn
    bomb = Packed()
    rows = np.zeros((100_000, 64), np.uint32)
    for _ in range(3):
        view = bomb.packed(rows)
        number = bomb.packed_accessor(view, 5126, 3, "VEC3")
        bomb.node(mesh=bomb.add("meshes", {"primitives": [{"attributes": {"POSITION": number}}]}))
    assert len(bomb.binary) < rows.nbytes / 10
    path = glb_file(tmp_path, bomb.finished(), bomb.binary)
    assert (
        reason_of(lambda: read_file(path, max_vertices=500_000)) == "too_large"
    )  # 64 MB, of which each view would take 26
    assert read_file(path).vertices == 9


def test_noise_in_meshopt_is_corrupt_or_read() -> None:
    random = np.random.default_rng(1)
    made = packed_cube("KHR_meshopt_compression")
    document, reasons = made.finished(), set()
    for _ in range(300):
        binary = np.frombuffer(made.binary, np.uint8).copy()
        places = random.integers(0, len(binary), random.integers(1, 20))
        binary[places] = random.integers(0, 256, len(places))
        try:
            GlbFile(meshes.glb(document, binary.tobytes()), "a.glb").read({}, Limits(), 64)
        except StageError as error:
            reasons.add(error.reason)
    assert reasons == {"corrupt_file"}


# KTX2 -----------------------------------------------------------------------------------------------------------------

PLAIN = uastc(meshes.QUARTERS)
PICTURES = {"UASTC": PLAIN, "Zstandard": uastc(meshes.QUARTERS, zstandard=True)}


def pixels(data: bytes, max_side: int = 2048, **limits: int) -> np.ndarray:
    return images.decode(data, "t.ktx2", Limits(**limits), max_side)


@pytest.mark.parametrize("name", PICTURES)
def test_uastc_is_exact(name: str) -> None:
    assert (pixels(PICTURES[name]) == meshes.blocks(meshes.QUARTERS, 4)).all()


def test_etc1s_with_alpha() -> None:
    expected = meshes.blocks(meshes.QUARTERS, 8).astype(int)
    expected[8:, 8:, 3] = 90
    assert np.abs(pixels(ETC1S_QUARTERS) - expected).max() <= 2


def test_the_largest_level_within_the_side_is_taken() -> None:
    sides = [np.full((8 >> level, 8 >> level, 4), 60 * level + 40, np.uint8) for level in range(4)]
    data = uastc(*sides)  # 32, 16, 8, 4 pixels wide
    for max_side, width, shade in ((2048, 32, 40), (32, 32, 40), (31, 16, 100), (8, 8, 160), (5, 4, 220), (2, 2, 220)):
        seen = pixels(data, max_side)
        assert seen.shape == (width, width, 4) and (seen == shade).all(), max_side
    alone = pixels(uastc(sides[3] | 255), 2)
    assert alone.shape == (2, 2, 4) and (alone == 255).all()
    assert pixels(data, 16, max_texture_pixels=256).shape == (16, 16, 4)  # only what is decoded counts
    assert reason_of(lambda: pixels(data, 16, max_texture_pixels=255)) == "too_large"


@pytest.mark.parametrize("plain", [None, "picture.png"])
def test_the_ktx2_image_of_a_texture_is_preferred(tmp_path: Path, plain: str | None) -> None:
    made = meshes.cube_gltf(texture=PLAIN)
    entry: dict[str, Any] = {"extensions": {"KHR_texture_basisu": {"source": 0}}}
    if plain is not None:
        entry["source"] = made.add("images", {"uri": plain})
        (tmp_path / plain).write_bytes(meshes.png(np.zeros((4, 4, 3))))
    made.document["textures"][0] = entry
    made.document["extensionsRequired"] = ["KHR_texture_basisu"]
    model = read_file(glb_file(tmp_path, made.finished(), made.binary))
    texture = model.parts[0].material.color_texture
    assert texture is not None and (texture.pixels == meshes.blocks(meshes.QUARTERS, 4)).all()


def changed(field: int, value: int, data: bytes = PLAIN) -> bytes:
    place = HEADER + 4 * field
    return data[:place] + struct.pack("<I", value) + data[place + 4 :]


def declares(unpacked: int) -> bytes:
    data = PICTURES["Zstandard"]
    return data[:96] + struct.pack("<Q", unpacked) + data[104:]


KTX2_DAMAGE = {
    "identifier": (PLAIN[:12], "bad_texture"),
    "header": (PLAIN[:90], "bad_texture"),
    "half": (PLAIN[: len(PLAIN) // 2], "bad_texture"),
    "last byte": (PLAIN[:-1], "bad_texture"),
    "RGBA8": (changed(0, 37), "unsupported"),
    "BC7": (changed(0, 146), "unsupported"),
    "ASTC": (changed(0, 157), "unsupported"),
    "depth": (changed(4, 8), "unsupported"),
    "array": (changed(5, 2), "unsupported"),
    "cube map": (changed(6, 6), "unsupported"),
    "no width": (changed(2, 0), "bad_texture"),
    "no pixels": (changed(2, 0, changed(3, 0)), "bad_texture"),
    "wider than its blocks": (changed(2, 4096), "bad_texture"),
    "too many pixels": (changed(2, 1 << 20, changed(3, 1 << 20)), "too_large"),
    "more pixels than there can be": (changed(2, 0xFFFFFFFF, changed(3, 0xFFFFFFFF)), "too_large"),
    "too many levels": (changed(7, 40), "bad_texture"),
    "unpacks to less": (declares(10), "bad_texture"),
    "codec": (PLAIN.replace(b"\xa6\1\2\0", b"\x01\1\2\0"), "bad_texture"),
}


@pytest.mark.parametrize("name", KTX2_DAMAGE)
def test_damaged_ktx2_has_its_reason(name: str) -> None:
    data, reason = KTX2_DAMAGE[name]
    assert data != PLAIN and reason_of(lambda: pixels(data)) == reason


@pytest.mark.parametrize("unpacked", [0x7FFFFFFF, 0xFFFFFFFFFFFFFFFF])
def test_declared_sizes_of_ktx2_are_checked_before_decoding(unpacked: int) -> None:
    with pytest.raises(StageError, match=f"declares {unpacked:,} bytes, but has at most 64") as caught:
        pixels(declares(unpacked))
    assert caught.value.reason == "bad_texture"


def test_noise_in_ktx2_is_refused_or_decoded() -> None:
    random = np.random.default_rng(2)
    reasons = set()
    for data in (*PICTURES.values(), ETC1S_QUARTERS):
        for _ in range(500):
            noisy = np.frombuffer(data, np.uint8).copy()
            places = random.integers(8, len(noisy), random.integers(1, 6))
            noisy[places] = random.integers(0, 256, len(places))
            try:
                assert pixels(noisy.tobytes(), max_texture_pixels=1 << 20).shape[2] == 4
            except StageError as error:
                reasons.add(error.reason)
    assert reasons == {"bad_texture", "unsupported", "too_large"}
