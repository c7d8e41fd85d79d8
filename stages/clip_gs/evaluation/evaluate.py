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
from stages.clip_gs.evaluation.questions import Questions, ask, by_chance, figures
from stages.clip_gs.evaluation.subjects import COLUMNS, Subjects, gather
from stages.clip_gs.evaluation.templates import LOOKS, OBJECTS
from stages.clip_gs.network.model import ClipGs
from stages.clip_gs.ranks import Ranks
from stages.clip_gs.training.checkpoint import identity, load_model
from stages.clip_gs.training.validation import split_of
from stages.clip_gs.vectors import Encoded, concatenated, encode_split
from stages.common.models import Checkpoint, same_model
from stages.contract.stage import StageError
from stages.embedding.batches import Batches

logger = logging.getLogger(__name__)

VERSION = 1  # of the result's form
_TEXTS_AT_ONCE = 256


class EvaluationError(Exception):
    """An evaluation is not possible. The message is one line that says why."""


@dataclass(frozen=True)
class Asked:
    dataset: Dataset
    splits: Sequence[str]
    checkpoints: dict[str, str]  # name: place; of the first, the categories that were trained are told from the others
    teacher: Checkpoint
    classes: Sequence[str] | None = None  # None: the categories of the splits
    templates: Sequence[str] = OBJECTS
    seed: int = 0


@dataclass(frozen=True)
class Row:
    """A checkpoint, opened."""

    name: str
    place: str
    model: ClipGs
    told: dict[str, Any]


def evaluate(asked: Asked, ranks: Ranks, shown: Callable[[str], Any]) -> dict[str, Any] | None:
    """The result, which is JSON; None on all processes but the first. `shown(title)` opens a progress."""
    began = time.monotonic()
    dataset = asked.dataset
    rows = [open_row(name, place, dataset) for name, place in asked.checkpoints.items()]
    classes = _classes(asked)
    trained = set(rows[0].told["categories"])
    for row in rows[1:]:
        if set(row.told["categories"]) != trained and ranks.first:
            logger.warning(
                "%s and %s were trained on different categories; the table groups by those of the latter",
                row.name,
                rows[0].name,
            )
    read = _reader(asked.teacher, ranks, shown) if ranks.first else None  # before the long work: it may fail
    encoded = []
    for row in rows:
        parts = []
        for split in asked.splits:
            with shown(f"Vectors of {split} by {row.name}") as progress:
                parts.append(encode_split(row.model, row.told, dataset, split, ranks, progress))
        encoded.append(concatenated(parts))
    if read is None:
        return None
    subjects = gather(_tables(asked), dataset.dimension)
    shown_ids = {subjects.ids[number] for number in subjects.seen.unique().tolist()}
    subjects = subjects.only(shown_ids.intersection(*(found.ids for found in encoded)))
    if not subjects.ids:
        raise EvaluationError(
            f"{dataset.place}: no row of {_listed(asked)} has both Gaussians and vectors that can be used"
        )
    questions = ask(subjects, classes, trained, asked.templates, read, asked.seed)
    table = _table(rows, encoded, questions, asked, shown, ranks.device)
    return {
        "version": VERSION,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - began, 2),
        "processes": ranks.world,
        "device": ranks.device.type,
        "dataset": _of_dataset(asked, subjects),
        "settings": _of_settings(asked, classes, trained),
        "rows": table,
    }


def open_row(name: str, place: str, dataset: Dataset) -> Row:
    """Open a checkpoint; its teacher must be the one of the dataset's vectors."""
    model, told = load_model(place)
    if not same_model(told["teacher"], str(dataset.teacher)):
        raise EvaluationError(
            f"{place}: learnt from vectors of {told['teacher']}, and {dataset.place} has those of {dataset.teacher}; "
            "take a dataset and a checkpoint of one teacher"
        )
    if told["dimension"] != dataset.dimension:
        raise EvaluationError(
            f"{place}: gives vectors of {told['dimension']} numbers, those of {dataset.place} have {dataset.dimension}"
        )
    return Row(name, place, model, told)


def _classes(asked: Asked) -> list[str]:
    counted = asked.dataset.index["categories"]
    there = sorted({name for split in asked.splits for name in counted.get(split, {}) if name})
    if asked.classes is None:
        return there
    missing = sorted(set(there) - set(asked.classes))
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise EvaluationError(
            f"--classes: {len(missing)} categories of {_listed(asked)} are not in the list: "
            f"{', '.join(missing[:5])}{more}; expected every category that objects have (others may be there too)"
        )
    return list(asked.classes)


