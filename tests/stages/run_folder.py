"""A run folder for tests of single stages: artifacts are put into it, and stages work rows over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from manifests.store import LocalStore
from stages.contract.stage import Context, Outcome, Stage


class RunFolder:
    def __init__(self, folder: Path):
        self.store = LocalStore(str(folder))
        self.context = Context(self.store, folder)

    def put(self, name: str, data: bytes) -> str:
        """Store an artifact and return its name, for a row."""
        self.store.replace(f"artifacts/{name}", data)
        return f"artifacts/{name}"

    def outcomes(self, stage: Stage, *rows: dict[str, Any]) -> dict[str, Outcome]:
        """The outcome of each row, by id, in the order in which they came."""
        outcomes = list(stage.open(self.context)(list(rows)))
        assert len(outcomes) == len(rows)
        return dict(outcomes)
