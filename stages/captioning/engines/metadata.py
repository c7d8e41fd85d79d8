"""Take captions from the source list, or else from the names of the file and its folder."""

from __future__ import annotations

from typing import ClassVar

from stages.captioning.engine import CaptionEngine
from stages.captioning.settings import CaptionSettings
from stages.captioning.source_words import COLUMNS, captions_of
from stages.contract.stage import Context, Done, Reason, Work, each


class Engine(CaptionEngine):
    uses: ClassVar[frozenset[str]] = frozenset()
    reasons: ClassVar[tuple[Reason, ...]] = (
        Reason(
            "no_words",
            "neither the source list nor the names of file and folder say anything",
            "give a caption, name, tags or category in the source list, or use a model",
        ),
    )

    @classmethod
    def reads(cls, settings: CaptionSettings) -> tuple[str, ...]:
        return (*COLUMNS, "uri")

    @classmethod
    def open(cls, settings: CaptionSettings, context: Context) -> Work:
        return each(lambda row: Done(columns={"captions": captions_of(row, settings.max_characters)}))
