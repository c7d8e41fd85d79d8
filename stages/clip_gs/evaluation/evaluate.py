"""Evaluate checkpoints, the teacher and chance on the same objects of a dataset."""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from stages.clip_gs.data.shards import Dataset
from stages.clip_gs.evaluation import baselines, few_shot, intervals, zero_shot
from stages.clip_gs.evaluation.questions import Questions, by_chance, figures, prepare
from stages.clip_gs.evaluation.subjects import COLUMNS, Subjects, gather
from stages.clip_gs.evaluation.templates import LOOKS, OBJECTS
from stages.clip_gs.network.model import ClipGs
from stages.clip_gs.ranks import Ranks
from stages.clip_gs.training.checkpoint import identity, load_model
from stages.clip_gs.training.validation import split_of
from stages.clip_gs.vectors import Encoded, concatenated, encode_split
from stages.common.models import Checkpoint, same_model
from stages.common.telling import tell_if_slow
from stages.contract.stage import StageError
from stages.embedding.batches import Batches

logger = logging.getLogger(__name__)

VERSION = 1  # of the result's format
_TEXTS_AT_ONCE = 256


class EvaluationError(Exception):
    """An evaluation is not possible. The message is one line that says why."""


@dataclass(frozen=True)
class Request:
    """What to evaluate, and on what."""

    dataset: Dataset
    splits: Sequence[str]
    checkpoints: dict[str, str]  # path by name; the first says which categories count as trained
    teacher: Checkpoint
    classes: Sequence[str] | None = None  # None: the categories of the splits
    templates: Sequence[str] = OBJECTS
    seed: int = 0


@dataclass(frozen=True)
class Row:
    """An opened checkpoint."""

    name: str
    path: str
    model: ClipGs
    description: dict[str, Any]


def evaluate(request: Request, ranks: Ranks, open_progress: Callable[[str], Any]) -> dict[str, Any] | None:
    """Return the result, to be written as JSON; None in all processes but the first.

    `open_progress(title)` returns a context manager, which gives a function to report progress with.
    """
    began = time.monotonic()
    dataset = request.dataset
    with tell_if_slow("Loading the checkpoints"):
        rows = [open_row(name, path, dataset) for name, path in request.checkpoints.items()]
    classes = _classes(request)
    trained = set(rows[0].description["categories"])
    for row in rows[1:]:
        if set(row.description["categories"]) != trained and ranks.first:
            logger.warning(
                "%s and %s were trained on different categories; the table uses the categories of %s",
                row.name,
                rows[0].name,
                rows[0].name,
            )
    encode = _text_encoder(request.teacher, ranks, open_progress) if ranks.first else None  # first, because it may fail
    encoded = []
    for row in rows:
        parts = []
        for split in request.splits:
            with open_progress(f"Vectors of {split} by {row.name}") as progress:
                parts.append(encode_split(row.model, row.description, dataset, split, ranks, progress))
        encoded.append(concatenated(parts))
    if encode is None:
        return None
    subjects = gather(_tables(request), dataset.dimension)
    with_views = {subjects.ids[number] for number in subjects.view_objects.unique().tolist()}
    subjects = subjects.only(with_views.intersection(*(found.ids for found in encoded)))
    if not subjects.ids:
        raise EvaluationError(
            f"{dataset.place}: no row of {_listed(request)} has both usable Gaussians and usable vectors"
        )
    questions = prepare(subjects, classes, trained, request.templates, encode, request.seed)
    table = _table(rows, encoded, questions, request, open_progress, ranks.device)
    return {
        "version": VERSION,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - began, 2),
        "processes": ranks.world,
        "device": ranks.device.type,
        "dataset": _of_dataset(request, subjects),
        "settings": _of_settings(request, classes, trained),
        "rows": table,
    }


def open_row(name: str, path: str, dataset: Dataset) -> Row:
    """Open a checkpoint; its teacher must be that of the dataset."""
    model, description = load_model(path)
    if not same_model(description["teacher"], str(dataset.teacher)):
        raise EvaluationError(
            f"{path}: was trained with the teacher {description['teacher']}, but {dataset.place} has vectors of "
            f"{dataset.teacher}; pass a checkpoint and a dataset of the same teacher"
        )
    if description["dimension"] != dataset.dimension:
        raise EvaluationError(
            f"{path}: its vectors have {description['dimension']} numbers, those of {dataset.place} {dataset.dimension}"
        )
    return Row(name, path, model, description)


def _classes(request: Request) -> list[str]:
    counted = request.dataset.index["categories"]
    present = sorted({name for split in request.splits for name in counted.get(split, {}) if name})
    if request.classes is None:
        return present
    missing = sorted(set(present) - set(request.classes))
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise EvaluationError(
            f"--classes: {len(missing)} categories of {_listed(request)} are not in the list: "
            f"{', '.join(missing[:5])}{more}; list every category that the objects have (further ones are allowed)"
        )
    return list(request.classes)


