"""What can be known to go wrong before a training begins: settings, dataset and what the folder holds must agree."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from stages.clip_gs.data.loader import Loader
from stages.clip_gs.data.shards import Dataset
from stages.clip_gs.settings import Training
from stages.clip_gs.training import checkpoint
from stages.clip_gs.training.checkpoint import CheckpointError
from stages.common.models import same_model


class TrainingError(Exception):
    """A training that cannot begin or go on; one line says why. Every rank meets it."""


def check(settings: Training, dataset: Dataset, folder: Path | None, world: int) -> int:
    """How many steps it will take; without a folder, one that begins anew.

    Raises TrainingError, DatasetError or CheckpointError, in one line.
    """
    dataset.require_vectors()
    shape = dataset.shape
    if settings.model.gaussians > shape.gaussians:
        raise TrainingError(
            f"model.gaussians: {settings.model.gaussians}, but objects of {dataset.place} have {shape.gaussians} at "
            f"most: set it to {shape.gaussians} or less"
        )
    if settings.data.views > shape.views:
        raise TrainingError(
            f"data.views: {settings.data.views}, but objects of {dataset.place} have {shape.views}: "
            f"set it to {shape.views} or less"
        )
    if settings.batch % world:
        near = max(world, settings.batch // world * world)
        raise TrainingError(
            f"batch: {settings.batch} objects cannot be shared alike by {world} processes: set it to {near} or "
            f"{near + world}, or change --workers"
        )
    loader = Loader(dataset, settings.data, settings.model.gaussians, settings.batch)  # refuses too large a batch
    if folder and (folder / checkpoint.LAST).exists():
        check_same(checkpoint.read(folder / checkpoint.LAST), settings, dataset, folder)
    return steps_of(settings, loader.steps_per_epoch)


def check_same(state: dict[str, Any], settings: Training, dataset: Dataset, folder: Path) -> None:
    """A checkpoint is gone on from by the same settings on the same dataset alone."""
    other = "name another folder (--name), or remove it to start anew"
    changed = checkpoint.differences(state["settings"], settings)
    if changed:
        raise CheckpointError(f"{folder} was trained with other settings: {', '.join(changed)}; {other}")
    if not same_model(state["teacher"], str(dataset.teacher)):
        raise CheckpointError(f"{folder} learnt from {state['teacher']}, not {dataset.teacher}: {other}")
    if state["dataset"] != dataset.identity:
        raise CheckpointError(f"{folder} learnt from another dataset than {dataset.place} is now: {other}")


def steps_of(settings: Training, steps_per_epoch: int) -> int:
    if settings.steps is not None:
        return settings.steps
    return math.ceil(settings.epochs * steps_per_epoch)


def categories_of(dataset: Dataset, settings: Training) -> list[str]:
    """Those trained: of the split, less those that `data.without` names as a whole."""
    barred = {rule["category"] for rule in settings.data.without if set(rule) == {"category"}}
    counted = dataset.index["categories"].get(settings.data.split, {})
    return sorted(name for name in counted if name and name not in barred)
