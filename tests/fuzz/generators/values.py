"""Values that readers expect least."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np


class Token(str):
    """Text that goes into JSON as it is, such as NaN, or a number that Python's json module would not write."""


NUMBERS: tuple[Any, ...] = (
    0, 1, -1, 2, 3, 127, 255, 256, 65_535, 65_536, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 53,
    (1 << 63) - 1, 1 << 63, 1 << 64, -(1 << 31), -(1 << 63), 10**30, 0.5, -0.0, 1.5, 1e-320, 1e38, 1e300,
    Token("NaN"), Token("Infinity"), Token("-Infinity"), Token("1e999"), Token("-1e999"), Token("9" * 5000),
    Token("0." + "3" * 5000), Token("1E400"),
)  # fmt: skip
TEXTS = (
    "", " ", "\0", "a\0b", "\ud800", "a\udfffb", "\ud83d", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\u202etxt.exe",
    "\r\nok\n", "../../../etc/passwd", "/etc/passwd", "C:\\Windows\\win.ini", "\\\\host\\share", "file:///etc/passwd",
    "http://127.0.0.1/a", "s3://bucket/key", "data:", "data:,", "data:;base64,", "data:;base64,====",
    "data:image/png,%00%ff", "data:application/octet-stream;base64,AAAA", "mesh.glb", "mesh.gltf", ".", "..",
    "%2e%2e/%2e%2e/a", "%", "%00", "a%zzb", "https://user:password@host/a?X-Amz-Signature=abc",
    "token=hf_abcdefghijklmnopqrstuvwxyz", "<script>alert(1)</script>", "{}", "[]", "NaN", "None", "SCALAR",
    "VEC3", "MAT4", "OPAQUE", "BLEND", "KHR_draco_mesh_compression", "é" * 300, "a-" * 4000, "access-key" * 800,
    "x" * 100_000,
)  # fmt: skip
WORDS = (  # numbers in text formats, and what is not one
    b"nan", b"-nan", b"inf", b"-inf", b"NaN(1)", b"-0", b"1e400", b"-1e400", b"1e-400", b"1e38", b"1e300",
    b"0x10", b"1_0", b"1,5", b"\xd9\xa3", b"\xb2", b"+", b"-", b".", b"e", b"1e", b"--1", b"1.#IND",
    b"-1.#QNAN0", b"9" * 400, b"1" * 5000,
    b"0", b"1", b"-1", b"2", b"255", b"256", b"65536", b"4294967295", b"4294967296", b"-2147483648",
    b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"18446744073709551616",
    b"", b"#", b"\0", b"\xff", b"\xef\xbb\xbf", b"\\", b"/", b"//", b"\"", b"'", b"%s",
    b"\x1b[2J", b"\r", b"\x0b", b"\x0c",
)  # fmt: skip


def any_value(random: Random, depth: int = 2) -> Any:
    """A value for JSON: any type, any size."""
    kind = random.randrange(10)
    if kind < 5:
        return random.choice(NUMBERS)
    if kind < 7:
        return random.choice(TEXTS)
    if kind == 7:
        return random.choice((None, True, False, [], {}))
    if not depth:
        return random.choice(([0], [[]], [{}], {"": 0}, {"index": 0}))
    if kind == 8:
        return [any_value(random, depth - 1) for _ in range(random.choice((1, 2, 3, 4, 16, 100)))]
    return {random.choice(TEXTS[:20]): any_value(random, depth - 1) for _ in range(3)}


def some(random: Random, most: int) -> int:
    """A number from 1 to `most`, mostly small."""
    return min(most, 1 + int(random.expovariate(0.7)))


def floats(random: Random, count: int) -> np.ndarray:
    """[count] float32 bit patterns: ordinary values, and every other kind."""
    odd = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-38, 3e38, -3e38, float("inf"), float("-inf"), float("nan"), 16777217.0)
    picks = [random.choice(odd) if random.random() < 0.3 else random.uniform(-1, 1) for _ in range(count)]
    return np.array(picks, np.float64).astype(np.float32)
