"""Small mistakes of files: each is drawn as it was meant, or refused with a message that names the mistake."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.contract.stage import StageError
from stages.meshes import images
from stages.meshes.model import Limits
from tests.stages import meshes
from tests.stages.meshes import model_of


def textured() -> meshes.Gltf:
    made = meshes.cube_gltf(texture=meshes.png(meshes.QUARTERS))
    made.document["skins"] = [{"joints": [0]}]
    made.document["nodes"][0]["skin"] = 0
    return made


def primitive(document: dict[str, Any]) -> dict[str, Any]:
    return document["meshes"][0]["primitives"][0]


PLACES: dict[str, Callable[[dict[str, Any], int], Any]] = {
    "scenes": lambda document, number: document.update(scene=number),
    "nodes": lambda document, number: document["skins"][0].update(joints=[number]),
    "meshes": lambda document, number: document["nodes"][0].update(mesh=number),
    "skins": lambda document, number: document["nodes"][0].update(skin=number),
    "accessors": lambda document, number: primitive(document)["attributes"].update(NORMAL=number),
    "materials": lambda document, number: primitive(document).update(material=number),
    "textures": lambda document, number: document["materials"][0].update(
        pbrMetallicRoughness={"baseColorTexture": {"index": number}}
    ),
    "images": lambda document, number: document["textures"][0].update(source=number),
}


@pytest.mark.parametrize("number", [-1, 77])
@pytest.mark.parametrize("field", PLACES)
def test_an_index_out_of_range_is_named(tmp_path: Path, field: str, number: int) -> None:
    made = textured()
    PLACES[field](made.document, number)
    with pytest.raises(StageError) as caught:
        model_of(made.glb(), tmp_path)
    found = f"{field}[77] is used, but there are" if number > 0 else "is -1, expected a whole number of at least 0"
    assert caught.value.reason == "corrupt_file" and found in caught.value.detail


@pytest.mark.parametrize("number", [-1, 5])
def test_a_missing_sampler_is_the_default_one(tmp_path: Path, number: int) -> None:
    made = textured()
    made.document["textures"][0]["sampler"] = number
    found = model_of(made.glb(), tmp_path)
    texture = found.parts[0].material.color_texture
    assert texture is not None and texture.wrap == (10497, 10497)
    assert found.warnings == ["a texture names a sampler that the file has not"]


def test_primitives_with_nothing_to_draw_are_skipped(tmp_path: Path) -> None:
    made = meshes.cube_gltf()
    whole = primitive(made.document)
    nothing = made.add("accessors", {"componentType": 5125, "count": 0, "type": "SCALAR"})
    one = made.accessor(np.array([0], np.uint32))
    more = [{**whole, "indices": indices, "mode": mode} for indices in (nothing, one) for mode in (4, 5, 6)]
    made.document["meshes"][0]["primitives"] += [*more, {"attributes": {}}]
    found = model_of(made.glb(), tmp_path)
    assert found.faces == 12 and found.warnings == ["a primitive without positions is not drawn"]


def test_colours_that_are_nan_are_white(tmp_path: Path) -> None:
    colors = np.tile(np.array([[0, 1, 0, 1]], np.float32), (24, 1))
    colors[3] = np.nan
    found = model_of(meshes.cube_gltf(colors=colors).glb(), tmp_path)
    assert (found.parts[0].colors[3] == 1).all() and (found.parts[0].colors[4] == (0, 1, 0, 1)).all()


def encoded(image: Image.Image, form: str, **more: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **more)
    return buffer.getvalue()


def test_grey_of_16_bits_with_a_clear_level() -> None:
    levels = np.array([[0, 0x1234, 0xFFFF]], np.uint16)
    pixels = images.decode(encoded(Image.fromarray(levels), "PNG", transparency=0x1234), "a.png", Limits(), 2048)
    assert pixels[0].tolist() == [[0, 0, 0, 255], [0x12, 0x12, 0x12, 0], [255, 255, 255, 255]]


def test_floating_point_pixels_are_refused() -> None:
    with pytest.raises(StageError) as caught:
        images.decode(encoded(Image.new("F", (4, 4), 0.5), "TIFF"), "a.tif", Limits(), 2048)
    assert caught.value.reason == "unsupported" and "a.tif" in caught.value.detail


@pytest.mark.filterwarnings("ignore")  # Pillow's, of what it skips
@pytest.mark.parametrize("form", ["AVIF", "PNG", "JPEG", "WEBP", "TIFF", "TGA", "DDS", "GIF", "BMP"])
def test_noise_in_images_is_refused_or_decoded(form: str) -> None:
    noise = np.random.default_rng(0)
    whole = encoded(Image.fromarray(noise.integers(0, 255, (16, 16, 3), np.uint8)), form)
    for _ in range(60):
        data = bytearray(whole)
        data[noise.integers(min(len(data), 200))] ^= int(noise.integers(1, 256))
        try:
            assert images.decode(bytes(data), "a", Limits(max_texture_pixels=1 << 20), 2048).shape[2] == 4
        except StageError as error:
            assert error.reason in ("bad_texture", "too_large", "unsupported"), error.detail  # noqa: PT017


def test_the_refusal_of_a_texture_says_what_the_file_seems_to_be() -> None:
    with pytest.raises(StageError, match="Git LFS pointer"):
        images.decode(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a.png", Limits(), 2048)
