"""What an adapter says: how a folder of its layout is recognised, and the rows in it as a list file would give them."""

from __future__ import annotations

import csv
import gzip
import importlib
import io
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from manifests.folders import SourceError

Entry = dict[str, Any]  # columns of a source list
_LARGEST = 2 << 30  # bytes of an index, uncompressed


class Adapter(ABC):
    """A subclass named `Layout` in a file of its own, with a line in ADAPTERS.

    `root` is the folder of the layout. `entries` gives only objects whose files are there, always in the same order.
    """

    looks_for: ClassVar[str]  # what a folder of this layout has, for the message that refuses another

    def __init__(self, root: Path):
        self.root = root

    @classmethod
    @abstractmethod
    def find(cls, folder: Path) -> Path | None:
        """The folder of the layout: this one, or the one in it that people may mean; None if it is neither."""

    @abstractmethod
    def entries(self) -> Iterator[Entry]:
        """Each object with `id` and `uri`, and what the layout says of it: category, name, tags, split, licence, up."""


def open_layout(name: str, folder: str) -> Adapter:
    """The adapter of a name in ADAPTERS for a folder; SourceError if the folder is not of its layout."""
    kind: type[Adapter] = importlib.import_module(f"manifests.adapters.{name.replace('-', '_')}").Layout
    path = Path(folder).expanduser().absolute()
    root = kind.find(path)
    if root is None:
        problem = f"looked for {kind.looks_for}" if path.is_dir() else "no such folder"
        raise SourceError(f"{name}:{folder}: {problem}; docs/sources/{name}.md says how to get the data")
    return kind(root)


def folders_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def read_json(path: Path) -> Any:
    """The content of a JSON file, which may be compressed with gzip."""
    try:
        return json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}: not JSON ({error})") from error


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, which may be compressed with gzip."""
    try:
        text = io.StringIO(_read(path).decode("utf-8-sig", "replace"), newline="")
        return [{name: value or "" for name, value in row.items() if name} for row in csv.DictReader(text)]
    except csv.Error as error:
        raise SourceError(f"{path}: not CSV ({error})") from error


def read_lines(path: Path) -> Iterator[Any]:
    """The values of a file with a JSON text on each line, which may be compressed with gzip."""
    for number, line in enumerate(_read(path).splitlines(), 1):
        try:
            yield json.loads(line)
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{path}: line {number} is not JSON ({error})") from error


def _read(path: Path) -> bytes:
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
    except (OSError, EOFError, ValueError) as error:
        raise SourceError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if len(data) > _LARGEST:
        raise SourceError(f"{path}: more than {_LARGEST >> 30} GiB uncompressed")
    return data


def text_in(value: Any, *path: str) -> str:
    """The text at a path of names in what was read from JSON; "" if there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value.strip() if isinstance(value, str) else ""


def with_folder(folder: Path, inner: str) -> str:
    """The address of a mesh whose textures are in `folder`, which is not its own but one above."""
    return os.path.join(folder, ".", inner)
