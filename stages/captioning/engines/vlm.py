"""Caption with a vision-language model that the worker loads with transformers.

A GPU computes in bfloat16, with several objects in a batch; a CPU in float32, one object at a time. If memory runs out,
batches are halved and stay halved; an object that does not fit alone fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from stages.captioning.engine import VIEW_REASONS, VIEW_SETTINGS, CaptionEngine
from stages.captioning.settings import CaptionSettings
from stages.common.models import HUB_TOKENS, PICTURES, TEXTS, Checkpoint, ModelError, find, require
from stages.common.prefetch import prefetch
from stages.contract.schedule import Schedule
from stages.contract.stage import Context, Outcome, Reason, Row, RowId, StageError, Work

if TYPE_CHECKING:
    from stages.captioning.subject import Answer, Subject
    from stages.captioning.writer import Writer


class Engine(CaptionEngine):
    uses: ClassVar[frozenset[str]] = VIEW_SETTINGS | {"checkpoint"}
    required: ClassVar[dict[str, str]] = {"model": "a folder that transformers saved, or a model's name on the hub"}
    uses_views: ClassVar[bool] = True
    reasons: ClassVar[tuple[Reason, ...]] = (
        *VIEW_REASONS,
        Reason(
            "out_of_memory",
            "the GPU had no room for one object, after batches were halved down to it",
            "lower `caption.views` or `caption.picture_size`",
            transient=True,
        ),
    )
    default_schedule: ClassVar[Schedule] = Schedule(
        cpus=1, gpus=1, batch=16, memory_gb=24, timeout_seconds=600, optional=True
    )

    @classmethod
    def secrets(cls, settings: CaptionSettings) -> tuple[str, ...]:
        return HUB_TOKENS if settings.revision else ()

    @classmethod
    def on_gpu(cls, settings: CaptionSettings) -> bool:
        return settings.device == "gpu"

    @classmethod
    def resolve(cls, settings: CaptionSettings, gpus: float) -> dict[str, Any]:
        found = find(str(settings.model), settings.revision)
        _require_captioner(found)
        require(found, PICTURES, TEXTS)
        return found.settings(settings.device, gpus)

    @classmethod
    def open(cls, settings: CaptionSettings, context: Context) -> Work:
        from stages.captioning.writer import Writer

        writer = Writer(str(settings.model), settings.revision, context.device, context.threads)
        return Captioner(settings, context, writer).work


def _require_captioner(found: Checkpoint) -> None:
    """Refuse other models by their configuration; what it does not show, the worker finds when it loads the model."""
    image_fields = {"vision_config", "vision_tower", "image_token_id", "image_token_index"}
    if not image_fields & found.config.keys() or not found.writes_text:
        raise ModelError(
            f"{found.model}: a {found.config['model_type']} model does not write about images; expected a model of "
            "type qwen2_5_vl, idefics3, llava or another that AutoModelForImageTextToText loads"
        )


class Captioner:
    def __init__(self, settings: CaptionSettings, context: Context, writer: Writer):
        self.settings = settings
        self.context = context
        self.writer = writer
        # On a CPU an object's captions do not depend on other objects, to the last bit.
        self.batch_size = settings.objects_at_once if context.device == "cuda" else 1

    def work(self, rows: list[Row]) -> Iterator[tuple[RowId, Outcome]]:
        from stages.captioning.subject import read_subject

        batch: list[Subject] = []
        subjects = prefetch(
            lambda row: read_subject(self.settings, row, self.context.store), rows, self.context.threads
        )
        for row, subject in zip(rows, subjects, strict=True):
            if isinstance(subject, StageError):
                yield row["id"], subject
                continue
            batch.append(subject)
            if len(batch) >= self.batch_size:
                yield from self._caption(batch)
                batch = []
        yield from self._caption(batch)

    def _caption(self, subjects: list[Subject]) -> Iterator[tuple[RowId, Outcome]]:
        from stages.captioning.subject import outcome_of

        start = 0
        while start < len(subjects):
            batch = subjects[start : start + self.batch_size]
            try:
                answered = self._ask(batch)
            except MemoryError as error:
                if len(batch) > 1:
                    self.batch_size = -(-len(batch) // 2)
                    continue
                detail = f"one object does not fit: {error}; {_SMALLER}"
                answered = [StageError("out_of_memory", detail, transient=True)]
            for subject, answers in zip(batch, answered, strict=True):
                if isinstance(answers, StageError):
                    yield subject.row_id, answers
                else:
                    yield subject.row_id, outcome_of(self.settings, subject, answers)
            start += len(batch)

    def _ask(self, subjects: Sequence[Subject]) -> list[dict[str, Answer] | StageError]:
        """Ask for one kind after the other: the writer keeps what it computed for the pictures."""
        answered: list[dict[str, Answer]] = [{} for _ in subjects]
        errors: dict[int, StageError] = {}
        for kind in self.settings.prompts.asked():
            questions = [subject.questions[kind] for subject in subjects]
            answers = self.writer.write(questions, self.settings.max_new_tokens, self.settings.temperature)
            for index, answer in enumerate(answers):
                if isinstance(answer, StageError):
                    errors[index] = answer
                else:
                    answered[index][kind] = answer
        return [errors.get(index, answers) for index, answers in enumerate(answered)]


_SMALLER = "use fewer caption.views, a smaller caption.picture_size or fewer caption.max_new_tokens"
