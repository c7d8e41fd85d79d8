"""Put an object's views through the teacher: a vector for each.

in:  views
out: view_vectors (.npy, [V, D] float16, length 1, row for row with the views), teacher (NAME@HASH of a folder,
     OWNER/NAME@COMMIT of a hub's model), dimension (D)

Views are shown on white, and made ready by the checkpoint's own processor. A GPU reckons in bfloat16 and takes the
views of several objects at once. A CPU reckons in float32 and takes an object at a time, so that its vectors do not
depend on what else was at hand.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from manifests.dataset import TEXT, VECTORS, Column
from manifests.store import Store
from stages.artifacts.vectors import from_bytes, to_bytes
from stages.artifacts.views import Views
from stages.common.models import PICTURES, TEXTS, ModelError, find, require
from stages.contract.schedule import Schedule
from stages.contract.stage import (
    Context,
    DamagedInput,
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

if TYPE_CHECKING:
    from stages.embedding.batches import Batches
    from stages.embedding.teacher import Prepared, Teacher


class Embed(Stage):
    """Embed an object's views with a CLIP or its like.  in: views   out: view_vectors, teacher, dimension"""

    needs: ClassVar[tuple[str, ...]] = ("render",)
    artifact: ClassVar[str] = "view_vectors"
    suffix: ClassVar[str] = ".npy"
    # `checkpoint` says what the model is. Precision and batches move vectors by less than they are apart.
    unkeyed: ClassVar[tuple[str, ...]] = ("model", "revision", "device", "batch_images")
    gpu_field: ClassVar[str] = "device"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("view_vectors", VECTORS, "V vectors of the teacher's dimension, length 1; null where no teacher ran"),
        Column("teacher", TEXT, "model and revision; null where none ran"),
    )
    reasons: ClassVar[tuple[Reason, ...]] = (
        Reason("bad_views", "there are no views"),
        Reason("not_finite", "the model gave NaN or a vector of length 0: its weights are probably damaged"),
        Reason("out_of_memory", "the GPU had no room for one view, after batches were halved down to it", True),
    )
    default_schedule: ClassVar[Schedule] = Schedule(cpus=1, gpus=1, batch=32, timeout_seconds=300, optional=True)

    model: str = Field(min_length=1)
    """The teacher: a folder that transformers saved, or a hub's name. CLIP, SigLIP, MetaCLIP and kin."""
    revision: str | None = None
    """Of a hub's model: a branch, a tag or a commit; by default the newest."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where it runs; `auto` takes a GPU where there is one."""
    batch_images: int = Field(256, ge=1)
    """So many views at once on a GPU; halved where memory ends."""
    checkpoint: str = ""
    """What `model` turned out to be; filled in."""

    @property
    def on_gpu(self) -> bool:
        return self.device == "gpu"

    def resolve(self, gpus: float, before: Stage | None = None, earlier: Mapping[str, Stage] | None = None) -> Embed:
        found = find(self.model, self.revision)
        _refuse_others(self.model, found.config)
        require(found, PICTURES, TEXTS)
        device = self.device if self.device != "auto" else "gpu" if gpus else "cpu"
        told = {"model": found.place, "revision": found.revision, "checkpoint": found.identity, "device": device}
        return self.model_copy(update=told)

    @classmethod
    def entry(cls, outcome: Row, artifact: ReadArtifact, row: Row) -> Row:
        return {"view_vectors": list(artifact(from_bytes)), "teacher": outcome.get("teacher")}

    def open(self, context: Context) -> Work:
        from stages.embedding.batches import Batches

        teacher = self.load(context)
        batches = Batches(teacher.look, self.batch_images, pooled=context.device == "cuda")
        return lambda rows: self._work(rows, context, teacher, batches)

    def load(self, context: Context) -> Teacher:
        from stages.embedding.teacher import Teacher

        return Teacher(self.model, self.revision, context.device, context.threads)

    def _work(
        self, rows: list[Row], context: Context, teacher: Teacher, batches: Batches
    ) -> Iterator[tuple[RowId, Outcome]]:
        from stages.common.prefetch import prefetch

        ready = prefetch(lambda row: (row["id"], _prepare(row, context.store, teacher)), rows, context.threads)
        for row_id, found in batches.run(ready):
            if isinstance(found, StageError):
                yield row_id, found
            else:
                columns = {"teacher": self.checkpoint or self.model, "dimension": found.shape[1]}
                yield row_id, Done(columns=columns, artifact=to_bytes(found))


def _refuse_others(model: str, config: dict) -> None:
    """As far as a configuration tells; the worker that loads the model sees the rest."""
    makes_text = any("Generation" in name or "CausalLM" in name for name in config.get("architectures") or [])
    if makes_text or not {"text_config", "vision_config"} <= config.keys():
        raise ModelError(
            f"{model}: a {config['model_type']} model, and a teacher has vectors for pictures and for texts; "
            "expected clip, siglip, metaclip_2 or the like"
        )


def _prepare(row: Row, store: Store, teacher: Teacher) -> list[Prepared] | StageError:
    name = row["views"]
    try:
        pictures = Views.from_bytes(read_input(store, name, "render")).pictures()
    except StageError as error:
        return error
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        return DamagedInput("render", error)
    if not pictures:
        return StageError("bad_views", f"{name} holds no views: expected at least one")
    return teacher.prepare(pictures)
