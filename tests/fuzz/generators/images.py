"""Hostile images, as the texture of a cube: headers, chunks and segments that lie, and formats in disguise."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache
from random import Random

from PIL import Image

from tests.fuzz.generators.noise import harmed
from tests.fuzz.generators.values import some
from tests.fuzz.seeds import Files, textured_glb
from tests.render.features import encoded

_SIZES = (0, 1, 2, 16, 255, 256, 65_535, 65_536, 1 << 20, 1 << 27, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
_PNG_KINDS = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"zTXt", b"iTXt", b"tEXt", b"iCCP", b"acTL", b"fcTL",
              b"fdAT", b"eXIf", b"gAMA", b"sRGB", b"pHYs", b"abcd")  # fmt: skip
_JPEG_MARKERS = (0xC0, 0xC1, 0xC2, 0xC4, 0xC8, 0xDA, 0xDB, 0xDD, 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE)
# what Pillow opens; none but PNG, JPEG and WebP (and AVIF) belongs into glTF
_SAVED = {
    "BMP": "RGB", "DIB": "RGB", "GIF": "P", "TIFF": "RGB", "TGA": "RGBA", "ICO": "RGBA", "ICNS": "RGBA", "PPM": "RGB",
    "PCX": "RGB", "SGI": "RGB", "DDS": "RGBA", "EPS": "RGB", "MSP": "1", "XBM": "1", "SPIDER": "F",
    "BLP": "P", "QOI": "RGB", "JPEG2000": "RGB", "MPO": "RGB",
}  # fmt: skip


@cache
def picture(form: str, mode: str = "RGB", **options: object) -> bytes:
    """A small picture in a format of Pillow."""
    image = Image.radial_gradient("L").resize((32, 32)).convert("RGBA").convert(mode)
    return encoded(image, form, **options)


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of these chunks, with checksums that are right."""
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, position = [], 8
    while position + 8 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        found.append((data[position + 4 : position + 8], data[position + 8 : position + 8 + length]))
        position += 12 + length
    return found


def ihdr(width: int, height: int, depth: int = 8, color: int = 2, interlaced: int = 0) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)


def png_file(random: Random) -> Files:
    """Chunks that are changed, repeated, exchanged or dropped, with right checksums."""
    mode = random.choice(("RGB", "RGBA", "P", "L", "1", "LA", "I;16"))
    chunks = png_chunks(picture("PNG", "L") if mode == "I;16" else picture("PNG", mode))
    for _ in range(some(random, 4)):
        position = random.randrange(len(chunks))
        kind, data = chunks[position]
        change = random.randrange(6)
        if change == 0:
            size = random.choice(((32, 32), (random.choice(_SIZES), random.choice(_SIZES))))
            depth, color = random.choice((1, 2, 4, 8, 16, 3, 0)), random.choice((0, 2, 3, 4, 6, 7))
            chunks[0] = ihdr(*size, depth, color, random.choice((0, 0, 1, 2)))
        elif change == 1:
            chunks[position] = (random.choice(_PNG_KINDS), data)
        elif change == 2:
            text = zlib.compress(b"\0" * random.choice((10, 1 << 21)))
            chunks.insert(position, (random.choice(_PNG_KINDS[4:]), b"a\0\0" + text))
        elif change == 3:
            chunks.insert(random.randrange(len(chunks)), (kind, data))
        elif change == 4 and len(chunks) > 2:
            del chunks[position]
        else:
            chunks[position] = (kind, harmed(data, random))
    return textured_glb(png(*chunks))


def jpeg(random: Random) -> Files:
    """Segments whose markers, lengths and contents are changed."""
    options = random.choice(({}, {"progressive": True}, {"subsampling": 0}, {"quality": 5}))
    data = bytearray(picture("JPEG", random.choice(("RGB", "L", "CMYK")), **options))
    starts = [at for at in range(2, len(data) - 4) if data[at] == 0xFF and data[at + 1] in _JPEG_MARKERS]
    for _ in range(some(random, 3)):
        at = random.choice(starts)
        kind = random.randrange(5)
        if kind == 0:
            data[at + 1] = random.choice(_JPEG_MARKERS)
        elif kind == 1:
            data[at + 2 : at + 4] = random.choice((0, 1, 2, 8, 0xFFFF)).to_bytes(2, "big")
        elif kind == 2:
            frame = next((at for at in starts if data[at + 1] in (0xC0, 0xC2)), at)
            data[frame + 5 : frame + 9] = struct.pack(">HH", *(random.choice((0, 1, 33, 12_000, 65_535)) for _ in "hw"))
        elif kind == 3:
            data[at + 4] = random.choice((0, 1, 2, 4, 0x11, 0x22, 0x44, 0xFF))
        else:
            segment = (
                bytes((0xFF, random.choice(_JPEG_MARKERS))) + struct.pack(">H", random.choice((2, 100))) + b"Exif\0\0"
            )
            data[at:at] = segment * random.choice((1, 1, 200))
    return textured_glb(bytes(data))


def disguised(random: Random) -> Files:
    """Formats that no mesh should bring, changed or as they are."""
    form = random.choice(list(_SAVED))
    data = picture(form, _SAVED[form])
    return textured_glb(harmed(data, random) if random.random() < 0.6 else data)


def fields(random: Random) -> Files:
    """Any two or four bytes near the start of any format, where sizes, offsets and counts are."""
    form, mode = random.choice((("PNG", "RGB"), ("JPEG", "RGB"), ("WEBP", "RGBA"), ("AVIF", "RGB"), *_SAVED.items()))
    data = bytearray(picture(form, mode))
    for _ in range(some(random, 3)):
        position, size = random.randrange(min(len(data), 200)), random.choice((2, 4))
        number = random.choice(_SIZES) & (1 << 8 * size) - 1
        data[position : position + size] = number.to_bytes(size, "big" if random.random() < 0.5 else "little")
    return textured_glb(bytes(data))


def frames(random: Random) -> Files:
    """Animated and many-paged images, cut or changed."""
    form = random.choice(("GIF", "PNG", "WEBP", "TIFF"))  # an animated AVIF has the time in it
    pages = [Image.new("RGB", (random.choice((1, 8, 32)), random.choice((1, 8, 32))), (n, 0, 0)) for n in range(6)]
    buffer = io.BytesIO()
    pages[0].save(buffer, form, save_all=True, append_images=[page.resize(pages[0].size) for page in pages[1:]])
    return textured_glb(harmed(buffer.getvalue(), random))


GENERATORS: dict[str, Callable[[Random], Files]] = {
    "png": png_file, "jpeg": jpeg, "disguised": disguised, "fields": fields, "frames": frames,
}  # fmt: skip
