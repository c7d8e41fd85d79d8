"""The network of CLIP-GS: what it sees, how it takes objects apart, and what its vectors do not depend on."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from stages.clip_gs.batch import Gaussians
from stages.clip_gs.network import serialisation, tokenizer, transformer
from stages.clip_gs.network.attributes import COUNT, attributes
from stages.clip_gs.network.model import ClipGs
from stages.clip_gs.network.patches import centres, farthest_in_torch, nearest, nearest_in_torch
from stages.clip_gs.rotations import matrices
from stages.clip_gs.settings import Loss, Model
from stages.clip_gs.training.losses import compute_losses
from tests.benchmarks.train_plain import PlainClipGs
from tests.stages.clip_gs_objects import batch, gaussians

SMALL = {"gaussians": 48, "patches": 6, "neighbours": 8}
DIMENSION = 24
TOKENS = ("points", "attributes", "gaussians")


def model(seed: int = 0, **fields: Any) -> ClipGs:
    """In eval mode, with statistics of norms that are not those of the start, and biases that are not nothing."""
    torch.manual_seed(seed)
    made = ClipGs(Model(**{**SMALL, **fields}), DIMENSION)
    with torch.no_grad():
        for name, tensor in itertools.chain(made.named_parameters(), made.named_buffers()):
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith(("bias", "running_mean")) and tensor.ndim == 1:
                tensor.normal_(std=0.1)
    return made.eval()


@pytest.fixture
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Base in its own layout, but small."""
    small = {"width": 96, "depth": 2, "heads": 3, "hidden": 80, "widths": transformer.SIZES["mini"].widths}
    monkeypatch.setitem(transformer.SIZES, "base", replace(transformer.SIZES["base"], **small))


def farthest_order(seen: Gaussians) -> Gaussians:
    order = centres(seen.means, seen.means.shape[1])
    return seen.each(lambda tensor: tensor[torch.arange(len(seen))[:, None], order])


# -- what is seen of a Gaussian ----------------------------------------------------------------------------------------


