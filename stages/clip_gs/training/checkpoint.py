"""Save and load checkpoints of CLIP-GS.

A checkpoint is one file: what the model is (`settings`, `dimension`), what it learnt from (`dataset`, `teacher`,
`categories`), how far it is (`step` of `steps`, `best`), and its weights; `last.pt` also has the optimisers' state.
The compact form, for publication, is a folder with weights in half precision and the rest as JSON.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from manifests.text import message
from stages.clip_gs.network.model import ClipGs
from stages.clip_gs.settings import Model
from stages.common.models import embedded
from stages.common.training.checkpoint import CheckpointError, read_checkpoint, write_checkpoint

LAST, BEST = "last.pt", "best.pt"
WEIGHTS, CONFIG = "model.safetensors", "config.json"
_FORMAT = "gs-triplets clip_gs 1"
_DESCRIPTION = (
    "settings", "dimension", "teacher", "dataset", "objects", "categories", "step", "steps", "seconds", "best",
)  # fmt: skip


def save(path: Path, state: dict[str, Any]) -> None:
    write_checkpoint(path, stamped(state))


def stamped(state: dict[str, Any]) -> dict[str, Any]:
    """Add the name of the format, by which a checkpoint is recognised."""
    return {"format": _FORMAT, **state}


def read(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Return the state that `save` was given."""
    state: dict[str, Any] = read_checkpoint(path, device)
    if not is_ours(state):
        raise CheckpointError(f"{path}: not written by `train`; a Uni3D checkpoint can only be used as start_from")
    return state


def is_ours(state: Any) -> bool:
    return isinstance(state, dict) and state.get("format") == _FORMAT


def load_model(path: str | Path) -> tuple[ClipGs, dict[str, Any]]:
    """Load the model in eval mode, with the running mean of its weights if there is one, and its description.

    The path is a checkpoint, a training's folder (its best, else its last), or a folder of the compact form.
    """
    path = embedded(path)
    if path.is_dir():
        if (path / CONFIG).is_file():
            return _load_compact(path)
        found = [path / name for name in (BEST, LAST) if (path / name).is_file()]
        if not found:
            raise CheckpointError(f"{path}: has no {BEST}, {LAST} or {WEIGHTS}; expected a folder that `train` wrote")
        path = found[0]
    state = read(path)
    return _build(state, state.get("average") or state.get("weights") or {}, path), description_of(state, path)


def description_of(state: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return what a checkpoint says of its model, without weights."""
    if missing := [name for name in _DESCRIPTION if name not in state]:
        raise CheckpointError(f"{path}: was written by another version: it has no {', '.join(missing)}")
    return {name: state[name] for name in _DESCRIPTION}


def save_compact(model: ClipGs, description: dict[str, Any], folder: Path) -> None:
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(compact(model), folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(stamped(description), indent=1, ensure_ascii=False) + "\n")


def is_compact(folder: Path) -> bool:
    """Return whether the folder has a checkpoint of this program in the compact form."""
    try:
        return is_ours(json.loads((folder / CONFIG).read_text()))
    except (OSError, ValueError):
        return False


def compact(model: ClipGs) -> dict[str, torch.Tensor]:
    """Return the weights with matrices in half precision; vectors, such as biases and norms, stay as they are."""
    return {name: _halved(tensor.detach().cpu()) for name, tensor in model.state_dict().items()}


def identity(model: ClipGs, name: str) -> str:
    """Return NAME@HASH; the hash depends on the weights only, and is the same in the compact form."""
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
        state = json.loads((folder / CONFIG).read_text())
        weights = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: {CONFIG} or {WEIGHTS} cannot be read: {error}") from error
    if not is_ours(state):
        raise CheckpointError(f"{folder}/{CONFIG}: is of another model; expected the format {_FORMAT!r}")
    return _build(state, weights, folder), description_of(state, folder / CONFIG)


def _build(state: dict[str, Any], weights: dict[str, torch.Tensor], path: Path) -> ClipGs:
    try:
        model = ClipGs(Model.model_validate(state["settings"]["model"]), state["dimension"])
        model.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:  # pydantic's is a ValueError
        raise CheckpointError(f"{path}: was written by another version: {message(error, 300)}") from error
    return model.eval()
