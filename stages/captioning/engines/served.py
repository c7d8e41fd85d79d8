"""Captions by a model behind an OpenAI-compatible chat endpoint (vLLM and others), many objects in flight at once.

Each object has one request under way at a time: the pictures come before the prompt, so that a server which keeps what
it has read (vLLM does) reads them once for all kinds of text.
"""

from __future__ import annotations

import asyncio
import base64
import io
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from PIL import Image

from stages.captioning.subject import Answer, Question, Subject, look, outcome_of
from stages.contract.stage import Context, Outcome, Row, RowId, StageError, Work

if TYPE_CHECKING:
    from stages.caption import Caption
    from stages.captioning.asking import Endpoint


def open_engine(stage: Caption, context: Context) -> Work:
    from stages.captioning.asking import Endpoint

    key = os.environ.get(stage.api_key_variable, "").strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        # Without what it holds: this line is shown and kept.
        raise ValueError(f"the environment variable {stage.api_key_variable} holds signs that no key has")
    return lambda rows: _work(stage, context, rows, Endpoint(stage, key))


def _work(stage: Caption, context: Context, rows: list[Row], endpoint: Endpoint) -> Iterator[tuple[RowId, Outcome]]:
    """Outcomes as they come; what is under way rests while one is being stored."""
    loop = asyncio.new_event_loop()
    tasks: set[asyncio.Task[tuple[RowId, Outcome]]] = set()
    try:
        loop.run_until_complete(endpoint.connect())
        left = iter(rows)
        while True:
            while len(tasks) < stage.in_flight and (row := next(left, None)) is not None:
                tasks.add(loop.create_task(_caption(stage, context, row, endpoint)))
            if not tasks:
                return
            done, tasks = loop.run_until_complete(asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED))
            for task in done:
                yield task.result()
    finally:  # the one who asked may have lost interest, or a task raised
        loop.run_until_complete(_end(tasks, endpoint))
        loop.close()


async def _end(tasks: set[asyncio.Task[tuple[RowId, Outcome]]], endpoint: Endpoint) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await endpoint.close()
    await asyncio.get_running_loop().shutdown_default_executor()


async def _caption(stage: Caption, context: Context, row: Row, endpoint: Endpoint) -> tuple[RowId, Outcome]:
    subject = await asyncio.to_thread(look, stage, row, context.store)
    if isinstance(subject, StageError):
        return row["id"], subject
    try:
        return row["id"], outcome_of(stage, subject, await _answers(stage, subject, endpoint))
    except StageError as error:
        return row["id"], error


async def _answers(stage: Caption, subject: Subject, endpoint: Endpoint) -> dict[str, Answer]:
    questions = subject.questions
    pictures = await asyncio.to_thread(_parts, next(iter(questions.values())).pictures)
    until = asyncio.get_running_loop().time() + stage.deadline_seconds
    return {kind: await endpoint.ask(_body(stage, question, pictures), until) for kind, question in questions.items()}


def _parts(pictures: list[Image.Image]) -> list[dict[str, Any]]:
    parts = []
    for picture in pictures:
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        address = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        parts.append({"type": "image_url", "image_url": {"url": address}})
    return parts


def _body(stage: Caption, question: Question, pictures: list[dict[str, Any]]) -> dict[str, Any]:
    content = [*pictures, {"type": "text", "text": question.text}]
    body: dict[str, Any] = {
        "model": stage.model,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": stage.max_new_tokens,
        "temperature": stage.temperature,
    }
    if stage.temperature:
        body["seed"] = question.seed % 2**31
    if stage.log_probabilities:
        body["logprobs"] = True
    return body
