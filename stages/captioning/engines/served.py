"""Caption with a model behind an OpenAI-compatible chat endpoint such as vLLM, asking about many objects at once.

There is one open request for each object, and its pictures come before the prompt: a server that caches prefixes, as
vLLM does, reads them once for all kinds of text.
"""

from __future__ import annotations

import asyncio
import base64
import io
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from stages.captioning.engine import VIEW_REASONS, VIEW_SETTINGS, CaptionEngine
from stages.captioning.settings import CaptionSettings
from stages.contract.stage import Context, Outcome, Reason, Row, RowId, StageError, Work

if TYPE_CHECKING:
    from PIL import Image

    from stages.captioning.endpoint import Endpoint
    from stages.captioning.subject import Answer, Question, Subject


class Engine(CaptionEngine):
    uses: ClassVar[frozenset[str]] = VIEW_SETTINGS | {"model", "revision", "log_probabilities"}
    # Where the endpoint is and how often it is asked changes no caption, but a failed row may succeed.
    limits: ClassVar[frozenset[str]] = frozenset({"endpoint", "api_key_variable", "tries", "deadline_seconds"})
    required: ClassVar[dict[str, str]] = {
        "model": "the name of the model at the endpoint",
        "endpoint": "a URL such as http://localhost:8000/v1",
    }
    uses_views: ClassVar[bool] = True
    reasons: ClassVar[tuple[Reason, ...]] = (
        *VIEW_REASONS,
        Reason(
            "not_authorised",
            "401 or 403; the key is named by its variable and never shown",
            "set the variable that `caption.api_key_variable` names, on the workers",
        ),
        Reason(
            "endpoint_refused",
            "an answer that will not change, such as an unknown model or a redirect",
            "compare `caption.model` and `caption.endpoint` with what the server offers",
        ),
        Reason(
            "endpoint_failed",
            "no usable answer after `tries` or within `deadline_seconds`",
            "check the server; lower `caption.in_flight`, or raise `caption.deadline_seconds`",
            transient=True,
        ),
    )

    @classmethod
    def secrets(cls, settings: CaptionSettings) -> tuple[str, ...]:
        return (settings.api_key_variable,)

    @classmethod
    def open(cls, settings: CaptionSettings, context: Context) -> Work:
        from stages.captioning.endpoint import Endpoint

        key = os.environ.get(settings.api_key_variable, "").strip()
        if not (key.isascii() and key.isprintable()) or " " in key:
            # The value is not shown: this line is logged.
            raise ValueError(
                f"the environment variable {settings.api_key_variable} has characters that are not allowed in a key; "
                "expected printable ASCII without spaces"
            )
        return lambda rows: _work(settings, context, rows, Endpoint(settings, key))


def _work(
    settings: CaptionSettings, context: Context, rows: list[Row], endpoint: Endpoint
) -> Iterator[tuple[RowId, Outcome]]:
    """Yield outcomes as they come; the event loop only runs while the caller waits for the next one."""
    loop = asyncio.new_event_loop()
    tasks: set[asyncio.Task[tuple[RowId, Outcome]]] = set()
    try:
        loop.run_until_complete(endpoint.connect())
        remaining = iter(rows)
        while True:
            while len(tasks) < settings.in_flight and (row := next(remaining, None)) is not None:
                tasks.add(loop.create_task(_caption(settings, context, row, endpoint)))
            if not tasks:
                return
            done, tasks = loop.run_until_complete(asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED))
            for task in done:
                yield task.result()
    finally:  # also when the caller stops early or a task raises
        loop.run_until_complete(_stop(tasks, endpoint))
        loop.close()


async def _stop(tasks: set[asyncio.Task[tuple[RowId, Outcome]]], endpoint: Endpoint) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await endpoint.close()
    await asyncio.get_running_loop().shutdown_default_executor()


async def _caption(settings: CaptionSettings, context: Context, row: Row, endpoint: Endpoint) -> tuple[RowId, Outcome]:
    from stages.captioning.subject import outcome_of, read_subject

    subject = await asyncio.to_thread(read_subject, settings, row, context.store)
    if isinstance(subject, StageError):
        return row["id"], subject
    try:
        return row["id"], outcome_of(settings, subject, await _answers(settings, subject, endpoint))
    except StageError as error:
        return row["id"], error


async def _answers(settings: CaptionSettings, subject: Subject, endpoint: Endpoint) -> dict[str, Answer]:
    questions = subject.questions
    pictures = await asyncio.to_thread(_as_parts, next(iter(questions.values())).pictures)
    deadline = asyncio.get_running_loop().time() + settings.deadline_seconds
    return {
        kind: await endpoint.ask(_body(settings, question, pictures), deadline) for kind, question in questions.items()
    }


def _as_parts(pictures: list[Image.Image]) -> list[dict[str, Any]]:
    """The parts of a chat message that contain the pictures."""
    parts = []
    for picture in pictures:
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        url = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return parts


def _body(settings: CaptionSettings, question: Question, pictures: list[dict[str, Any]]) -> dict[str, Any]:
    content = [*pictures, {"type": "text", "text": question.text}]
    body: dict[str, Any] = {
        "model": settings.model,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": settings.max_new_tokens,
        "temperature": settings.temperature,
    }
    if settings.temperature:
        body["seed"] = question.seed % 2**31
    if settings.log_probabilities:
        body["logprobs"] = True
    return body
