"""Outcomes: what a stage made of a row, stored once under its key.

An outcome is a JSON file with the columns that the stage adds. It may name an artifact, a file such as a splat. The
artifact is written first, under a unique name; then the outcome is created. So if an outcome exists, both files are
complete, and of two workers with the same key the first to create its outcome wins.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from manifests.store import Store
from manifests.text import encodable, messages

FOLDER = "artifacts"


@dataclass(frozen=True)
class Outcomes:
    store: Store

    def name(self, stage: str, key: str) -> str:
        return f"{FOLDER}/{stage}/{key[:2]}/{key}.json"

    def find(self, stage: str, key: str) -> dict[str, Any] | None:
        """The columns under this key, or None; a damaged file counts as none."""
        try:
            return encodable(json.loads(self.store.read(self.name(stage, key))))  # an older version stored any text
        except (FileNotFoundError, ValueError):
            return None

    def withdraw(self, stage: str, key: str) -> None:
        """Delete an outcome whose artifact is damaged."""
        self.store.delete(self.name(stage, key))

    def publish(
        self,
        stage: str,
        key: str,
        columns: dict[str, Any],
        artifact: bytes | None = None,
        column: str = "",
        suffix: str = "",
        stands: Callable[[dict[str, Any]], bool] = lambda columns: True,
    ) -> dict[str, Any]:
        """Store an outcome and return the one that counts: this one, or an earlier one for which `stands` is true.

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
        data = json.dumps(columns).encode()
        if self.store.create(self.name(stage, key), data):
            return columns
        first = self.find(stage, key)
        if first is not None and stands(first):
            if reference is not None:
                self.store.delete(reference)
            return first
        self.store.replace(self.name(stage, key), data)  # the earlier one is damaged, or its artifact is gone
        return columns
