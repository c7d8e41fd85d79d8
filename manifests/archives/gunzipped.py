"""Read a gzip file from any position. Copies of the decompressor, kept on the way, save starting at the front."""

from __future__ import annotations

import io
import zlib
from bisect import bisect_right
from typing import Any, BinaryIO, NamedTuple

_BLOCK = 1 << 20  # uncompressed bytes that are made at once
_INPUT = 1 << 16
_APART = 4 << 20  # uncompressed bytes between two copies, at first
_MOST_COPIES = 1_000  # 40 kB each; beyond, every other one is dropped


class DamagedGzip(Exception):
    """The file is not gzip, or ends early."""


class TooLongGzip(Exception):
    """The file has more bytes uncompressed than are allowed."""


class _Copy(NamedTuple):
    position: int  # uncompressed
    offset: int  # of the next byte in the file
    decompressor: Any  # zlib's has no public type


class Gunzipped:
    """A file of the uncompressed bytes, with `read`, `seek` and `tell`."""

    def __init__(self, file: BinaryIO | io.FileIO, most_bytes: int, largest_read: int):
        self._file = file
        self._most_bytes = most_bytes
        self._largest_read = largest_read
        self._apart = _APART
        self._copies = [_Copy(0, 0, _decompressor())]
        self._target = 0  # where the next read begins
        self._restore(self._copies[0])

    def tell(self) -> int:
        return self._target

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            raise io.UnsupportedOperation("the length of a gzip file is not known")
        self._target = max(offset + (self._target if whence == io.SEEK_CUR else 0), 0)
        return self._target

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self._largest_read:
            raise DamagedGzip(f"a header of {size:,} bytes; at most {self._largest_read:,} are read")
        self._come_near(self._target)
        parts: list[bytes] = []
        while size:
            if self._target >= self._position:
                if not self._next_block():
                    break
                continue
            begin = self._target - (self._position - len(self._block))
            part = self._block[begin : begin + size]
            parts.append(part)
            size -= len(part)
            self._target += len(part)
        return b"".join(parts)

    def _come_near(self, target: int) -> None:
        """Go back, or forward to a copy, where that is shorter than to decompress all up to the target."""
        copy = self._copies[bisect_right(self._copies, target, key=lambda copy: copy.position) - 1]
        if target < self._position - len(self._block) or copy.position > self._position:
            self._restore(copy)

    def _restore(self, copy: _Copy) -> None:
        self._position = copy.position  # of the end of the block
        self._block = b""
        self._input = b""
        self._decompressor = copy.decompressor.copy()
        self._file.seek(copy.offset)

    def _next_block(self) -> bool:
        """Decompress the next block; False at the end of the file."""
        if self._decompressor.eof:  # another gzip file may follow, or zeros, which fill the last block of a tape
            self._input = self._input.lstrip(b"\0")
            while not self._input:
                found = self._file.read(_INPUT)
                if not found:
                    return False
                self._input = found.lstrip(b"\0")
            self._decompressor = _decompressor()
        self._input = self._input or self._file.read(_INPUT)
        if not self._input:
            raise DamagedGzip("it ends early")
        try:
            self._block = self._decompressor.decompress(self._input, _BLOCK)
        except zlib.error as error:
            raise DamagedGzip(str(error)) from error
        ended = self._decompressor.eof
        self._input = self._decompressor.unused_data if ended else self._decompressor.unconsumed_tail
        self._position += len(self._block)
        if self._position > self._most_bytes:
            raise TooLongGzip(f"it has more than {self._most_bytes:,} bytes uncompressed")
        if not ended and self._position >= self._copies[-1].position + self._apart:
            self._keep_copy()
        return True

    def _keep_copy(self) -> None:
        offset = self._file.tell() - len(self._input)
        self._copies.append(_Copy(self._position, offset, self._decompressor.copy()))
        if len(self._copies) > _MOST_COPIES:
            self._copies = self._copies[::2]
            self._apart *= 2


def _decompressor() -> Any:
    return zlib.decompressobj(wbits=31)  # of gzip, with its checksum
