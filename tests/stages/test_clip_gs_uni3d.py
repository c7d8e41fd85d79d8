"""Uni3D's checkpoints, written here with its layout: every tensor lands, and the network computes what Uni3D's does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from stages.clip_gs.network import transformer
from stages.clip_gs.network.model import ClipGs
from stages.clip_gs.network.uni3d import load_uni3d
from stages.clip_gs.settings import Model
from stages.common.training.checkpoint import CheckpointError
from tests.stages.clip_gs_objects import TEXTS, gaussians

TEACHER = 1024
SMALL = {"gaussians": 40, "patches": 5, "neighbours": 8, "tokens": "points"}
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Layout:
    """What timm's model of a size holds."""

    width: int
    depth: int
    heads: int
    hidden: int
    split: bool
    picture: int  # tokens of the picture model, with the class token
    classes: int
    millions: float  # of parameters, as Uni3D counts them


TINY = Layout(192, 12, 3, 512, False, 257, 0, 6.4)
SMALL_SIZE = Layout(384, 12, 6, 1024, False, 257, 0, 22.8)
BASE = Layout(768, 12, 12, 2048, True, 1025, 1000, 89.0)
LARGE = Layout(1024, 24, 16, 2730, True, 1025, 1000, 307.4)
LAYOUTS = {"tiny": TINY, "small": SMALL_SIZE, "base": BASE, "large": LARGE}


def shapes_of(layout: Layout, teacher: int = TEACHER) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a checkpoint's tensors."""
    shapes: dict[str, tuple[int, ...]] = {"logit_scale": ()}

    def put(prefix: str, **given: tuple[int, ...]) -> None:
        shapes.update({f"point_encoder.{prefix}{name.replace('__', '.')}": shape for name, shape in given.items()})

    def layer(name: str, out: int, *into: int, bias: bool = True) -> None:
        put(f"{name}.", weight=(out, *into), **({"bias": (out,)} if bias else {}))

    def batch_norm(name: str, width: int) -> None:
        layer(name, width)
        put(f"{name}.", running_mean=(width,), running_var=(width,), num_batches_tracked=())

    d, h = layout.width, layout.hidden
    put("", cls_token=(1, 1, d), cls_pos=(1, 1, d))
    put("visual.", cls_token=(1, 1, d), pos_embed=(1, layout.picture, d))
    layer("visual.patch_embed.proj", d, 3, 14, 14)
    for depth in range(layout.depth):
        block = f"visual.blocks.{depth}."
        layer(f"{block}norm1", d)
        if layout.split:
            layer(f"{block}attn.q_proj", d, d)
            layer(f"{block}attn.k_proj", d, d, bias=False)
            layer(f"{block}attn.v_proj", d, d)
            layer(f"{block}mlp.fc1_g", h, d)
            layer(f"{block}mlp.fc1_x", h, d)
            layer(f"{block}mlp.norm", h)
        else:
            put(f"{block}attn.", q_bias=(d,), v_bias=(d,))
            layer(f"{block}attn.qkv", 3 * d, d, bias=False)
            layer(f"{block}mlp.fc1", 2 * h, d)
        layer(f"{block}attn.proj", d, d)
        layer(f"{block}norm2", d)
        layer(f"{block}mlp.fc2", d, h)
    layer("visual.fc_norm", d)
    if layout.classes:
        layer("visual.head", layout.classes, d)
    layer("encoder.first_conv.0", 128, 6, 1)
    batch_norm("encoder.first_conv.1", 128)
    layer("encoder.first_conv.3", 256, 128, 1)
    layer("encoder.second_conv.0", 512, 512, 1)
    batch_norm("encoder.second_conv.1", 512)
    layer("encoder.second_conv.3", 512, 512, 1)
    layer("encoder2trans", d, 512)
    layer("pos_embed.0", 128, 3)
    layer("pos_embed.2", d, 128)
    layer("trans2embed", teacher, d)
    return shapes


