"""Check before a training starts that its settings, its dataset and the files in its folder agree."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stages.clip_gs.data.loader import Loader
from stages.clip_gs.data.shards import Dataset
from stages.clip_gs.settings import Training
from stages.clip_gs.training import checkpoint
from stages.common.models import same_model
from stages.common.training.checkpoint import CheckpointError

_FREE = ("save_seconds", "data.readers")  # settings that do not affect what is learnt


class TrainingError(Exception):
    """A training cannot start or continue. The message is one line; every process raises it."""


def check(settings: Training, dataset: Dataset, folder: Path | None, world: int) -> int:
    """Return the number of steps; with folder None, those of a training that starts at step 1.

    Raise TrainingError, DatasetError or CheckpointError if the training cannot run.
    """
    dataset.require_vectors()
    shape = dataset.shape
    if settings.model.gaussians > shape.gaussians:
        raise TrainingError(
            f"model.gaussians: {settings.model.gaussians}, but objects in {dataset.place} have at most "
            f"{shape.gaussians}: set it to {shape.gaussians} or less"
        )
    if settings.data.views > shape.views:
        raise TrainingError(
            f"data.views: {settings.data.views}, but objects in {dataset.place} have {shape.views}: "
            f"set it to {shape.views} or less"
        )
    if settings.batch % world:
        near = max(world, settings.batch // world * world)
        raise TrainingError(
            f"batch: {settings.batch} objects cannot be divided equally among {world} processes: set it to {near} or "
            f"{near + world}, or change --workers"
        )
    loader = Loader(dataset, settings.data, settings.model.gaussians, settings.batch)  # refuses too large a batch
    if folder and (folder / checkpoint.LAST).exists():
        check_same(checkpoint.read(folder / checkpoint.LAST), settings, dataset, folder)
    return steps_of(settings, loader.steps_per_epoch)


def check_same(state: dict[str, Any], settings: Training, dataset: Dataset, folder: Path) -> None:
    """Raise CheckpointError unless the checkpoint has the same settings and dataset: only then can it be resumed."""
    otherwise = "pass another --name, or --anew to delete it and start at step 1"
    if changed := differences(state["settings"], settings):
        raise CheckpointError(f"{folder} was trained with other settings: {', '.join(changed)}; {otherwise}")
    if not same_model(state["teacher"], str(dataset.teacher)):
        raise CheckpointError(
            f"{folder} was trained with teacher {state['teacher']}, not {dataset.teacher}; {otherwise}"
        )
    if state["dataset"] != dataset.identity:
        raise CheckpointError(f"{folder} was trained on other shards than {dataset.place} has now; {otherwise}")


def differences(before: dict[str, Any], settings: Training) -> list[str]:
    """List the settings that affect what is learnt and have changed: `batch (was 64)`.

    A setting that did not exist then counts as its default.
    """
    with suppress(ValidationError):  # of another version, whose fields differ
        before = Training.model_validate(before).model_dump(mode="json")
    return [
        f"{name} (was {was!r})"
        for name, was, now in _compared(before, settings.model_dump(mode="json"))
        if was != now and name not in _FREE
    ]


def _compared(before: dict[str, Any], now: dict[str, Any], within: str = "") -> list[tuple[str, Any, Any]]:
    """List every field by its path, with both values."""
    fields = []
    for name in sorted(before.keys() | now.keys()):
        was, is_now, path = before.get(name), now.get(name), f"{within}{name}"
        if isinstance(was, dict) and isinstance(is_now, dict):
            fields += _compared(was, is_now, f"{path}.")
        else:
            fields.append((path, was, is_now))
    return fields


def steps_of(settings: Training, steps_per_epoch: int) -> int:
    if settings.steps is not None:
        return settings.steps
    return math.ceil(settings.epochs * steps_per_epoch)


def categories_of(dataset: Dataset, settings: Training) -> list[str]:
    """Return the categories of the split without those that `data.without` excludes as a whole."""
    excluded = {rule["category"] for rule in settings.data.without if set(rule) == {"category"}}
    counted = dataset.index["categories"].get(settings.data.split, {})
    return sorted(name for name in counted if name and name not in excluded)
