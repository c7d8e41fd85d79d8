"""Textures that start programs, or that cost far more than they declare: refused in little memory."""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.contract.stage import StageError
from stages.meshes import images
from stages.meshes.model import Limits
from tests.stages import meshes
from tests.stages.meshes import model_of

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\nshowpage\n%%EOF\n"


def refusal(data: bytes, limits: Limits = Limits()) -> StageError:  # noqa: B008
    with pytest.raises(StageError) as caught:
        images.decode(data, "a.png", limits, 2048)
    assert len(caught.value.detail) < 400
    return caught.value


def encoded(image: Image.Image, form: str, **more: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **more)
    return buffer.getvalue()


def flat_png(width: int, height: int) -> bytes:
    """A black PNG of one bit per pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes(width // 8 + 1) * min(height, 100), 9)  # a header is enough to be refused
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def tiff(tags: dict[int, tuple[int, int, int]], data: bytes) -> bytes:
    """A TIFF of tags (type, count, value) and one block of data; a value of -1 is where the data start."""
    start = 8 + 2 + len(tags) * 12 + 4
    rows = [struct.pack("<HHLL", tag, kind, count, start if value < 0 else value)
            for tag, (kind, count, value) in sorted(tags.items())]  # fmt: skip
    return b"II*\0" + struct.pack("<LH", 8, len(tags)) + b"".join(rows) + b"\0" * 4 + data


def tiled(side: int) -> bytes:
    """A TIFF of 16 x 16 pixels whose only tile has side x side."""
    packed = zlib.compress(bytes(16 * 16), 9)
    tags = {256: 16, 257: 16, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side, 324: -1, 325: len(packed)}
    return tiff({tag: (4, 1, value) for tag, value in tags.items()}, packed)


def test_no_texture_starts_a_program(tmp_path: Path) -> None:
    """In a process of its own: Pillow looks for Ghostscript once."""
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    ghostscript.chmod(0o755)
    (tmp_path / "a.glb").write_bytes(meshes.cube_gltf(texture=EPS).glb())
    code = (
        "import sys; from pathlib import Path; from PIL import Image; from tests.stages.meshes import read_file\n"
        "from stages.contract.stage import StageError\n"
        "try: Image.open(sys.argv[2]).load()\n"
        "except Exception: pass\n"
        "started = Path(sys.argv[1], 'started'); assert started.exists(), 'Pillow starts it'; started.unlink()\n"
        "try: read_file(Path(sys.argv[1], 'a.glb')); raise AssertionError('it was read')\n"
        "except StageError as error: assert error.reason == 'bad_texture' and 'PostScript' in error.detail, error\n"
        "assert not started.exists()"
    )
    (tmp_path / "a.eps").write_bytes(EPS)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-c", code, str(tmp_path), str(tmp_path / "a.eps")]
    done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_only_formats_of_textures_are_read() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8))
    for form in images.FORMATS:
        assert images.decode(encoded(picture, form), "a", Limits(), 2048).shape == (16, 16, 4)
    for form, more in (("ICO", {}), ("ICNS", {}), ("PCX", {}), ("SGI", {}), ("BLP", {"blp_version": "BLP2"})):
        image = picture.convert("P") if form == "BLP" else picture.resize((32, 32))
        error = refusal(encoded(image, form, **more))
        assert error.reason == "bad_texture" and "PNG, JPEG, WEBP" in error.detail


@pytest.mark.parametrize("size", [(1 << 27, 1), (1, 1 << 27), (65_536, 1), (1, 65_536)])
def test_very_long_sides_are_refused(size: tuple[int, int]) -> None:
    assert refusal(flat_png(*size)).reason == "too_large"


def test_the_tiles_of_tiff_are_counted() -> None:
    assert images.decode(tiled(16), "a.tif", Limits(), 2048).shape == (16, 16, 4)
    assert refusal(tiled(32_768)).reason == "too_large"


def test_tags_of_many_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """For 3 million offsets, Pillow takes a gigabyte and more than a minute."""
    tags = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 277: 1, 278: 1, 279: 256}
    strips = {tag: (4, 1, value) for tag, value in tags.items()} | {273: (4, 3_000_000, -1)}
    data = tiff(strips, b"\0" * 12_000_000)
    assert "3,000,000 values" in refusal(data).detail
    big = b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 1) + struct.pack("<HHQQ", 273, 4, 3_000_000, 44) + bytes(99)
    assert "3,000,000 values" in refusal(big).detail
    assert refusal(tiff(strips, b"")[:40]).reason == "bad_texture"


def test_metadata_of_jpeg_are_not_read() -> None:
    picture = Image.fromarray(meshes.blocks(meshes.QUARTERS)[..., :3])
    plain = encoded(picture, "JPEG")
    exif = b"Exif\0\0II*\0\x08\0\0\0" + b"\xff" * 65_000
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    noise = b"\xff\xff\xff\xe2\0\4ab" + b"\xff\xfe\0\3c" + b"\xff\xe0\0\4JF"
    expected = images.decode(plain, "a.jpg", Limits(), 2048)
    found = images.decode(plain[:2] + segment * 100 + noise + plain[2:], "a.jpg", Limits(), 2048)
    assert (found == expected).all()
    adobe = encoded(picture.convert("CMYK"), "JPEG")  # its colours follow from an application's segment
    with Image.open(io.BytesIO(adobe)) as image:
        assert (images.decode(adobe, "a.jpg", Limits(), 2048) == np.asarray(image.convert("RGBA"))).all()


def test_scans_of_jpeg_are_counted() -> None:
    plain = encoded(Image.new("RGB", (16, 16)), "JPEG", progressive=True)
    scan = plain[plain.rindex(b"\xff\xda") : -2]
    assert "scans" in refusal(plain[:-2] + scan * 200 + plain[-2:]).detail


def test_images_in_common_are_decoded_once(tmp_path: Path) -> None:
    """Textures and images of one buffer view share its pixels, which count once."""
    made = meshes.cube_gltf(texture=meshes.png(meshes.QUARTERS))
    document = made.document
    primitive = document["meshes"][0]["primitives"][0]
    document["samplers"] = [{"wrapS": 33071}]
    for number in range(1, 400):
        document["images"].append(document["images"][0])
        document["textures"].append({"source": number, **({"sampler": 0} if number % 2 else {})})
        reference = {"baseColorTexture": {"index": number}}
        document["materials"].append({"pbrMetallicRoughness": reference})
        document["meshes"][0]["primitives"].append({**primitive, "material": number})
    model = model_of(made.glb(), tmp_path, max_texture_pixels=4)
    textures = [part.material.color_texture for part in model.parts]
    assert len({id(texture) for texture in textures}) == 400
    assert len({id(texture.pixels) for texture in textures if texture is not None}) == 1
