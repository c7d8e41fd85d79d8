"""Weights of a Uni3D checkpoint for a model of the same size: what the paper starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stages.clip_gs.network.model import ClipGs
from stages.clip_gs.network.transformer import SIZES
from stages.clip_gs.training.tensor_file import TensorFileError, read_tensors

# Beginnings of Uni3D's names and what ours are in their place; the first that fits.
_PLACES = {
    "point_encoder.visual.blocks.": "blocks.",
    "point_encoder.visual.fc_norm.": "fc_norm.",
    "point_encoder.encoder.": "tokenizer.encoder.",
    "point_encoder.encoder2trans.": "tokenizer.encoder2trans.",
    "point_encoder.pos_embed.": "pos_embed.",
    "point_encoder.trans2embed.": "trans2embed.",
    "point_encoder.cls_": "cls_",
    "logit_scale": "logit_scale",
}
# Of the image model that Uni3D began from: it uses none of them.
_UNUSED = tuple(f"point_encoder.visual.{name}" for name in ("cls_token", "pos_embed", "patch_embed.", "head."))


class Uni3dError(Exception):
    """A file that gives this model no weights; one line says which, why, and what would be right."""


@dataclass(frozen=True)
class Report:
    """What became of every tensor of the file, and of the model. Uni3D's names for theirs, ours for ours."""

    path: Path
    loaded: tuple[str, ...]  # ours
    missing: tuple[str, ...]  # ours, that the file does not have: they stay as they started
    wrong_shape: tuple[str, ...]  # ours, with both shapes: they too
    unexpected: tuple[str, ...]  # theirs, that the model has no place for
    unused: tuple[str, ...]  # theirs, that are of no use here

    def __str__(self) -> str:
        lines = [f"{self.path}: {len(self.loaded)} of {len(self.loaded) + len(self.missing) + len(self.wrong_shape)}"]
        lines[0] += " tensors of the model come from it"
        for told, names in (
            ("not in the file, left as they started", self.missing),
            ("of another shape, left as they started", self.wrong_shape),
            ("in the file, without a place here", self.unexpected),
            ("in the file, of no use here", self.unused),
        ):
            if names:
                lines.append(f"  {told} ({len(names)}): {', '.join(names)}")
        return "\n".join(lines)


def load_uni3d(model: ClipGs, path: str | Path) -> Report:
    """Copy what fits into the model. A checkpoint of another size is refused; a teacher of another dimension is not."""
    path = Path(path).expanduser()
    given = _tensors(path)
    ours = model.state_dict()
    _refuse_other_size(model, given, path)
    found = {_place(name): name for name in given}
    fitting = [name for name in ours if name in found and given[found[name]].shape == ours[name].shape]
    with torch.no_grad():
        for name in fitting:
            ours[name].copy_(given[found[name]])
    elsewhere = [name for name in ours if name in found and name not in fitting]
    left = [theirs for name, theirs in found.items() if name not in ours]
    return Report(
        path=path,
        loaded=tuple(fitting),
        missing=tuple(name for name in ours if name not in found),
        wrong_shape=tuple(
            f"{name} {list(given[found[name]].shape)} there, {list(ours[name].shape)} here" for name in elsewhere
        ),
        unexpected=tuple(name for name in left if not name.startswith(_UNUSED)),
        unused=tuple(name for name in left if name.startswith(_UNUSED)),
    )


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    """As DeepSpeed writes them, under "module", or bare."""
    try:
        held = read_tensors(path)
    except FileNotFoundError:
        raise Uni3dError(f"{path}: no such file; a checkpoint of Uni3D (model.pt) is wanted") from None
    except TensorFileError as error:
        raise Uni3dError(f"{path}: {error}") from error
    held = held.get("module", held) if isinstance(held, Mapping) else {}
    tensors = {name: value for name, value in held.items() if isinstance(value, torch.Tensor)}
    if "point_encoder.visual.blocks.0.norm1.weight" not in tensors:
        raise Uni3dError(f"{path}: no checkpoint of Uni3D, whose tensors begin with point_encoder.visual.blocks.0")
    return tensors


def _place(name: str) -> str:
    return next((to + name.removeprefix(start) for start, to in _PLACES.items() if name.startswith(start)), name)


def _refuse_other_size(model: ClipGs, given: Mapping[str, torch.Tensor], path: Path) -> None:
    start = "point_encoder.visual.blocks."
    depth = 1 + max(int(name.removeprefix(start).split(".")[0]) for name in given if name.startswith(start))
    split = f"{start}0.attn.q_proj.weight" in given
    theirs: tuple[Any, ...] = (given[f"{start}0.norm1.weight"].shape[0], depth, split)
    sizes = {(size.width, size.depth, size.split): name for name, size in SIZES.items() if name != "mini"}
    own = model.settings.size
    if sizes.get(theirs) != own:
        told = sizes.get(theirs, f"none of {', '.join(sizes.values())}")
        raise Uni3dError(f"{path}: {depth} blocks of width {theirs[0]}, which is size {told}; model.size is {own}")
