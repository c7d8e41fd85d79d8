"""Images that are larger than they look, or not what they look like."""

from __future__ import annotations

import struct
import zlib

from PIL import Image

from tests.fuzz.attacks.table import attack
from tests.fuzz.generators.images import ihdr, picture, png
from tests.fuzz.seeds import Files, textured_glb
from tests.render.features import encoded


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
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
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
    tags = (
        (256, 4, 100_000),
        (257, 4, 1000),
        (258, 3, 8),
        (259, 3, 8),
        (262, 3, 1),
        (273, 4, 200),
        (278, 4, 1000),
        (279, 4, 20),
    )
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
