"""Captions by a vision-language model of transformers, in the worker: many objects in a batch, several views of each.

A GPU reckons in bfloat16 and takes several objects at once, a CPU in float32 and one. Where memory ends, batches are
halved and stay so; an object that is too large alone fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from stages.captioning.subject import Answer, Subject, look, outcome_of
from stages.contract.stage import Context, Outcome, Row, RowId, StageError, Work

if TYPE_CHECKING:
    from stages.caption import Caption
    from stages.captioning.writer import Writer


def open_engine(stage: Caption, context: Context) -> Work:
    from stages.captioning.writer import Writer

    writer = Writer(str(stage.model), stage.revision, context.device, context.threads)
    engine = VlmEngine(stage, context, writer)
    return engine.work


class VlmEngine:
    def __init__(self, stage: Caption, context: Context, writer: Writer):
        self.stage = stage
        self.context = context
        self.writer = writer
        # On a CPU an object's captions do not depend on what else was at hand, down to the last bit.
        self.at_once = stage.objects_at_once if context.device == "cuda" else 1

    def work(self, rows: list[Row]) -> Iterator[tuple[RowId, Outcome]]:
        from stages.common.prefetch import prefetch

        subjects: list[Subject] = []
        ready = prefetch(lambda row: look(self.stage, row, self.context.store), rows, self.context.threads)
        for row, subject in zip(rows, ready, strict=True):
            if isinstance(subject, StageError):
                yield row["id"], subject
                continue
            subjects.append(subject)
            if len(subjects) >= self.at_once:
                yield from self._caption(subjects)
                subjects = []
        yield from self._caption(subjects)

    def _caption(self, subjects: list[Subject]) -> Iterator[tuple[RowId, Outcome]]:
        start = 0
        while start < len(subjects):
            some = subjects[start : start + self.at_once]
            try:
                told = self._ask(some)
            except MemoryError as error:
                if len(some) > 1:
                    self.at_once = -(-len(some) // 2)
                    continue
                detail = f"one object alone is too large: {error}; {_SMALLER}"
                told = [StageError("out_of_memory", detail, transient=True)]
            for subject, answers in zip(some, told, strict=True):
                failed = isinstance(answers, StageError)
                yield subject.row_id, answers if failed else outcome_of(self.stage, subject, answers)
            start += len(some)

    def _ask(self, subjects: Sequence[Subject]) -> list[dict[str, Answer] | StageError]:
        """Kind after kind, so that the pictures need not be looked at again."""
        told: list[dict[str, Answer] | StageError] = [{} for _ in subjects]
        for kind in self.stage.prompts.asked():
            asked = [subject.questions[kind] for subject in subjects]
            answers = self.writer.write(asked, self.stage.max_new_tokens, self.stage.temperature)
            for number, answer in enumerate(answers):
                if isinstance(answer, StageError):
                    told[number] = answer
                elif not isinstance(told[number], StageError):
                    told[number][kind] = answer
        return told


_SMALLER = "fewer caption.views, a smaller caption.picture_size or fewer caption.max_new_tokens would do"
