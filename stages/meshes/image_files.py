"""Look into image files before they are decoded: refuse those that cost a decoder far more than their size says."""

from __future__ import annotations

import struct

from stages.contract.stage import StageError

_MOST_SCANS = 100  # of a JPEG, each of which is a pass over the whole image; encoders write about ten
_MOST_TIFF_VALUES = 1 << 17  # of one tag, such as the offsets of strips
_TIFF_BYTES = (1, 2, 7)  # types of tags whose values are bytes, characters or undefined
_STANDALONE = (0x01, *range(0xD0, 0xDA))  # JPEG markers without a length
_SCAN, _COMMENT = 0xDA, 0xFE
_METADATA = (*range(0xE1, 0xEE), 0xEF, _COMMENT)  # all applications' segments but JFIF's and Adobe's


def prepared(data: bytes, name: str) -> bytes:
    """The image without what its pixels do not need."""
    if data.startswith(b"\xff\xd8\xff"):
        return _plain_jpeg(data, name)
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        _check_tiff(data, name)
    return data


def _plain_jpeg(data: bytes, name: str) -> bytes:
    """A JPEG without metadata, on which Pillow can spend more time and memory than on the pixels."""
    kept, at = [data[:2]], data.find(b"\xff", 2)
    while 0 <= at < len(data) - 4:
        marker, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _SCAN:
            kept.append(data[at:])
            break
        if marker in (0x00, 0xFF):  # fill bytes
            end = at + 1
        elif marker in _STANDALONE:
            end = at + 2
        elif marker not in _METADATA:
            kept.append(data[at:end])
        at = data.find(b"\xff", end)
    plain = b"".join(kept)
    scans = plain.count(b"\xff\xda")
    if scans > _MOST_SCANS:
        raise StageError(
            "bad_texture", f"texture {name} is a JPEG with {scans:,} scans; at most {_MOST_SCANS} are read"
        )
    return plain


def _check_tiff(data: bytes, name: str) -> None:
    """Refuse a TIFF with a very long tag, of which Pillow makes a Python object for each value."""
    order, big = "<" if data.startswith(b"II") else ">", b"+" in data[:4]
    counter, tag = struct.Struct(f"{order}{'Q' if big else 'H'}"), struct.Struct(f"{order}HH{'Q8x' if big else 'L4x'}")
    try:
        (start,) = struct.unpack_from(f"{order}{'Q' if big else 'L'}", data, 8 if big else 4)
        (count,) = counter.unpack_from(data, start)
    except (struct.error, OverflowError):
        return  # Pillow refuses it
    start += counter.size
    there = min(count, (len(data) - start) // tag.size)
    for number, kind, values in tag.iter_unpack(memoryview(data)[start : start + there * tag.size]):
        if kind not in _TIFF_BYTES and values > _MOST_TIFF_VALUES:
            detail = f"its tag {number} declares {values:,} values; at most {_MOST_TIFF_VALUES:,} are read"
            raise StageError("bad_texture", f"texture {name}: {detail}")
