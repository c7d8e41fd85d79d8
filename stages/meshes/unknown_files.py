"""Say what a file seems to be that is named like a mesh or an image and is neither."""

from __future__ import annotations

_KINDS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"), (b"<!doctype html", "a web page"),
    (b"<html", "a web page"), (b"pk\3\4", "a zip archive"), (b"\x1f\x8b", "gzip"), (b"kaydara fbx", "FBX"),
    (b"blender", "a Blender file"), (b"\xff\xfe", "UTF-16 text"), (b"\xfe\xff", "UTF-16 text"),
    (b"%!ps", "PostScript"), (b"\xc5\xd0\xd3\xc6", "PostScript"), (b"8bps", "a Photoshop file"),
    (b"blp", "a Blizzard texture"), (b"\0\0\1\0", "a Windows icon"), (b"icns", "a macOS icon"),
    (b"%pdf", "a PDF file"), (b"\0\0\0\x0cjp", "JPEG 2000"), (b"<svg", "SVG"), (b"<?xml", "XML"),
)  # fmt: skip


def describe(data: bytes) -> str:
    """How the file starts and, where that is known, what it is."""
    start = data[:32].lstrip().lower()
    known = [f", {what}" for mark, what in _KINDS if start.startswith(mark)]
    return f"starts with {data[:12]!r}{''.join(known)}"
