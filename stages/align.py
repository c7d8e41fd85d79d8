"""Compute a vector for each caption of an object with the teacher, and how well it agrees with the views.

in:  captions of caption; view_vectors of embed
out: caption_vectors (.npy, [T, D] float16, length 1, in the order of the captions), caption_scores (for each caption
     the mean cosine between its vector and those of the views), warnings (captions that are longer than the teacher's
     context: their vectors describe the beginning)

The model and its device are those of embed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NotRequired

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from manifests.dataset import VECTORS, Column
from stages.artifacts.vectors import from_bytes, to_bytes
from stages.contract.schedule import Schedule
from stages.contract.shown import Shown
from stages.contract.stage import (
    Context,
    Done,
    Outcome,
    ReadArtifact,
    Reason,
    Row,
    RowId,
    Stage,
    StageError,
    Work,
    read_input,
)
from stages.embed import Embed
from stages.embedding.reasons import model_reasons

if TYPE_CHECKING:
    from stages.embedding.batches import Batches
    from stages.embedding.teacher import Teacher


class AlignOutcome(TypedDict):
    """The columns of an outcome."""

    caption_scores: list[float]
    warnings: NotRequired[list[str]]
    caption_vectors: str


class Align(Stage):
    """Embed captions and score them.  in: captions, view_vectors   out: caption_vectors, caption_scores"""

    needs: ClassVar[tuple[str, ...]] = ("embed", "caption")
    artifact: ClassVar[str] = "caption_vectors"
    suffix: ClassVar[str] = ".npy"
    unkeyed: ClassVar[tuple[str, ...]] = ("batch_texts",)
    gpu_field: ClassVar[str] = "device"
    outcome: ClassVar[Any] = AlignOutcome
    columns: ClassVar[tuple[Column, ...]] = (
        Column("caption_vectors", VECTORS, "a teacher's vector for each of captions, length 1; null where none ran"),
    )
    reasons: ClassVar[tuple[Reason, ...]] = (
        Reason(
            "no_captions",
            "the stage caption gave no text",
            "check the row's words and `caption.engine`",
        ),
        *model_reasons("text"),
    )
    default_schedule: ClassVar[Schedule] = Schedule(cpus=1, gpus=1, batch=64, timeout_seconds=300, optional=True)
    shown: ClassVar[Shown] = Shown(scores="caption_scores")

    batch_texts: int = Field(1024, ge=1)
    """Captions in a batch on a GPU; halved if memory runs out."""
    teacher: Embed | None = Field(None, exclude=True)
    """The stage embed, with its model and device; filled in. It enters keys through the keys of embed."""

    @property
    def device(self) -> str:
        return self.teacher.device if self.teacher else "auto"

    @property
    def on_gpu(self) -> bool:
        return self.teacher is not None and self.teacher.on_gpu

    @property
    def secrets(self) -> tuple[str, ...]:
        return self.teacher.secrets if self.teacher else ()

    @classmethod
    def entry(cls, outcome: Row, artifact: ReadArtifact, row: Row) -> Row:
        """With the scores of the captions that the stage caption gave."""
        scored = zip(row["captions"], outcome["caption_scores"], strict=True)
        captions = [caption | {"score": float(score)} for caption, score in scored]
        return {"caption_vectors": list(artifact(from_bytes)), "captions": captions}

    def resolve(self, gpus: float, before: Stage | None = None, earlier: Mapping[str, Stage] | None = None) -> Align:
        return self.model_copy(update={"teacher": (earlier or {}).get("embed")})

    def check_artifact(self, data: bytes) -> None:
        from_bytes(data)

    def open(self, context: Context) -> Work:
        from stages.embedding.batches import Batches

        if self.teacher is None:
            raise ValueError("align.teacher is not set; expected the stage embed")
        teacher = self.teacher.load(context)
        batches = Batches(teacher.embed_texts, self.batch_texts, pooled=context.device == "cuda")
        return lambda rows: _work(rows, context, teacher, batches)


def _work(rows: list[Row], context: Context, teacher: Teacher, batches: Batches) -> Iterator[tuple[RowId, Outcome]]:
    by_id = {row["id"]: row for row in rows}
    for row_id, vectors in batches.run((row["id"], _texts_to_embed(row)) for row in rows):
        if isinstance(vectors, StageError):
            yield row_id, vectors
            continue
        row = by_id[row_id]
        try:
            views = read_input(context.store, row, "view_vectors", "embed", from_bytes).astype(np.float32)
        except StageError as error:
            yield row_id, error
            continue
        scores = (vectors.astype(np.float32) @ views.T).mean(axis=1)
        columns = {"caption_scores": [round(float(score), 6) for score in scores], "warnings": _warnings(row, teacher)}
        yield row_id, Done(columns=columns, artifact=to_bytes(vectors))


def _texts(row: Row) -> list[str]:
    return [caption["text"] for caption in row["captions"]]


def _texts_to_embed(row: Row) -> list[str] | StageError:
    return _texts(row) or StageError("no_captions", "the stage caption gave no text; expected at least one")


def _warnings(row: Row, teacher: Teacher) -> list[str]:
    """One line for each caption that is longer than the teacher's context."""
    lengths = teacher.token_counts(_texts(row))
    return [
        f"caption {number} ({row['captions'][number]['kind']}) has {length} tokens, of which the teacher reads the "
        f"first {teacher.context}"
        for number, length in enumerate(lengths)
        if length > teacher.context
    ]