def test_rotations_are_those_of_the_quaternions() -> None:
    half = 0.5**0.5
    about_z = matrices(torch.tensor([[half, 0, 0, half], [-half, 0, 0, -half]]))
    expected = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    torch.testing.assert_close(about_z, expected.expand(2, 3, 3), atol=1e-6, rtol=0)
    any_way = F.normalize(torch.randn(50, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    turned = matrices(any_way)
    torch.testing.assert_close(turned @ turned.mT, torch.eye(3).expand(50, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(turned.det(), torch.ones(50), atol=1e-5, rtol=0)
    axes = F.normalize(any_way[:, 1:], dim=-1)  # each turns about the axis that its quaternion names
    torch.testing.assert_close((turned @ axes.unsqueeze(-1)).squeeze(-1), axes, atol=1e-5, rtol=0)


def test_a_gaussian_is_nineteen_numbers_of_which_the_first_six_are_a_point() -> None:
    seen = gaussians(2, 5)
    found = attributes(seen)
    assert found.shape == (2, 5, COUNT)
    assert torch.equal(found[..., :6], torch.cat([seen.means, seen.colors], -1))
    torch.testing.assert_close(found[..., 6].logit(), seen.opacity_logits)
    torch.testing.assert_close(found[..., 7:10].logit(), seen.log_scales)
    assert torch.equal(found, attributes(replace(seen, quaternions=-seen.quaternions)))


# -- orders ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_hilbert_visits_every_cell_and_steps_to_a_neighbour(bits: int) -> None:
    cells = torch.tensor(list(itertools.product(range(2**bits), repeat=3)), dtype=torch.int32)
    numbers = serialisation.hilbert(cells, bits)
    assert sorted(numbers.tolist()) == list(range(8**bits))
    path = cells[numbers.argsort()]
    assert (path.diff(dim=0).abs().sum(-1) == 1).all()


def test_z_order_takes_bits_in_turn_and_xyz_sorts_by_x_first() -> None:
    cells = torch.randint(
        1 << serialisation.BITS, (200, 3), generator=torch.Generator().manual_seed(0), dtype=torch.int32
    )
    slow = [
        int("".join(f"{axis >> bit & 1}" for bit in reversed(range(serialisation.BITS)) for axis in cell), 2)
        for cell in cells.tolist()
    ]
    assert serialisation.z_order(cells).tolist() == slow
    by_x = cells[serialisation.xyz(cells).argsort()].tolist()
    assert by_x == sorted(cells.tolist())


@pytest.mark.parametrize("curve", ["xyz", "hilbert", "z"])
def test_an_order_is_of_the_patch_whatever_its_size(curve: Any) -> None:
    places = gaussians(4, 30).means
    order = serialisation.serialise(places, curve)
    assert torch.equal(order.sort(-1).values, torch.arange(30).expand(4, 30))
    assert torch.equal(order, serialisation.serialise(places / 64, curve))
    upon_each_other = torch.zeros(1, 5, 3)
    assert serialisation.serialise(upon_each_other, curve).tolist() == [[0, 1, 2, 3, 4]]


# -- patches -----------------------------------------------------------------------------------------------------------


def test_centres_are_the_farthest_points() -> None:
    means = gaussians(3, 60).means
    found = centres(means, 20)
    for own, chosen in zip(means.double(), found.tolist(), strict=True):
        assert chosen[0] == (own - own.mean(0)).norm(dim=-1).argmax()
        for count in range(1, 20):
            away = torch.cdist(own, own[chosen[:count]]).amin(1)
            assert away[chosen[count]] == pytest.approx(away.max().item(), abs=1e-6)
    assert torch.equal(found, farthest_in_torch(means, found[:, 0], 20))


@pytest.mark.parametrize("most_bytes", [1, 3000, 1 << 30])
def test_neighbours_are_the_nearest_in_any_memory(most_bytes: int) -> None:
    means = gaussians(3, 200).means
    means[:, 150:] = means[:, :50]  # some stand there twice
    places = means[:, :7]
    for found in (nearest(means, places, 9), nearest_in_torch(means, places, 9, most_bytes)):
        distances = torch.cdist(places.double(), means.double())
        expected = distances.sort(-1).values[..., :9]
        torch.testing.assert_close(distances.gather(2, found), expected, atol=1e-7, rtol=0)
        assert (found.sort(-1).values.diff(dim=-1) > 0).all()  # none twice


# -- the network -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("size", ["mini", "base"])
def test_it_is_the_network_that_is_written_down_plainly(shallow: None, size: str, tokens: str) -> None:
    """Concatenation for each point, passes one by one, all tokens through all blocks: values and gradients.

    While training in one order: ours normalises all orders together, the plain one each by itself.
    """
    seen = farthest_order(gaussians(3, 48))
    every_order = model(size=size, tokens=tokens)
    torch.testing.assert_close(every_order(seen), PlainClipGs(every_order)(seen), atol=1e-5, rtol=1e-4)
    made = model(size=size, tokens=tokens, orders=("hilbert",)).train()
    target = torch.randn(3, DIMENSION, generator=torch.Generator().manual_seed(1))
    found = []
    for network in (made, PlainClipGs(made)):
        made.zero_grad()
        vectors = network(seen)
        (vectors * target).sum().backward()
        found.append([vectors, *(each.grad for name, each in made.named_parameters() if name != "logit_scale")])
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("size", ["mini", "base"])
def test_every_parameter_gets_a_gradient(shallow: None, size: str, tokens: str) -> None:
    made, seen = model(size=size, tokens=tokens).train(), batch(6, 48, DIMENSION)
    parts = compute_losses(made(seen.gaussians), seen, made.logit_scale.exp(), Loss(), lambda tensor: tensor)
    parts.total.backward()
    without = [name for name, each in made.named_parameters() if each.grad is None or not each.grad.abs().sum() > 0]
    assert without == []


def test_the_order_of_gaussians_does_not_matter_beyond_the_centres() -> None:
    seen = gaussians(3, 48)
    random = torch.Generator().manual_seed(0)
    anyhow = torch.randperm(48, generator=random)
    behind = torch.cat([torch.arange(6), 6 + torch.randperm(42, generator=random)])
    for kind, order in (("computed", anyhow), ("stored", behind)):
        made = model(centres=kind)
        torch.testing.assert_close(made(seen), made(seen.each(lambda tensor, o=order: tensor[:, o])), atol=1e-5, rtol=0)
    assert not torch.allclose(made(seen), made(seen.each(lambda tensor: tensor[:, anyhow])), atol=1e-3)


def test_stored_centres_are_the_computed_ones_of_farthest_order() -> None:
    seen = farthest_order(gaussians(3, 48))
    torch.testing.assert_close(model(centres="computed")(seen), model(centres="stored")(seen))


def test_a_gaussian_that_stands_there_twice_changes_no_patch_of_others() -> None:
    """Padding: what fills an object up is a copy, and a patch's largest is the same with it."""
    made = model(tokens="points", neighbours=4)
    seen = gaussians(1, 48)
    alone, _ = made.taken_apart(seen)
    twice = seen.each(lambda tensor: torch.cat([tensor, tensor[:, :1]], 1))
    again, patches = made.taken_apart(twice)
    assert torch.equal(alone, again)
    own = made.tokenizer(made.taken_apart(seen)[1])
    touched = (patches[..., :3].norm(dim=-1) == 0).sum(-1)[0] > 1  # only the patch of the one that is twice
    torch.testing.assert_close(made.tokenizer(patches)[0][~touched], own[0][~touched])
    assert touched.tolist() == [True] + [False] * 5


def test_a_quaternion_and_its_negative_are_the_same_rotation() -> None:
    made, seen = model(), gaussians(3, 48)
    assert torch.equal(made(seen), made(replace(seen, quaternions=-seen.quaternions)))
    turned = replace(seen, quaternions=seen.quaternions.roll(1, -1))
    assert not torch.allclose(made(seen), made(turned), atol=1e-4)


@pytest.mark.parametrize("tokens", TOKENS)
def test_what_is_not_seen_does_not_matter(tokens: str) -> None:
    made, seen = model(tokens=tokens), gaussians(2, 48)
    changed = replace(seen, opacity_logits=seen.opacity_logits + 2)
    assert torch.equal(made(seen), made(changed)) == (tokens == "points")


@pytest.mark.parametrize("tokens", ["attributes", "gaussians"])
def test_each_attribute_is_seen_with_the_same_spread(tokens: str) -> None:
    made = model(tokens=tokens).train()
    patches = made.taken_apart(gaussians(4, 48))[1].flatten(0, 1)
    spread = made.tokenizer._alike(patches).flatten(0, 1).std(0)
    torch.testing.assert_close(spread, torch.ones(COUNT), atol=0.05, rtol=0)
    assert patches.flatten(0, 1).std(0).max() > 10 * patches.flatten(0, 1).std(0).min()


def test_objects_of_a_batch_do_not_know_each_other() -> None:
    made, seen = model(), gaussians(5, 48)
    alone = torch.cat([made(seen.each(lambda tensor, i=i: tensor[i : i + 1])) for i in range(5)])
    torch.testing.assert_close(made(seen), alone, atol=1e-5, rtol=0)


def test_patches_may_pass_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    made, seen = model(), gaussians(5, 48)
    whole = made(seen)
    monkeypatch.setattr(tokenizer, "_MOST", 7 * 8 * made.tokenizer.widest)
    torch.testing.assert_close(made(seen), whole, atol=1e-5, rtol=0)


def test_bfloat16_gives_nearly_the_same_vectors() -> None:
    made, seen = model(), gaussians(5, 48)
    with torch.autocast("cpu", torch.bfloat16):
        short = made(seen)
    assert short.dtype == torch.float32
    torch.testing.assert_close(short.norm(dim=-1), torch.ones(5))
    assert (short * made(seen)).sum(-1).min() > 0.995


def test_drop_path_leaves_out_more_the_deeper_and_only_while_training() -> None:
    made, seen = model(drop_path=0.6), gaussians(2, 48)
    assert [block.drop_path for block in made.blocks] == pytest.approx([0, 0.2, 0.4, 0.6])
    assert torch.equal(made(seen), model()(seen))
    tokens, block = torch.ones(4000, 1, 1), made.blocks[-1].train()
    kept = block._dropped(tokens)
    assert kept.unique().tolist() == pytest.approx([0, 2.5])
    assert kept.mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("size", "millions"), [("mini", 2.9), ("tiny", 6.2), ("small", 22.5), ("base", 87.0), ("large", 304.7)]
)
def test_sizes_and_the_depths_of_their_parameters(size: str, millions: float) -> None:
    with torch.device("meta"):
        made = ClipGs(Model(size=size, tokens="points"), 1024)
    names = [name for name, _ in made.named_parameters()]
    assert sum(each.numel() for each in made.parameters()) / 1e6 == pytest.approx(millions, abs=0.2)
    layers = made.layers()
    assert len(layers) == len(made.blocks) + 2
    for name in names:
        assert sum(name.startswith(start) for layer in layers for start in layer) == 1, name


@pytest.mark.parametrize("short", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_it_learns_sixteen_objects_by_heart(short: bool) -> None:
    torch.manual_seed(0)
    made, seen = ClipGs(Model(**SMALL), DIMENSION), batch(16, 48, DIMENSION)
    optimiser = torch.optim.Adam(made.parameters(), 1e-3)
    for _ in range(60):
        with torch.autocast("cpu", torch.bfloat16, enabled=short):
            vectors = made(seen.gaussians)
        parts = compute_losses(vectors, seen, made.logit_scale.exp(), Loss(), lambda tensor: tensor)
        optimiser.zero_grad()
        parts.total.backward()
        optimiser.step()
    likeness = made.eval()(seen.gaussians) @ seen.texts.T
    assert torch.equal(likeness.argmax(0), torch.arange(16)) and torch.equal(likeness.argmax(1), torch.arange(16))


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["stored", "computed"])
@pytest.mark.parametrize("size", ["mini", "base"])
def test_a_gpu_gives_the_vectors_of_a_cpu_and_learns(shallow: None, size: str, kind: str) -> None:
    made, seen, device = model(size=size, centres=kind), batch(6, 48, DIMENSION), torch.device("cuda")
    expected = made(seen.gaussians)
    made, seen = made.to(device), seen.to(device)
    torch.testing.assert_close(made(seen.gaussians).cpu(), expected, atol=1e-4, rtol=1e-3)
    with torch.autocast("cuda", torch.bfloat16):
        vectors = made.train()(seen.gaussians)
    parts = compute_losses(vectors, seen, made.logit_scale.exp(), Loss(), lambda tensor: tensor)
    parts.total.backward()
    assert all(each.grad.isfinite().all() and each.grad.abs().sum() > 0 for each in made.parameters())
