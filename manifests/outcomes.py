"""Outcomes by key: what a stage made of a row, stored once, whoever asks.

An outcome is one create-only JSON file; it names the artifact it was measured on. The artifact is written first, under
a name nobody else uses, so the outcome's existence means that both are complete, and the first one wins as a pair.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

from manifests.store import Store

FOLDER = "artifacts"


@dataclass(frozen=True)
class Outcomes:
    store: Store

    def name(self, stage: str, key: str) -> str:
        return f"{FOLDER}/{stage}/{key[:2]}/{key}.json"

    def find(self, stage: str, key: str) -> dict[str, Any] | None:
        """The columns under this key, or None."""
        try:
            return json.loads(self.store.read(self.name(stage, key)))
        except FileNotFoundError:
            return None

    def publish(
        self,
        stage: str,
        key: str,
        columns: dict[str, Any],
        artifact: bytes | None = None,
        column: str = "",
        suffix: str = "",
    ) -> dict[str, Any]:
        """Store an outcome and return the one that stands: this one, or another worker's that came first."""
        reference = None
        if artifact is not None:
            reference = f"{FOLDER}/{stage}/{key[:2]}/{key}-{uuid.uuid4().hex[:8]}{suffix}"
            self.store.replace(reference, artifact)
            columns = {**columns, column: reference}
        if self.store.create(self.name(stage, key), json.dumps(columns).encode()):
            return columns
        if reference is not None:
            self.store.delete(reference)
        standing = self.find(stage, key)
        if standing is None:
            raise OSError(f"{self.name(stage, key)} was there and is gone: is another process cleaning this run?")
        return standing