def _tables(request: Request) -> Iterator[pa.Table]:
    for split in request.splits:
        for table in request.dataset.rows(split, ("teacher", *COLUMNS)):
            teachers = set(table["teacher"].drop_null().to_pylist())
            others = [teacher for teacher in teachers if not same_model(teacher, str(request.dataset.teacher))]
            if others:
                raise EvaluationError(
                    f"{request.dataset.place}: split {split} has vectors of {others[0]} beside those of "
                    f"{request.dataset.teacher}; build it again with one --embed.model"
                )
            yield table


def _listed(request: Request) -> str:
    return f"split {', '.join(request.splits)}"


def _text_encoder(checkpoint: Checkpoint, ranks: Ranks, open_progress: Callable[[str], Any]) -> zero_shot.Encode:
    from transformers.utils.logging import disable_progress_bar

    from stages.embedding.teacher import Teacher  # slow to import, and only the first process needs it

    disable_progress_bar()  # of transformers: loading takes less than a second
    teacher = Teacher(checkpoint.model, checkpoint.revision, str(ranks.device), torch.get_num_threads())
    batches = Batches(teacher.embed_texts, _TEXTS_AT_ONCE, pooled=True)

    def encode(texts: Sequence[str]) -> np.ndarray:
        parts = []
        with open_progress("Texts by the teacher") as progress:
            for start in range(0, len(texts), _TEXTS_AT_ONCE):
                ((_, vectors),) = batches.run([("", texts[start : start + _TEXTS_AT_ONCE])])
                if isinstance(vectors, StageError):
                    raise EvaluationError(f"{checkpoint.model}: {vectors.reason}: {vectors.detail}")
                parts.append(vectors)
                progress(min(start + _TEXTS_AT_ONCE, len(texts)), len(texts))
        return np.concatenate(parts)

    return encode


def _table(
    rows: Sequence[Row],
    encoded: Sequence[Encoded],
    questions: Questions,
    request: Request,
    open_progress: Callable[[str], Any],
    device: torch.device,
) -> list[dict[str, Any]]:
    subjects, table = questions.subjects, []
    with open_progress("Figures") as progress:
        for row, whole in zip(rows, encoded, strict=True):
            numbers = {row_id: number for number, row_id in enumerate(whole.ids)}
            vectors = whole.vectors[[numbers[row_id] for row_id in subjects.ids]].to(device)
            table.append({**_of_checkpoint(row, request.dataset), **figures(vectors, questions)})
            progress(len(table), len(rows) + 1)
        own = baselines.leave_one_out_scores(subjects)
        found = figures(baselines.teacher_vectors(subjects).to(device), questions, own)
        if own is None:
            found["retrieval"] |= {"image_to_3d": None, "3d_to_image": None}
        table.append({"name": "teacher", "kind": "teacher", "identity": request.teacher.identity, **found})
        progress(len(table), len(rows) + 1)
    table.append({"name": "chance", "kind": "chance", **by_chance(table[0], subjects)})
    return table


def _of_checkpoint(row: Row, dataset: Dataset) -> dict[str, Any]:
    settings = row.description["settings"]
    return {
        "name": row.name,
        "kind": "checkpoint",
        "identity": identity(row.model, row.name),
        "place": row.path,
        "step": row.description["step"],
        "chosen_by": _chosen_by(row.description, dataset),
        "trained_on": row.description["dataset"],
        "trained_split": settings["data"]["split"],
        "trained_categories": sorted(row.description["categories"]),
        "parameters": sum(parameter.numel() for parameter in row.model.parameters()),
        "model": settings["model"],
    }


def _chosen_by(description: dict[str, Any], dataset: Dataset) -> str | None:
    """The split on which this step was the best of its training; None if it was not, or if that cannot be known."""
    best = description["best"]
    if description["dataset"] != dataset.identity or not best or best["step"] != description["step"]:
        return None
    return split_of(dataset, description["settings"]["data"]["split"])


def _of_dataset(request: Request, subjects: Subjects) -> dict[str, Any]:
    dataset = request.dataset
    rows = sum(dataset.splits[split] for split in request.splits)
    return {
        "place": dataset.place,
        "identity": dataset.identity,
        "splits": list(request.splits),
        "rows": rows,
        "objects": len(subjects.ids),
        "left_out": rows - len(subjects.ids),
        "with_category": sum(1 for category in subjects.categories if category),
        "captions": len(subjects.caption_objects),
        "texts": len(subjects.texts),
        "views": len(subjects.views),
        "gaussians": dataset.shape.gaussians,
        "teacher": dataset.teacher,
        "dimension": dataset.dimension,
    }


def _of_settings(request: Request, classes: Sequence[str], trained: set[str]) -> dict[str, Any]:
    return {
        "classes": list(classes),
        "trained": [name for name in classes if name in trained],
        "templates": list(request.templates),
        "templates_of_attributes": list(LOOKS),
        "seed": request.seed,
        "bootstrap_repeats": intervals.REPEATS,
        "interval": 0.95,
        "few_shot_seeds": few_shot.SEEDS,
    }
