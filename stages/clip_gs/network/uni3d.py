"""Load the weights of a Uni3D checkpoint into a model of the same size, as the paper does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from stages.clip_gs.network.model import ClipGs
from stages.clip_gs.network.transformer import SIZES
from stages.common.training.checkpoint import CheckpointError, read_checkpoint

_BLOCKS = "point_encoder.visual.blocks."
_FIRST = f"{_BLOCKS}0.norm1.weight"
# Prefixes of Uni3D's names, and what the model has in their place; the first that matches is used.
_NAMES = {
    _BLOCKS: "blocks.",
    "point_encoder.visual.fc_norm.": "fc_norm.",
    "point_encoder.encoder.": "tokenizer.encoder.",
    "point_encoder.encoder2trans.": "tokenizer.encoder2trans.",
    "point_encoder.pos_embed.": "pos_embed.",
    "point_encoder.trans2embed.": "trans2embed.",
    "point_encoder.cls_": "cls_",
    "logit_scale": "logit_scale",
}
# Parts of the image model that Uni3D started from and does not use.
_UNUSED = tuple(f"point_encoder.visual.{name}" for name in ("cls_token", "pos_embed", "patch_embed.", "head."))


@dataclass(frozen=True)
class Report:
    """What became of every tensor of a file and of the model."""

    path: Path
    loaded: tuple[str, ...]  # names of the model
    missing: tuple[str, ...]  # names of the model that the file does not have: not changed
    wrong_shape: tuple[str, ...]  # names of the model, with both shapes: not changed either
    unexpected: tuple[str, ...]  # names of the file that the model does not have
    unused: tuple[str, ...]  # names of the file that are left out on purpose

    def __str__(self) -> str:
        count = len(self.loaded) + len(self.missing) + len(self.wrong_shape)
        lines = [f"{self.path}: {len(self.loaded)} of {count} tensors of the model loaded"]
        for title, names in (
            ("not in the file, initialised instead", self.missing),
            ("of another shape in the file, initialised instead", self.wrong_shape),
            ("in the file, but not in the model", self.unexpected),
            ("in the file, but not used", self.unused),
        ):
            if names:
                lines.append(f"  {title} ({len(names)}): {', '.join(names)}")
        return "\n".join(lines)


def load_uni3d(model: ClipGs, path: Path) -> Report:
    """Copy the tensors that fit. A checkpoint of another size is refused; one for another dimension is not."""
    given = _tensors(path)
    _refuse_other_size(model, given, path)
    names = {_renamed(name): name for name in given}
    left = [theirs for ours, theirs in names.items() if ours not in model.state_dict()]
    return copy_fitting(model, given, names, path, unused=tuple(name for name in left if name.startswith(_UNUSED)))


def copy_fitting(
    model: ClipGs,
    given: Mapping[str, torch.Tensor],
    names: Mapping[str, str],
    path: Path,
    unused: tuple[str, ...] = (),
) -> Report:
    """Copy into the model the tensors of equal shape; `names` has the name of a tensor in `given` by the model's."""
    ours = model.state_dict()
    fitting = [name for name in ours if name in names and given[names[name]].shape == ours[name].shape]
    with torch.no_grad():
        for name in fitting:
            ours[name].copy_(given[names[name]])
    wrong = [name for name in ours if name in names and name not in fitting]
    return Report(
        path=path,
        loaded=tuple(fitting),
        missing=tuple(name for name in ours if name not in names),
        wrong_shape=tuple(
            f"{name} {list(given[names[name]].shape)} in the file, {list(ours[name].shape)} in the model"
            for name in wrong
        ),
        unexpected=tuple(theirs for name, theirs in names.items() if name not in ours and theirs not in unused),
        unused=unused,
    )


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors, which DeepSpeed writes under "module"."""
    state = read_checkpoint(path)
    state = state.get("module", state) if isinstance(state, Mapping) else {}
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    if _FIRST not in tensors:
        raise CheckpointError(f"{path}: not a Uni3D checkpoint: it has no tensor {_FIRST}")
    return tensors


def _renamed(name: str) -> str:
    return next((to + name.removeprefix(start) for start, to in _NAMES.items() if name.startswith(start)), name)


def _refuse_other_size(model: ClipGs, given: Mapping[str, torch.Tensor], path: Path) -> None:
    depth = 1 + max(int(name.removeprefix(_BLOCKS).split(".")[0]) for name in given if name.startswith(_BLOCKS))
    width, split = given[_FIRST].shape[0], f"{_BLOCKS}0.attn.q_proj.weight" in given
    sizes = {(size.width, size.depth, size.split): name for name, size in SIZES.items() if name != "mini"}
    found, own = sizes.get((width, depth, split)), model.settings.size
    if found != own:
        size = f"size {found}" if found else f"not one of the sizes {', '.join(sizes.values())}"
        raise CheckpointError(f"{path}: has {depth} blocks of width {width}, {size}; model.size is {own}")