def random_tensors(layout: Layout, teacher: int = TEACHER) -> Tensors:
    random = torch.Generator().manual_seed(0)

    def made(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        if name.endswith("num_batches_tracked"):
            return torch.tensor(7)
        values = torch.randn(shape, generator=random) * (shape[1] ** -0.5 if len(shape) > 1 else 0.2)
        around_one = name.endswith("running_var") or ("norm" in name and name.endswith("weight"))
        return values.abs() + 0.5 if around_one else values

    return {name: made(name, shape) for name, shape in shapes_of(layout, teacher).items()}


def write(folder: Path, held: Any) -> Path:
    torch.save(held, folder / "model.pt")
    return folder / "model.pt"


def vectors_by_hand(held: Tensors, layout: Layout, patches: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Uni3D on patches [B, g, k, 6] at places [B, g, 3], from its tensors alone."""
    t = {name.removeprefix("point_encoder."): tensor for name, tensor in held.items()}

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, t[f"{name}.weight"].flatten(1), t.get(f"{name}.bias"))

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], t[f"{name}.weight"], t[f"{name}.bias"], 1e-6)

    def two(x: torch.Tensor, name: str) -> torch.Tensor:
        x = linear(x, f"{name}.0")
        centred = (x - t[f"{name}.1.running_mean"]) / (t[f"{name}.1.running_var"] + 1e-5).sqrt()
        return linear((centred * t[f"{name}.1.weight"] + t[f"{name}.1.bias"]).relu(), f"{name}.3")

    def heads(x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (layout.heads, -1)).transpose(1, 2)

    local = two(patches, "encoder.first_conv")
    both = torch.cat([local.amax(2, keepdim=True).expand_as(local), local], -1)
    tokens = linear(two(both, "encoder.second_conv").amax(2), "encoder2trans")
    placed = linear(F.gelu(linear(places, "pos_embed.0")), "pos_embed.2")
    first = (t["cls_token"] + t["cls_pos"]).expand(len(tokens), 1, -1)
    x = torch.cat([first, tokens + placed], 1)
    for depth in range(layout.depth):
        block = f"visual.blocks.{depth}."
        y = norm(x, f"{block}norm1")
        if layout.split:
            q, k, v = (linear(y, f"{block}attn.{name}_proj") for name in "qkv")
        else:
            q, k, v = linear(y, f"{block}attn.qkv").chunk(3, -1)
            q, v = q + t[f"{block}attn.q_bias"], v + t[f"{block}attn.v_bias"]
        q, k, v = heads(q), heads(k), heads(v)
        shares = (q @ k.mT / (layout.width // layout.heads) ** 0.5).softmax(-1)
        x = x + linear((shares @ v).transpose(1, 2).flatten(2), f"{block}attn.proj")
        y = norm(x, f"{block}norm2")
        if layout.split:
            y = norm(F.silu(linear(y, f"{block}mlp.fc1_g")) * linear(y, f"{block}mlp.fc1_x"), f"{block}mlp.norm")
        else:
            gate, value = linear(y, f"{block}mlp.fc1").chunk(2, -1)
            y = F.silu(gate) * value
        x = x + linear(y, f"{block}mlp.fc2")
    return F.normalize(linear(norm(x[:, 0], "visual.fc_norm"), "trans2embed"), dim=-1)


@pytest.fixture
def two_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes as they are, but for their depth."""
    for name, size in transformer.SIZES.items():
        monkeypatch.setitem(transformer.SIZES, name, replace(size, depth=2))


@pytest.mark.parametrize("size", LAYOUTS)
def test_the_sizes_are_uni3d_s(size: str) -> None:
    """Each tensor of the model is in the checkpoint, with its shape; the count is the one that Uni3D tells."""
    layout = LAYOUTS[size]
    theirs = shapes_of(layout)
    with torch.device("meta"):
        ours = ClipGs(Model(size=size, tokens="points"), TEACHER).state_dict()
    places = {
        "tokenizer.": "point_encoder.",
        "blocks.": "point_encoder.visual.blocks.",
        "fc_norm.": "point_encoder.visual.fc_norm.",
        "logit_scale": "logit_scale",
    }
    for name, tensor in ours.items():
        start = next((start for start in places if name.startswith(start)), "")
        assert theirs.get(places.get(start, "point_encoder.") + name.removeprefix(start)) == tensor.shape, name
    learned = [name for name in theirs if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    count = sum(torch.Size(theirs[name]).numel() for name in learned)
    assert count / 1e6 == pytest.approx(layout.millions, abs=0.06)


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("size", ["tiny", "base"])
def test_the_network_computes_what_uni3d_s_does(two_blocks: None, tmp_path: Path, size: str, wrapped: bool) -> None:
    layout = replace(LAYOUTS[size], depth=2)
    held = random_tensors(layout)
    model = ClipGs(Model(size=size, **SMALL), TEACHER)
    report = load_uni3d(model, write(tmp_path, {"module": held, "epoch": 3} if wrapped else held))
    assert not report.missing and not report.wrong_shape and not report.unexpected
    assert set(report.loaded) == set(model.state_dict())
    assert len(report.loaded) + len(report.unused) == len(held)
    assert "point_encoder.visual.pos_embed" in report.unused
    seen = gaussians(2, 40)
    places, patches = model.eval().taken_apart(seen)
    with torch.no_grad():
        expected = vectors_by_hand(held, layout, patches[..., :6], places)
        torch.testing.assert_close(model(seen), expected, atol=2e-5, rtol=1e-4)
    assert model.logit_scale == held["logit_scale"]


def test_what_does_not_fit_is_listed_and_left(two_blocks: None, tmp_path: Path) -> None:
    held = random_tensors(replace(TINY, depth=2), teacher=512)
    held["point_encoder.extra.weight"] = torch.zeros(3)
    del held["point_encoder.visual.blocks.1.norm2.bias"]
    model = ClipGs(Model(size="tiny", **{**SMALL, "tokens": "gaussians"}), TEACHER)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    report = load_uni3d(model, write(tmp_path, {"module": held}))
    own = {name for name in before if name.startswith(("tokenizer.serial", "tokenizer.norm"))}
    assert set(report.missing) == own | {"blocks.1.norm2.bias"}
    assert report.unexpected == ("point_encoder.extra.weight",)
    assert report.wrong_shape == (
        "trans2embed.weight [512, 192] in the file, [1024, 192] in the model",
        "trans2embed.bias [512] in the file, [1024] in the model",
    )
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) == (name not in report.loaded), name
    text = str(report)
    assert text.startswith(f"{report.path}: {len(report.loaded)} of {len(before)} tensors")
    assert all(word in text for word in ("point_encoder.extra.weight", "tokenizer.serial2trans.weight", "1024, 192"))


@pytest.mark.parametrize(
    ("held", "says"),
    [
        (None, "no such file"),
        *((text, "not a file of tensors, or damaged") for text in TEXTS),
        ({"module": {"weight": torch.zeros(2)}}, "not a Uni3D checkpoint"),
        ([1, 2], "not a Uni3D checkpoint"),
        ({"module": {}, "arguments": Path("x")}, "not a file of tensors"),
        (replace(BASE, depth=2), "has 2 blocks of width 768, size base; model.size is tiny"),
        (
            replace(TINY, depth=3),
            "has 3 blocks of width 192, not one of the sizes tiny, small, base, large",
        ),
    ],
)
def test_a_wrong_file_is_refused_in_a_line(two_blocks: None, tmp_path: Path, held: Any, says: str) -> None:
    path = tmp_path / "model.pt"
    if isinstance(held, Layout):
        names = [name for name in shapes_of(held) if "blocks" in name]
        held = {"module": {name: torch.zeros(shapes_of(held)[name]) for name in names}}
    if isinstance(held, bytes):
        path.write_bytes(held)
    elif held is not None:
        write(tmp_path, held)
    model = ClipGs(Model(size="tiny", **SMALL), TEACHER)
    with pytest.raises(CheckpointError, match=says) as raised:
        load_uni3d(model, path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)