def _tables(asked: Asked) -> Iterator[pa.Table]:
    for split in asked.splits:
        for table in asked.dataset.rows(split, ("teacher", *COLUMNS)):
            teachers = set(table["teacher"].drop_null().to_pylist())
            others = [teacher for teacher in teachers if not same_model(teacher, str(asked.dataset.teacher))]
            if others:
                raise EvaluationError(
                    f"{asked.dataset.place}: split {split} has vectors of {others[0]} beside those of "
                    f"{asked.dataset.teacher}; build it again with one --embed.model"
                )
            yield table


def _listed(asked: Asked) -> str:
    return f"split {', '.join(asked.splits)}"


def _reader(found: Checkpoint, ranks: Ranks, shown: Callable[[str], Any]) -> zero_shot.Read:
    from transformers.utils.logging import disable_progress_bar

    from stages.embedding.teacher import Teacher  # which takes seconds, and one process alone needs it

    disable_progress_bar()  # of transformers, for some tenths of a second
    teacher = Teacher(found.model, found.revision, str(ranks.device), torch.get_num_threads())
    batches = Batches(teacher.embed_texts, _TEXTS_AT_ONCE, pooled=True)

    def read(texts: Sequence[str]) -> np.ndarray:
        parts = []
        with shown("Texts read by the teacher") as progress:
            for start in range(0, len(texts), _TEXTS_AT_ONCE):
                ((_, vectors),) = batches.run([("", texts[start : start + _TEXTS_AT_ONCE])])
                if isinstance(vectors, StageError):
                    raise EvaluationError(f"{found.model}: {vectors.reason}: {vectors.detail}")
                parts.append(vectors)
                progress(min(start + _TEXTS_AT_ONCE, len(texts)), len(texts))
        return np.concatenate(parts)

    return read


def _table(
    rows: Sequence[Row],
    encoded: Sequence[Encoded],
    questions: Questions,
    asked: Asked,
    shown: Callable[[str], Any],
    device: torch.device,
) -> list[dict[str, Any]]:
    subjects, table = questions.subjects, []
    with shown("Figures") as progress:
        for row, whole in zip(rows, encoded, strict=True):
            place = {row_id: number for number, row_id in enumerate(whole.ids)}
            vectors = whole.vectors[[place[row_id] for row_id in subjects.ids]].to(device)
            table.append({**_of_checkpoint(row, asked.dataset), **figures(vectors, questions)})
            progress(len(table), len(rows) + 1)
        own = baselines.without_oneself(subjects)
        found = figures(baselines.teacher_vectors(subjects).to(device), questions, own)
        if own is None:
            found["retrieval"] |= {"image_to_3d": None, "3d_to_image": None}
        table.append({"name": "teacher", "kind": "teacher", "identity": asked.teacher.identity, **found})
        progress(len(table), len(rows) + 1)
    table.append({"name": "chance", "kind": "chance", **by_chance(table[0], subjects)})
    return table


def _of_checkpoint(row: Row, dataset: Dataset) -> dict[str, Any]:
    settings = row.told["settings"]
    return {
        "name": row.name,
        "kind": "checkpoint",
        "identity": identity(row.model, row.name),
        "place": row.place,
        "step": row.told["step"],
        "chosen_by": _chosen_by(row.told, dataset),
        "trained_on": row.told["dataset"],
        "trained_split": settings["data"]["split"],
        "trained_categories": sorted(row.told["categories"]),
        "parameters": sum(parameter.numel() for parameter in row.model.parameters()),
        "model": settings["model"],
    }


def _chosen_by(told: dict[str, Any], dataset: Dataset) -> str | None:
    """The split by whose figures this step was the best of its training, where that can be known."""
    best = told["best"]
    if told["dataset"] != dataset.identity or not best or best["step"] != told["step"]:
        return None
    return split_of(dataset, told["settings"]["data"]["split"])


def _of_dataset(asked: Asked, subjects: Subjects) -> dict[str, Any]:
    dataset = asked.dataset
    rows = sum(dataset.splits[split] for split in asked.splits)
    return {
        "place": dataset.place,
        "identity": dataset.identity,
        "splits": list(asked.splits),
        "rows": rows,
        "objects": len(subjects.ids),
        "left_out": rows - len(subjects.ids),
        "with_category": sum(1 for category in subjects.categories if category),
        "captions": len(subjects.told),
        "texts": len(subjects.texts),
        "views": len(subjects.views),
        "gaussians": dataset.shape.gaussians,
        "teacher": dataset.teacher,
        "dimension": dataset.dimension,
    }


def _of_settings(asked: Asked, classes: Sequence[str], trained: set[str]) -> dict[str, Any]:
    return {
        "classes": list(classes),
        "trained": [name for name in classes if name in trained],
        "templates": list(asked.templates),
        "templates_of_attributes": list(LOOKS),
        "seed": asked.seed,
        "bootstrap_repeats": intervals.REPEATS,
        "interval": 0.95,
        "few_shot_seeds": few_shot.SEEDS,
    }
