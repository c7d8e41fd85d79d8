"""Damage to files, as broken disks, power cuts and people make it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

from manifests.store import DRAFT


def _cut(path: Path, drawn: Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: drawn.randrange(len(data) or 1)])


def _flip(path: Path, drawn: Random) -> None:
    data = bytearray(path.read_bytes())
    if data:
        data[drawn.randrange(len(data))] ^= 1 << drawn.randrange(8)
    path.write_bytes(data)


def _empty(path: Path, drawn: Random) -> None:
    path.write_bytes(b"")


def _delete(path: Path, drawn: Random) -> None:
    path.unlink()


def _overwrite(path: Path, drawn: Random) -> None:
    path.write_bytes(drawn.choice([b"{}", b"[]", b"null", b"\0" * 900, drawn.randbytes(900)]))


def _leave_a_draft(path: Path, drawn: Random) -> None:
    path.with_name(f"{path.name}.{drawn.randbytes(16).hex()}{DRAFT}").write_bytes(path.read_bytes()[:100])


WAYS: dict[str, Callable[[Path, Random], None]] = {
    "cut": _cut,
    "flipped": _flip,
    "emptied": _empty,
    "deleted": _delete,
    "overwritten": _overwrite,
    "left a draft beside": _leave_a_draft,
}

# By kind, which files of a run folder.
FILES = {
    "artifact": ["artifacts/*/*/*-*"],
    "outcome": ["artifacts/*/*/????????????????????????????????.json"],
    "log": ["manifest/log/*/*.parquet"],
    "lease": ["manifest/lease/*"],
    "listing": ["manifest/rows/*", "recipe.yaml"],
    "dataset": ["dataset/**/*"],
}


def damage_file(run: Path, kind: str, drawn: Random) -> str | None:
    """Damage a file of this kind and return what was done; None if there is no such file."""
    found = {path for pattern in FILES[kind] for path in run.glob(pattern) if path.suffix != DRAFT and path.is_file()}
    if not found:
        return None
    path = drawn.choice(sorted(found))
    way = drawn.choice(sorted(WAYS))
    try:
        WAYS[way](path, drawn)
    except FileNotFoundError:  # the build has removed it meanwhile
        return None
    return f"{way} {path.relative_to(run)}"
