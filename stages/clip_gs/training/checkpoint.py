"""A training's checkpoints: written whole or not at all, read back with checks.

A checkpoint is one file: what the model is (`settings`, `dimension`), what it learnt from (`dataset`, `teacher`,
`categories`), how far it is (`step` of `steps`, `best`), and its weights; `last.pt` holds the optimisers' state too.
For shipping there is a compact form: a folder with weights in half precision and the rest as JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from stages.clip_gs.network.model import ClipGs
from stages.clip_gs.network.uni3d import Report, Uni3dError, load_uni3d
from stages.clip_gs.settings import Model, Training
from stages.clip_gs.training.tensor_file import TensorFileError, read_tensors
from stages.common.models import embedded, same_model

LAST, BEST = "last.pt", "best.pt"
WEIGHTS, CONFIG = "model.safetensors", "config.json"
_FORMAT = "gs-triplets clip_gs 1"
_MEANS = "tokenizer.norm."  # what numbers were like in the data of before: those of now may be otherwise
_FREE = ("save_seconds", "data.readers")  # settings that change nothing of what is learnt
_TOLD = ("settings", "dimension", "teacher", "dataset", "objects", "categories", "step", "steps", "seconds", "best")


class CheckpointError(Exception):
    """A checkpoint that cannot be used; one line says which, why, and what would be right."""


def save(path: Path, state: dict[str, Any]) -> None:
    """Aside first, then in place in one step: a reader never meets half a file, a power cut leaves the old one."""
    aside = path.with_suffix(".part")
    try:
        with aside.open("wb") as file:
            torch.save({"format": _FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except (OSError, RuntimeError) as error:  # torch's own where a disk is full
        aside.unlink(missing_ok=True)
        raise CheckpointError(f"{path}: could not be written: {' '.join(str(error).split())[:200]}") from error


def read(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """What `save` was given."""
    try:
        state = read_tensors(path, device)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint; `train` makes {LAST} and {BEST}") from None
    except TensorFileError as error:
        raise CheckpointError(f"{path}: no checkpoint: {error}") from error
    if not is_ours(state):
        raise CheckpointError(f"{path}: not a checkpoint that `train` wrote; a Uni3D one can only be `start_from`")
    return state


def is_ours(state: Any) -> bool:
    return isinstance(state, dict) and state.get("format") == _FORMAT


def load_model(path: str | Path) -> tuple[ClipGs, dict[str, Any]]:
    """The model in eval mode, with the running mean of its weights where one was kept, and what is told of it.

    The path is a checkpoint, a training's folder (its best, else its last), or a folder of the compact form.
    """
    path = embedded(path)
    if path.is_dir():
        if (path / CONFIG).is_file():
            return _load_compact(path)
        found = [path / name for name in (BEST, LAST) if (path / name).is_file()]
        if not found:
            raise CheckpointError(f"{path}: a folder without {BEST}, {LAST} or {WEIGHTS}; name one that `train` made")
        path = found[0]
    state = read(path)
    return _built(state, state.get("average") or state.get("weights") or {}, path), told_of(state, path)


def told_of(state: dict[str, Any], path: Path) -> dict[str, Any]:
    if missing := [name for name in _TOLD if name not in state]:
        raise CheckpointError(f"{path}: is of another version, and does not tell of {', '.join(missing)}")
    return {name: state[name] for name in _TOLD}


def save_compact(model: ClipGs, told: dict[str, Any], folder: Path) -> None:
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(compact(model), folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps({"format": _FORMAT, **told}, indent=1, ensure_ascii=False) + "\n")


def is_compact(folder: Path) -> bool:
    """Whether the folder holds a checkpoint of ours in the compact form."""
    try:
        return is_ours(json.loads((folder / CONFIG).read_text()))
    except (OSError, ValueError):
        return False


def compact(model: ClipGs) -> dict[str, torch.Tensor]:
    """Weights in half precision; vectors, such as biases and the statistics of norms, as they are."""
    return {name: _halved(tensor.detach().cpu()) for name, tensor in model.state_dict().items()}


def identity(model: ClipGs, name: str) -> str:
    """NAME@HASH, the hash the same for the same weights wherever they lie, in the compact form too."""
    digest = hashlib.blake2b(digest_size=8)
    for key, tensor in sorted(compact(model).items()):
        digest.update(f"{key}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.numpy().tobytes())
    return f"{name}@{digest.hexdigest()}"


def _halved(tensor: torch.Tensor) -> torch.Tensor:
    small = tensor.half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor
    return small.contiguous()


def _load_compact(folder: Path) -> tuple[ClipGs, dict[str, Any]]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        told = json.loads((folder / CONFIG).read_text())
        weights = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: {CONFIG} or {WEIGHTS} cannot be read: {error}") from error
    if not is_ours(told):
        raise CheckpointError(f"{folder}/{CONFIG}: of another model; expected the format {_FORMAT!r}")
    return _built(told, weights, folder), told_of(told, folder / CONFIG)


def _built(told: dict[str, Any], weights: dict[str, torch.Tensor], path: Path) -> ClipGs:
    try:
        model = ClipGs(Model.model_validate(told["settings"]["model"]), told["dimension"])
        model.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:  # pydantic's is a ValueError
        raise CheckpointError(f"{path}: is of another version: {' '.join(str(error).split())[:300]}") from error
    return model.eval()


def take_weights(model: ClipGs, place: str, teacher: str) -> tuple[str, list[str]]:
    """What fits of another checkpoint, Uni3D's or ours, to begin with.

    What became of every tensor, in lines, and the categories that a checkpoint of ours has learnt already. One of ours
    must have learnt from the same teacher.
    """
    path = Path(place).expanduser()
    if path.is_file() and not _says_ours(path):
        try:
            return str(load_uni3d(model, path)), []
        except Uni3dError as error:
            raise CheckpointError(f"start_from: {error}") from error
    other, told = load_model(path)
    size = told["settings"]["model"]["size"]
    if size != model.settings.size:
        raise CheckpointError(f"start_from: {path} is of size {size}; model.size is {model.settings.size}")
    if not same_model(told["teacher"], teacher):
        raise CheckpointError(
            f"start_from: {path} learnt from vectors of {told['teacher']}, and the dataset has those of {teacher}"
        )
    given, ours = other.state_dict(), model.state_dict()
    means = [name for name in given if name.startswith(_MEANS)]
    given = {name: tensor for name, tensor in given.items() if name not in means}
    wrong = [name for name in ours if name in given and given[name].shape != ours[name].shape]
    fitting = [name for name in ours if name in given and name not in wrong]
    for name in fitting:
        ours[name].copy_(given[name])
    report = Report(
        path=path,
        loaded=tuple(fitting),
        missing=tuple(name for name in ours if name not in given),
        wrong_shape=tuple(f"{name} {list(given[name].shape)} there, {list(ours[name].shape)} here" for name in wrong),
        unexpected=tuple(name for name in given if name not in ours),
        unused=tuple(means),
    )
    return str(report), told["categories"]


def _says_ours(path: Path) -> bool:
    try:
        return is_ours(read_tensors(path, mmap=True))
    except TensorFileError:
        return False


def differences(before: dict[str, Any], settings: Training) -> list[str]:
    """Fields of the settings that change what is learnt and are not as they were: `batch (was 64)`.

    What there was no field for then was as it is by default.
    """
    with suppress(ValidationError):  # of another version: the fields themselves differ
        before = Training.model_validate(before).model_dump(mode="json")
    return [
        f"{name} (was {was!r})"
        for name, was, now in _compared(before, settings.model_dump(mode="json"))
        if was != now and name not in _FREE
    ]


def _compared(before: dict[str, Any], now: dict[str, Any], within: str = "") -> list[tuple[str, Any, Any]]:
    """Every field by its path, as it was and as it is."""
    fields = []
    for name in sorted(before.keys() | now.keys()):
        was, is_now, path = before.get(name), now.get(name), f"{within}{name}"
        if isinstance(was, dict) and isinstance(is_now, dict):
            fields += _compared(was, is_now, f"{path}.")
        else:
            fields.append((path, was, is_now))
    return fields
