"""What every mesh format has to say about itself.

A format is a subclass of `MeshFile` in a file of its own, with a line in `stages/meshes/formats.py`. Ingest recognises
and checks files with it, and fetches their companions; render reads them. Only `read` may import heavy libraries.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from stages.meshes.model import Limits, Model


@dataclass(frozen=True)
class Companion:
    """A file that a mesh refers to."""

    uri: str  # as the mesh spells it
    needed: bool = False  # whether the mesh is refused without it; else it gets a warning
    companions: Callable[[bytes], Iterable[Companion]] | None = None  # of files that refer to further ones


class MeshFile(ABC):
    """One file of a format. The bytes come from strangers, so nothing that they declare is believed unchecked."""

    format: ClassVar[str]  # the name of the format, in the column `format`
    endings: ClassVar[tuple[str, ...]]  # of file names, in lower case, with the dot
    y_up: ClassVar[bool] = False  # whether the format defines that y is up

    def __init__(self, data: bytes, name: str):
        self.data = data
        self.name = name  # for messages, and for what references are relative to

    @staticmethod
    @abstractmethod
    def sniff(data: bytes, head: bytes) -> bool:
        """Whether the content is of this format. head: the first 64 KiB, without a byte order mark."""

    @staticmethod
    def sniff_damaged(data: bytes, head: bytes) -> bool:
        """Whether a file with this ending, whose content no format recognises, is a damaged file of this format."""
        return False

    def check(self) -> None:  # noqa: B027 (formats without such a header have nothing to check)
        """Refuse a file whose header declares more than the file holds, before memory is taken for it."""

    def companions(self) -> Iterable[Companion]:
        """The files that the mesh refers to."""
        return ()

    def check_companions(self, companions: Mapping[str, bytes]) -> None:  # noqa: B027
        """Refuse what can only be checked with the companions. companions: the files found, by their names."""

    def remarks(self, members: Mapping[str, bytes]) -> str:
        """What its header or its first comments say, such as the program that wrote it. members: as in `read`."""
        return ""

    @abstractmethod
    def read(self, members: Mapping[str, bytes], limits: Limits, max_side: int) -> Model:
        """Read the mesh. members: companions by their names; max_side: textures larger than that are reduced."""
