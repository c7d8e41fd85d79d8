"""One object as the engines that look show it: its best views as pictures, and the source's own words."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from manifests.store import Store
from stages.artifacts.vectors import from_bytes
from stages.artifacts.views import Views
from stages.captioning.choosing import choose
from stages.captioning.cleaning import Unusable, tidy
from stages.captioning.prompts import hint_of, prompt_hash
from stages.captioning.texts import caption
from stages.contract.stage import DamagedInput, Done, Outcome, Row, StageError, read_input, seed_of

if TYPE_CHECKING:
    from stages.caption import Caption


@dataclass(frozen=True)
class Question:
    pictures: list[Image.Image]  # RGB on white
    text: str
    seed: int


@dataclass(frozen=True)
class Subject:
    row_id: str
    shown: list[int]  # views, best first
    questions: dict[str, Question]  # by the kind of text that is wanted


@dataclass(frozen=True)
class Answer:
    """What a model said."""

    text: str
    confidence: float | None  # mean probability of its tokens (geometric); None where an endpoint does not tell
    cut: bool  # it was stopped, not through


def look(stage: Caption, row: Row, store: Store) -> Subject | StageError:
    """Read what there is to see of a row."""
    try:
        views = Views.from_bytes(read_input(store, row["views"], "render"))
        covered = np.array([_covered(png) for png in views.colors])
        vectors = _vectors(row, store, len(covered)) if stage.typical_views else None
    except StageError as error:
        return error
    except (zipfile.BadZipFile, KeyError, OSError, ValueError) as error:
        return DamagedInput("render", error)
    if not covered.any():
        return StageError("bad_views", f"{row['views']}: none of its {len(covered)} views shows anything")
    shown = choose(covered, views.camera_to_world, stage.views, vectors)
    pictures = replace(views, colors=[views.colors[index] for index in shown]).pictures()
    for picture in pictures:
        picture.thumbnail((stage.picture_size, stage.picture_size), Image.Resampling.LANCZOS)
    hint = hint_of(row) if stage.hint else ""
    questions = {
        kind: Question(pictures, f"{prompt}\n{hint}".strip(), seed_of(row) + number)
        for number, (kind, prompt) in enumerate(stage.prompts.asked().items())
    }
    return Subject(row["id"], shown, questions)


def _covered(png: bytes) -> int:
    """Pixels that show the object, at least by half."""
    return int(np.count_nonzero(np.asarray(Image.open(io.BytesIO(png)).convert("RGBA").getchannel("A")) > 127))


def _vectors(row: Row, store: Store, count: int) -> np.ndarray | None:
    """The teacher's vectors of the views, where it has run."""
    name = row.get("view_vectors")
    if not name:
        return None
    try:
        vectors = from_bytes(read_input(store, name, "embed"))
    except ValueError as error:
        raise DamagedInput("embed", error) from error
    if len(vectors) != count:
        raise StageError("bad_vectors", f"{name} has vectors of {len(vectors)} views, and there are {count}")
    return vectors


def outcome_of(stage: Caption, subject: Subject, answers: dict[str, Answer]) -> Outcome:
    """The captions that were usable; a kind that was not is a warning, and none at all a failure."""
    captions: list[dict[str, Any]] = []
    origins: list[dict[str, Any]] = []
    faults: list[str] = []
    for kind, answer in answers.items():
        try:
            text = tidy(answer.text, kind, stage.max_characters, answer.cut)
        except Unusable as fault:
            faults.append(f"no caption of kind {kind}: {fault}")
            continue
        confidence = None if answer.confidence is None else round(answer.confidence, 6)
        prompt = prompt_hash(stage.prompts.asked()[kind], stage.hint)
        captions.append(caption(text, kind, stage.model_name))
        origins.append({"revision": stage.revision, "prompt": prompt, "confidence": confidence})
    if not captions:
        return StageError("no_caption", f"{stage.model_name} gave nothing usable; {'; '.join(faults)}")
    columns = {"captions": captions, "caption_views": subject.shown, "caption_origins": origins}
    return Done(columns={**columns, "warnings": faults} if faults else columns)
