"""Random damage, as bad disks, broken downloads and impatient writers do it."""

from __future__ import annotations

from random import Random

from tests.fuzz.generators.values import some
from tests.fuzz.seeds import Files, seeds


def damaged(form: str, random: Random) -> Files:
    """A seed of this format with random damage to one of its files."""
    files = dict(random.choice(seeds(form)))
    name = random.choice(list(files))
    other = random.choice(list(random.choice(seeds(form)).values()))
    for _ in range(some(random, 6)):
        files[name] = harmed(files[name], random, other)
    return files


def harmed(data: bytes, random: Random, other: bytes = b"") -> bytes:
    """One harm to the bytes. other: what may be spliced in."""
    if not data:
        return random.randbytes(8)
    start, length = random.randrange(len(data)), random.choice((1, 1, 2, 4, 8, 16, 64, 256, 4096))
    end = min(start + length, len(data))
    kind = random.randrange(8)
    if kind == 0:
        return data[:start]
    if kind == 1:
        return data[:start] + data[end:]
    if kind == 2:
        return data[:start] + data[start:end] * random.choice((2, 3, 50)) + data[end:]
    if kind == 3:
        return data[:start] + b"\0" * (end - start) + data[end:]
    if kind == 4:
        return data[:start] + random.randbytes(end - start) + data[end:]
    if kind == 5 and other:
        at = random.randrange(len(other))
        return data[:start] + other[at : at + length] + data[end:]
    if kind == 6:
        number = random.choice((0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF))
        return data[:start] + number.to_bytes(4, random.choice(("little", "big"))) + data[start + 4 :]
    flipped = bytearray(data)
    for _ in range(some(random, 32)):
        flipped[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(flipped)
