"""Outcomes: what a stage made of a row, stored once under its key.

An outcome is a JSON file with the columns that the stage adds. It may name an artifact, a file such as a splat. The
artifact is written first, under a unique name; then the outcome is created. So if an outcome exists, both files are
complete, and of two workers with the same key the first to create its outcome wins.

The file also holds the size and the sha256 of the artifact and a checksum of everything, so that damage is noticed.
Their names begin with an underscore, as no column's does. Outcomes of earlier versions do not have them.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from manifests.store import Store
from manifests.text import encodable, message, messages

FOLDER = "artifacts"
_ARTIFACT, _CHECKSUM = "_artifact", "_checksum"


class DamagedFile(ValueError):
    """A file of the run folder is damaged: it does not have the content that was written."""


@dataclass(frozen=True)
class Recorded:
    """What is recorded of a file when it is written."""

    size: int  # in bytes
    sha256: str

    @classmethod
    def of(cls, data: bytes) -> Recorded:
        return cls(len(data), hashlib.sha256(data).hexdigest())

    def check(self, data: bytes, name: str) -> None:
        if len(data) != self.size:
            raise DamagedFile(f"{name} has {len(data)} bytes, expected {self.size}")
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise DamagedFile(f"{name} has other content than was written (its sha256 differs)")


@dataclass(frozen=True)
class StoredOutcome:
    columns: dict[str, Any]
    column: str = ""  # the column that names its artifact, "" if it has none
    recorded: Recorded | None = None  # of its artifact; None: an earlier version wrote it

    @property
    def artifact(self) -> str:
        """The name of its artifact, "" if it has none."""
        return self.columns[self.column] if self.column else ""


class Maker(Protocol):
    """A stage, as far as outcomes are concerned."""

    artifact: ClassVar[str]  # the column that names its artifact, "" if it has none

    def check_outcome(self, key: str, columns: dict[str, Any]) -> None:
        """Raise ValueError if these cannot be the columns of its outcome under this key."""

    def recorded(self, columns: dict[str, Any]) -> Recorded | None:
        """What the columns themselves say of the artifact."""


@dataclass(frozen=True)
class Outcomes:
    store: Store
    makers: Mapping[str, Maker] = field(default_factory=dict)  # by name: the stages that say what their outcomes hold

    def name(self, stage: str, key: str) -> str:
        return f"{FOLDER}/{stage}/{key[:2]}/{key}.json"

    def read(self, stage: str, key: str) -> StoredOutcome:
        """Read an outcome; raise FileNotFoundError if there is none, DamagedFile if it is damaged."""
        name = self.name(stage, key)
        data = self.store.read(name)
        try:
            columns, artifact = _decode(data)
            maker = self.makers.get(stage)
            if maker:
                maker.check_outcome(key, columns)
            return _described(encodable(columns), artifact, maker)  # an older version stored any text
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DamagedFile(f"{name} is damaged: {message(error)[:300]}") from error

    def find(self, stage: str, key: str) -> dict[str, Any] | None:
        """The columns under this key, or None; a damaged outcome counts as none."""
        stored = self.find_stored(stage, key)
        return stored.columns if stored else None

    def find_stored(self, stage: str, key: str) -> StoredOutcome | None:
        try:
            return self.read(stage, key)
        except (FileNotFoundError, DamagedFile):
            return None

    def has_artifact(self, stored: StoredOutcome) -> bool:
        """Whether the artifact is there and has its recorded size; True for an outcome that has no artifact."""
        if not stored.artifact:
            return True
        size = self.store.size(stored.artifact)
        return size is not None and (stored.recorded is None or size == stored.recorded.size)

    def read_artifact(self, stored: StoredOutcome) -> bytes:
        """Read the artifact of an outcome; raise FileNotFoundError or DamagedFile."""
        data = self.store.read(stored.artifact)
        if stored.recorded:
            stored.recorded.check(data, stored.artifact)
        return data

    def withdraw(self, stage: str, key: str) -> None:
        """Delete an outcome that is damaged or whose artifact is."""
        self.store.delete(self.name(stage, key))

    def publish(
        self,
        stage: str,
        key: str,
        columns: dict[str, Any],
        artifact: bytes | None = None,
        column: str = "",
        suffix: str = "",
    ) -> dict[str, Any]:
        """Store an outcome and return the columns that count: these, or those of an earlier one that is whole.

        What its texts hold comes from files of strangers, so they are made safe here.
        """
        reference = None
        columns = encodable(columns)
        if "warnings" in columns:
            columns["warnings"] = messages(columns["warnings"])
        if artifact is not None:
            reference = f"{FOLDER}/{stage}/{key[:2]}/{key}-{uuid.uuid4().hex[:8]}{suffix}"
            self.store.replace(reference, artifact)
            columns = {**columns, column: reference}
        data = _encode(columns, column, artifact)
        if self.store.create(self.name(stage, key), data):
            return columns
        first = self.find_stored(stage, key)
        if first is not None and self.has_artifact(first):
            if reference is not None:
                self.store.delete(reference)
            return first.columns
        self.store.replace(self.name(stage, key), data)  # the earlier one is damaged, or its artifact is gone
        return columns


def is_artifact(name: str, stage: str, key: str, suffix: str) -> bool:
    """Whether a file name is one that `publish` gives."""
    return bool(re.fullmatch(rf"{FOLDER}/{re.escape(stage)}/{key[:2]}/{key}-[0-9a-f]{{8}}{re.escape(suffix)}", name))


def _encode(columns: dict[str, Any], column: str, artifact: bytes | None) -> bytes:
    if reserved := [name for name in columns if name.startswith("_")]:
        raise ValueError(f"{reserved[0]}: the name of a column cannot begin with an underscore")
    recorded = None
    if artifact is not None:
        facts = Recorded.of(artifact)
        recorded = {"column": column, "bytes": facts.size, "sha256": facts.sha256}
    return json.dumps({**columns, _ARTIFACT: recorded, _CHECKSUM: _checksum(columns, recorded)}).encode()


def _decode(data: bytes) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The columns, and what is recorded of the artifact; raise ValueError if the file is damaged."""
    content = json.loads(data)
    if not isinstance(content, dict):
        raise ValueError("it is not a JSON object")
    columns = {name: value for name, value in content.items() if not name.startswith("_")}
    if len(columns) == len(content):
        return columns, None  # an outcome of an earlier version
    if content.keys() - columns.keys() != {_ARTIFACT, _CHECKSUM}:
        raise ValueError(f"expected the names {_ARTIFACT} and {_CHECKSUM} and no other that begins with an underscore")
    if content[_CHECKSUM] != _checksum(columns, content[_ARTIFACT]):
        raise ValueError("its checksum differs")
    return columns, content[_ARTIFACT]


def _checksum(columns: dict[str, Any], artifact: dict[str, Any] | None) -> str:
    return hashlib.sha256(json.dumps([columns, artifact]).encode()).hexdigest()


def _described(columns: dict[str, Any], artifact: dict[str, Any] | None, maker: Maker | None) -> StoredOutcome:
    if artifact:
        return StoredOutcome(columns, artifact["column"], Recorded(artifact["bytes"], artifact["sha256"]))
    if maker:
        return StoredOutcome(columns, maker.artifact, maker.recorded(columns))
    return StoredOutcome(columns)
