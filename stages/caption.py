"""Caption objects.

in:  views of render and, with a teacher, view_vectors of embed (the engines that use views: `vlm`, `served`);
     caption, name, tags, category, uri of the source list (the engine `metadata`; the first four also beside what
     other engines write, and as a `hint`)
out: captions, a list of {text, kind, model, score}; from engines that use views also caption_views (indices of the
     views that were shown, in that order), caption_origins (for each caption {revision, prompt, confidence}: a hash of
     the prompt, the mean probability of the tokens; null for one of the row) and warnings (kinds without a usable text)

How captions are made is described in docs/captions.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, NotRequired

import pyarrow as pa
from pydantic import model_validator
from typing_extensions import TypedDict

from manifests.dataset import CAPTION, Column
from stages.captioning.engine import CaptionEngine, engine_named
from stages.captioning.engines import ENGINES
from stages.captioning.settings import CaptionSettings
from stages.captioning.source_words import COLUMNS, captions_of_row, words_in_key
from stages.contract.schedule import Schedule
from stages.contract.shown import Shown
from stages.contract.stage import Context, Done, Outcome, ReadArtifact, Reason, Row, RowId, Stage, Work


def _reasons() -> Iterator[Reason]:
    """The reasons of all engines, each once and with the names of its engines."""
    engines: dict[Reason, list[str]] = {}
    for name in ENGINES:
        for reason in engine_named(name).reasons:
            engines.setdefault(reason, []).append(name)
    for reason, names in engines.items():
        yield replace(reason, meaning=f"{', '.join(names)}: {reason.meaning}")


class CaptionEntry(TypedDict):
    """One caption."""

    text: str
    kind: str
    model: str | None
    score: NotRequired[float | None]


class CaptionOutcome(TypedDict):
    """The columns of an outcome."""

    captions: list[CaptionEntry]
    caption_views: NotRequired[list[int]]
    caption_origins: NotRequired[list[dict[str, Any] | None]]
    warnings: NotRequired[list[str]]


class Caption(CaptionSettings, Stage):
    """Caption an object with the words of the source list, or with a vision-language model that is shown its views."""

    needs: ClassVar[tuple[str, ...]] = ("render",)
    gpu_field: ClassVar[str] = "device"
    outcome: ClassVar[Any] = CaptionOutcome
    columns: ClassVar[tuple[Column, ...]] = (
        Column(
            "captions",
            pa.list_(CAPTION),
            "kind: metadata, name, short, detailed, tags; score: fit to the views",
            missing=[],
        ),
    )
    reasons: ClassVar[tuple[Reason, ...]] = tuple(_reasons())
    default_schedule: ClassVar[Schedule] = CaptionEngine.default_schedule
    shown: ClassVar[Shown] = Shown(texts="captions")

    @model_validator(mode="after")
    def _has_what_the_engine_requires(self) -> Caption:
        for name, expected in self._engine.required.items():
            if not getattr(self, name):
                raise ValueError(f"{name}: missing; the engine {self.engine} needs {expected}")
        return self

    @property
    def _engine(self) -> type[CaptionEngine]:
        return engine_named(self.engine)

    @property
    def _adds_captions_of_row(self) -> bool:
        return self._engine.uses_views and "row" in self.sources

    @property
    def also_reads(self) -> tuple[str, ...]:
        return self._engine.reads(self) or (COLUMNS if self._adds_captions_of_row else ())

    @property
    def secrets(self) -> tuple[str, ...]:
        return self._engine.secrets(self)

    @property
    def may_need(self) -> tuple[str, ...]:
        return ("embed",) if self._engine.uses_views and self.typical_views else ()

    @property
    def on_gpu(self) -> bool:
        return self._engine.on_gpu(self)

    @classmethod
    def schedule_for(cls, settings: Any) -> Schedule:
        """The default schedule of the engine in these settings."""
        engine = settings.get("engine") if isinstance(settings, Mapping) else getattr(settings, "engine", None)
        known = isinstance(engine, str) and engine in ENGINES  # what else is given is refused later
        return engine_named(engine).default_schedule if known else cls.default_schedule

    def resolve(self, gpus: float, before: Stage | None = None, earlier: Mapping[str, Stage] | None = None) -> Caption:
        return self.model_copy(update=self._engine.resolve(self, gpus))

    @classmethod
    def entry(cls, outcome: Row, artifact: ReadArtifact, row: Row) -> Row:
        return {"captions": [caption | {"score": None} for caption in outcome.get("captions", [])]}

    def open(self, context: Context) -> Work:
        work = self._engine.open(self, context)
        return partial(self._with_captions_of_row, work) if self._adds_captions_of_row else work

    def _with_captions_of_row(self, work: Work, rows: list[Row]) -> Iterator[tuple[RowId, Outcome]]:
        by_id = {row["id"]: row for row in rows}
        for row_id, outcome in work(rows):
            if isinstance(outcome, Done):
                columns = self._join(outcome.columns, captions_of_row(by_id[row_id], self.max_characters))
                outcome = replace(outcome, columns=columns)
            yield row_id, outcome

    def _join(self, columns: Row, of_row: list[Row]) -> Row:
        """The columns of the engine with the captions of the row, in the order of `sources`."""
        ours: Row = {"captions": of_row, "caption_origins": [None] * len(of_row)}
        joined = columns.copy()
        for name in ours.keys() & columns.keys():
            by_source = {"engine": columns[name], "row": ours[name]}
            joined[name] = [value for source in self.sources for value in by_source[source]]
        return joined

    def settings(self, with_limits: bool = False) -> Row:
        fields = {"engine", "max_characters", *self._engine.uses, *(self._engine.limits if with_limits else ())}
        return self.model_dump(mode="json", include=fields)

    def values_in_key(self, row: Row) -> list[Any]:
        reads = self._engine.reads(self)
        known = {**row, "uri": words_in_key(row, self.max_characters)} if "uri" in reads else row
        used = [known.get(column) for column in reads]
        of_row = captions_of_row(row, self.max_characters) if self._adds_captions_of_row else []
        return [*used, self.sources, of_row] if of_row else used
