"""Start a training from the weights of another checkpoint (`start_from`)."""

from __future__ import annotations

from pathlib import Path

from stages.clip_gs.network.model import ClipGs
from stages.clip_gs.network.uni3d import Report, copy_fitting, load_uni3d
from stages.clip_gs.training.checkpoint import is_ours, load_model
from stages.common.models import same_model
from stages.common.training.checkpoint import CheckpointError, read_checkpoint

_STATISTICS = "tokenizer.norm."  # of the numbers of the earlier dataset; those of this one may differ


def load_start_weights(model: ClipGs, start_from: str, teacher: str) -> tuple[Report, list[str]]:
    """Copy the tensors that fit from a checkpoint of Uni3D or of this program.

    Return a report on every tensor, and the categories that a checkpoint of this program was trained on. Such a one
    must have the same teacher.
    """
    path = Path(start_from).expanduser()
    try:
        if path.is_file() and not is_ours(read_checkpoint(path, mmap=True)):
            return load_uni3d(model, path), []
        other, description = load_model(path)
    except CheckpointError as error:
        raise CheckpointError(f"start_from: {error}") from error
    size = description["settings"]["model"]["size"]
    if size != model.settings.size:
        raise CheckpointError(f"start_from: {path} has size {size}, but model.size is {model.settings.size}")
    if not same_model(description["teacher"], teacher):
        raise CheckpointError(
            f"start_from: {path} was trained with the teacher {description['teacher']}, but the dataset's is {teacher}"
        )
    given = other.state_dict()
    statistics = tuple(name for name in given if name.startswith(_STATISTICS))
    fitting = {name: name for name in given if name not in statistics}
    return copy_fitting(model, given, fitting, path, unused=statistics), description["categories"]
