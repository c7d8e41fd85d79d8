"""Make the questions about one object from its best views, and its outcome from the answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from manifests.store import Store
from stages.artifacts.vectors import from_bytes
from stages.artifacts.views import Views, open_png
from stages.captioning.choosing import choose
from stages.captioning.cleaning import Unusable, tidy
from stages.captioning.prompts import hint_of, prompt_hash
from stages.captioning.settings import CaptionSettings
from stages.captioning.texts import caption
from stages.contract.stage import Done, Outcome, Row, StageError, read_input, seed_of


@dataclass(frozen=True)
class Question:
    pictures: list[Image.Image]  # RGB on white
    text: str
    seed: int


@dataclass(frozen=True)
class Subject:
    row_id: str
    shown: list[int]  # indices of the views in the pictures, best first
    questions: dict[str, Question]  # by kind of text


@dataclass(frozen=True)
class Answer:
    """What a model answered."""

    text: str
    confidence: float | None  # geometric mean of the probabilities of its tokens; None if an endpoint gives none
    cut: bool  # whether it was stopped before its end


def read_subject(settings: CaptionSettings, row: Row, store: Store) -> Subject | StageError:
    """Read a row's views and choose those to show."""
    try:
        views, covered = read_input(store, row, "views", "render", _views)
        vectors = _vectors(row, store, len(covered)) if settings.typical_views else None
    except StageError as error:
        return error
    if not covered.any():
        return StageError("bad_views", f"{row['views']}: none of its {len(covered)} views shows the object")
    shown = choose(covered, views.camera_to_world, settings.views, vectors)
    pictures = replace(views, colors=[views.colors[index] for index in shown]).pictures()
    for picture in pictures:
        picture.thumbnail((settings.picture_size, settings.picture_size), Image.Resampling.LANCZOS)
    hint = hint_of(row) if settings.hint else ""
    questions = {
        kind: Question(pictures, f"{prompt}\n{hint}".strip(), seed_of(row) + number)
        for number, (kind, prompt) in enumerate(settings.prompts.asked().items())
    }
    return Subject(row["id"], shown, questions)


def _views(data: bytes) -> tuple[Views, np.ndarray]:
    """Views, and for each the number of pixels that show the object (opacity of at least one half)."""
    views = Views.from_bytes(data)
    alphas = (np.asarray(open_png(png).convert("RGBA").getchannel("A")) for png in views.colors)
    return views, np.array([np.count_nonzero(alpha > 127) for alpha in alphas])


def _vectors(row: Row, store: Store, count: int) -> np.ndarray | None:
    """The teacher's vectors of the views; None if it has not run."""
    name = row.get("view_vectors")
    if not name:
        return None
    vectors = read_input(store, row, "view_vectors", "embed", from_bytes)
    if len(vectors) != count:
        raise StageError("bad_vectors", f"{name} has vectors of {len(vectors)} views; expected {count}")
    return vectors


def outcome_of(settings: CaptionSettings, subject: Subject, answers: dict[str, Answer]) -> Outcome:
    """The usable captions, with a warning for each kind that is not usable; a failure if none is."""
    captions: list[dict[str, Any]] = []
    origins: list[dict[str, Any]] = []
    faults: list[str] = []
    for kind, answer in answers.items():
        try:
            text = tidy(answer.text, kind, settings.max_characters, answer.cut)
        except Unusable as fault:
            faults.append(f"no caption of kind {kind}: {fault}")
            continue
        confidence = None if answer.confidence is None else round(answer.confidence, 6)
        prompt = prompt_hash(settings.prompts.asked()[kind], settings.hint)
        captions.append(caption(text, kind, settings.model_name))
        origins.append({"revision": settings.revision, "prompt": prompt, "confidence": confidence})
    if not captions:
        return StageError("no_caption", f"{settings.model_name} gave no usable text: {'; '.join(faults)}")
    columns = {"captions": captions, "caption_views": subject.shown, "caption_origins": origins}
    return Done(columns={**columns, "warnings": faults} if faults else columns)
