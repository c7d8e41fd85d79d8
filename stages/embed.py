"""Compute a vector for each view of an object with the teacher, a CLIP model or one like it.

in:  views
out: view_vectors (.npy, [V, D] float16, length 1, in the order of the views), teacher (NAME@HASH of a folder,
     OWNER/NAME@COMMIT of a model on the hub), dimension (D)

Views are composited on white and prepared by the checkpoint's own processor. A GPU computes in bfloat16, with the views
of several objects in a batch. A CPU computes in float32, one object at a time, so that its vectors do not depend on the
other objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field
from typing_extensions import TypedDict

from manifests.dataset import TEXT, VECTORS, Column
from manifests.store import Store
from stages.artifacts.vectors import from_bytes, to_bytes
from stages.artifacts.views import Views
from stages.common.models import HUB_TOKENS, PICTURES, TEXTS, Checkpoint, ModelError, find, require
from stages.contract.schedule import Schedule
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
from stages.embedding.reasons import model_reasons

if TYPE_CHECKING:
    from stages.embedding.batches import Batches
    from stages.embedding.teacher import Prepared, Teacher


class EmbedOutcome(TypedDict):
    """The columns of an outcome."""

    teacher: str
    dimension: int
    view_vectors: str


class Embed(Stage):
    """Embed an object's views with a CLIP model or a similar one.  in: views   out: view_vectors, teacher, dimension"""

    needs: ClassVar[tuple[str, ...]] = ("render",)
    artifact: ClassVar[str] = "view_vectors"
    suffix: ClassVar[str] = ".npy"
    # `checkpoint` identifies the model. Device and batch size change vectors by rounding only.
    unkeyed: ClassVar[tuple[str, ...]] = ("model", "revision", "device", "batch_images")
    gpu_field: ClassVar[str] = "device"
    outcome: ClassVar[Any] = EmbedOutcome
    columns: ClassVar[tuple[Column, ...]] = (
        Column("view_vectors", VECTORS, "V vectors of the teacher's dimension, length 1; null where no teacher ran"),
        Column("teacher", TEXT, "model and revision; null where none ran"),
    )
    reasons: ClassVar[tuple[Reason, ...]] = (
        Reason("bad_views", "there are no views", "report it"),
        *model_reasons("view"),
    )
    default_schedule: ClassVar[Schedule] = Schedule(cpus=1, gpus=1, batch=32, timeout_seconds=300, optional=True)

    model: str = Field(min_length=1)
    """The teacher, a CLIP, SigLIP, MetaCLIP or similar model: a folder that transformers saved or a name on the hub."""
    revision: str | None = None
    """A branch, tag or commit of a model on the hub; by default the newest commit."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where the model runs; `auto` takes a GPU if there is one."""
    batch_images: int = Field(256, ge=1)
    """Views in a batch on a GPU; halved if memory runs out."""
    checkpoint: str = ""
    """The identity of `model`; filled in."""

    @property
    def on_gpu(self) -> bool:
        return self.device == "gpu"

    @property
    def secrets(self) -> tuple[str, ...]:
        return HUB_TOKENS if self.revision else ()  # which a model on the hub has, once it is found

    def resolve(self, gpus: float, before: Stage | None = None, earlier: Mapping[str, Stage] | None = None) -> Embed:
        found = find(self.model, self.revision)
        _require_teacher(found)
        require(found, PICTURES, TEXTS)
        return self.model_copy(update=found.settings(self.device, gpus))

    @classmethod
    def entry(cls, outcome: Row, artifact: ReadArtifact, row: Row) -> Row:
        return {"view_vectors": list(artifact(from_bytes)), "teacher": outcome.get("teacher")}

    def check_artifact(self, data: bytes) -> None:
        from_bytes(data)

    def open(self, context: Context) -> Work:
        from stages.embedding.batches import Batches

        teacher = self.load(context)
        batches = Batches(teacher.embed_pictures, self.batch_images, pooled=context.device == "cuda")
        return lambda rows: self._work(rows, context, teacher, batches)

    def load(self, context: Context) -> Teacher:
        from stages.embedding.teacher import Teacher

        return Teacher(self.model, self.revision, context.device, context.threads)

    def _work(
        self, rows: list[Row], context: Context, teacher: Teacher, batches: Batches
    ) -> Iterator[tuple[RowId, Outcome]]:
        from stages.common.prefetch import prefetch

        prepared = prefetch(lambda row: (row["id"], _prepare(row, context.store, teacher)), rows, context.threads)
        for row_id, vectors in batches.run(prepared):
            if isinstance(vectors, StageError):
                yield row_id, vectors
            else:
                columns = {"teacher": self.checkpoint or self.model, "dimension": vectors.shape[1]}
                yield row_id, Done(columns=columns, artifact=to_bytes(vectors))


def _require_teacher(found: Checkpoint) -> None:
    """Refuse other models by their configuration; what it does not show, the worker finds when it loads the model."""
    if found.writes_text or not {"text_config", "vision_config"} <= found.config.keys():
        raise ModelError(
            f"{found.model}: a {found.config['model_type']} model has no vectors for both images and texts; "
            "expected a model of type clip, siglip, metaclip_2 or similar"
        )


def _prepare(row: Row, store: Store, teacher: Teacher) -> list[Prepared] | StageError:
    name = row["views"]
    try:
        pictures = read_input(store, row, "views", "render", lambda data: Views.from_bytes(data).pictures())
    except StageError as error:
        return error
    if not pictures:
        return StageError("bad_views", f"{name} has no views; expected at least one")
    return teacher.prepare(pictures)
