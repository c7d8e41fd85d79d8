"""Damaged artifacts: what one stage hands to the next, as bad disks leave it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from random import Random

import numpy as np

from stages.artifacts import bundle, vectors
from stages.artifacts.splat import Splat
from stages.artifacts.views import Views
from tests.fuzz.generators.noise import harmed
from tests.fuzz.generators.values import WORDS, some
from tests.fuzz.seeds import Files, picture


@cache
def _whole(kind: str) -> bytes:
    random = np.random.default_rng(4)
    if kind == "zip":
        return bundle.pack({"mesh.glb": b"glTF" * 10, "skin é.png": picture()})
    if kind == "views":
        matrices = np.tile(np.eye(3, dtype=np.float32), (2, 1, 1)), np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
        return Views([picture()] * 2, [picture()] * 2, *matrices, 0.001, np.eye(4)).to_bytes()
    if kind == "vectors":
        return vectors.to_bytes(random.normal(size=(3, 8)))
    means, scales, turns = (random.normal(size=(5, width)).astype(np.float32) for width in (3, 3, 4))
    return Splat(means, scales, turns, np.zeros(5, np.float32), np.zeros((5, 4, 3), np.float32)).to_ply()


def _made(kind: str) -> Callable[[Random], Files]:
    def make(random: Random) -> Files:
        data = _whole(kind)
        if kind == "zip" and random.random() < 0.7:
            data = _directory(data, random)
        elif random.random() < 0.3:
            data = _words(data, random)
        for _ in range(some(random, 3)):
            data = harmed(data, random, _whole("zip"))
        return {kind: data}

    return make


def _directory(data: bytes, random: Random) -> bytes:
    """Another number in a zip's directory, or in the header of a member."""
    changed = bytearray(data)
    starts = [at for mark in (b"PK\1\2", b"PK\3\4", b"PK\5\6") for at in range(len(data)) if data[at : at + 4] == mark]
    at, size = random.choice(starts) + random.randrange(4, 22), random.choice((1, 2, 4))
    number = random.choice((0, 1, 2, 8, 9, 12, 14, 93, 99, 0x0800, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF))
    changed[at : at + size] = struct.pack("<I", number)[:size]
    return bytes(changed)


def _words(data: bytes, random: Random) -> bytes:
    """Another word in a header of text."""
    words = data[:2000].split(b" ")
    words[random.randrange(len(words))] = random.choice(WORDS)
    return b" ".join(words) + data[2000:]


GENERATORS = {kind: _made(kind) for kind in ("zip", "views", "vectors", "splat")}
