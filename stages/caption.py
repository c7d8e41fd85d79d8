"""Caption objects.

in: views of render (engines that look), caption, name, tags, category, uri of the source list (the `metadata` engine)
out: captions, a list of {text, kind, model, score}
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from stages.captioning.metadata import words_in
from stages.stage import Context, Row, Stage, Work


class Caption(Stage):
    """Give an object its texts: the source list's own words, or the names of file and folder."""

    needs: ClassVar[tuple[str, ...]] = ("render",)
    reads: ClassVar[tuple[str, ...]] = ("caption", "name", "tags", "category", "uri")

    engine: Literal["metadata"] = "metadata"
    """`metadata`: words of the source list, else of the file's and folder's name."""
    max_characters: int = Field(2000, ge=1)
    """Longer texts are cut between words."""

    def open(self, context: Context) -> Work:
        return importlib.import_module(f"stages.captioning.{self.engine}").open_engine(self, context)

    def key(self, row: Row, needed: Sequence[str] = (), content: str = "", failed: bool = False) -> str:
        # Only the words in the names of the file and its folders are used: a collection that moves keeps its captions.
        return super().key({**row, "uri": words_in(row.get("uri") or "")}, needed, content, failed)
