"""Training: one step of ours against the step that people write, where its time goes, and what is left of the card.

python -m tests.benchmarks.train [--size mini] [--batch 64] [--gaussians 1024] [--patches 64] [--neighbours 32]
                                 [--tokens gaussians] [--teacher 512] [--rounds 5] [--threads 1]

A step is forward, both losses, backward and AdamW; objects are random points on a sphere, the farthest first, as
datasets have them. The two take turns, and their vectors are compared before. Seconds are those that the process had
of the CPU, whatever else ran; ours is measured in float32 and under bfloat16. On a GPU, tests/gpu measures both.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from stages.clip_gs.batch import Batch, Gaussians
from stages.clip_gs.network.model import ClipGs
from stages.clip_gs.network.patches import centres
from stages.clip_gs.settings import Loss, Model
from stages.clip_gs.training.losses import compute_losses
from tests.benchmarks.clock import seconds_of
from tests.benchmarks.train_plain import PlainClipGs

_VIEWS = 5


def random_batch(count: int, gaussians: int, patches: int, dimension: int, device: torch.device) -> Batch:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    means = F.normalize(normal(count, gaussians, 3), dim=-1)
    rank = torch.full((count, gaussians), patches).scatter(
        1, centres(means, patches), torch.arange(patches).expand(count, -1)
    )
    means = means.gather(1, rank.argsort(dim=1, stable=True).unsqueeze(-1).expand(-1, -1, 3))  # the farthest first
    seen = Gaussians(
        means=means,
        log_scales=normal(count, gaussians, 3) - 4,
        quaternions=F.normalize(normal(count, gaussians, 4), dim=-1),
        opacity_logits=normal(count, gaussians),
        colors=torch.rand(count, gaussians, 3, generator=generator),
    )
    texts = F.normalize(normal(count, dimension), dim=-1)
    views = F.normalize(texts.unsqueeze(1) + 0.1 * normal(count, _VIEWS, dimension), dim=-1)
    numbers = torch.arange(count)
    return Batch([str(number) for number in range(count)], seen, views, texts, numbers, numbers, numbers[:, None]).to(
        device
    )


class Step:
    def __init__(self, model: nn.Module, batch: Batch, short: bool):
        self.model, self.batch, self.short = model, batch, short
        self.optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.batch.texts.device.type, torch.bfloat16, enabled=self.short)

    def loss(self, vectors: torch.Tensor) -> torch.Tensor:
        parts = compute_losses(vectors, self.batch, self.model.logit_scale.exp(), Loss(), lambda tensor: tensor)
        return parts.total

    def __call__(self) -> None:
        with self.autocast():
            vectors = self.model(self.batch.gaussians)
        self.loss(vectors).backward()
        self.finish()

    def finish(self) -> None:
        self.optimiser.step()
        self.optimiser.zero_grad()


def breakdown(step: Step, device: torch.device) -> dict[str, float]:
    """Seconds of a step's parts, each with its own way back."""
    model, found = step.model, {}

    def timed(name: str, work: Callable[[], torch.Tensor | tuple[torch.Tensor, ...]]) -> list[torch.Tensor]:
        results = []
        found[name] = seconds_of(lambda: results.append(work()), device)
        return results[0]

    with step.autocast():
        places, patches = timed("patches", lambda: model.taken_apart(step.batch.gaussians))
        tokens = timed("tokenizer", lambda: model.tokenizer(patches))
        taken = tokens.detach().requires_grad_()
        vectors = timed("transformer", lambda: model.put_together(taken, places))
    detached = vectors.detach().requires_grad_()
    timed("losses", lambda: step.loss(detached).backward())
    back = {"transformer": (vectors, detached), "tokenizer": (tokens, taken)}
    for name, (value, leaf) in back.items():
        found[name] += seconds_of(lambda: value.backward(leaf.grad), device)  # noqa: B023
    timed("optimiser", step.finish)
    return found


def median_breakdown(step: Step, rounds: int, device: torch.device) -> dict[str, float]:
    parts = [breakdown(step, device) for _ in range(rounds)]
    return {name: statistics.median(part[name] for part in parts) for name in parts[0]}


def show_breakdown(parts: dict[str, float]) -> None:
    whole = sum(parts.values())
    shown = ", ".join(f"{name} {1000 * value:,.0f} ms ({value / whole:.0%})" for name, value in parts.items())
    print(f"  of it: {shown}")


def compare(model: ClipGs, batch: Batch) -> None:
    """The two are the same network, or their times mean nothing."""
    few = batch.gaussians.each(lambda tensor: tensor[:4])
    model.eval()
    with torch.no_grad():
        likeness = (model(few) * PlainClipGs(model)(few)).sum(-1).min().item()
    model.train()
    if likeness < 0.999:
        raise SystemExit(f"the plain network is another one: its vectors have a cosine of {likeness:.4f} to ours")


def turns(
    model: ClipGs, batch: Batch, short: bool, rounds: int, device: torch.device
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds of both steps as they take turns, and of the parts of ours."""
    plain, own = Step(PlainClipGs(model), batch, short and device.type == "cuda"), Step(model, batch, short)
    compare(model, batch)
    times: dict[str, list[float]] = {"plain": [], "ours": []}
    for turn in range(rounds + 1):
        pair = {"plain": seconds_of(plain, device), "ours": seconds_of(own, device)}
        for name in times if turn else ():  # the first turn warms up
            times[name].append(pair[name])
    return times, median_breakdown(own, rounds, device)


def ratios_of(times: dict[str, list[float]]) -> list[float]:
    """How many times as long the plain step takes, turn by turn."""
    return [plain / ours for plain, ours in zip(times["plain"], times["ours"], strict=True)]


def show_turns(model: ClipGs, batch: Batch, short: bool, options: argparse.Namespace, device: torch.device) -> None:
    times, parts = turns(model, batch, short, options.rounds, device)
    ratios, ours, plain = ratios_of(times), statistics.median(times["ours"]), statistics.median(times["plain"])
    print(
        f"{'bfloat16' if short else 'float32'}, {len(batch)} objects: {1000 * ours:,.0f} ms a step, the plain one "
        f"{1000 * plain:,.0f} ms: {statistics.median(ratios):.1f} times ({min(ratios):.1f} to {max(ratios):.1f})"
    )
    show_breakdown(parts)


def first_of(batch: Batch, count: int) -> Batch:
    return replace(batch.each(lambda tensor: tensor[:count]), ids=batch.ids[:count])


def products_of(settings: Model, dimension: int) -> float:
    """Operations of an object's step in products, forward and backward: what is done, not what a plain form would."""
    model = ClipGs(settings, dimension)
    batch = random_batch(1, settings.gaussians, settings.patches, dimension, torch.device("cpu"))
    # Under bfloat16 a CPU's attention is written out: the counter does not know the fused one.
    with FlopCounterMode(display=False) as counter, torch.autocast("cpu", torch.bfloat16):
        model(batch.gaussians).sum().backward()
    return counter.get_total_flops()


def plain_product_rate(side: int = 8192, times: int = 20) -> float:
    """Operations a second of a product of two bfloat16 matrices."""
    device = torch.device("cuda")
    one, other = (torch.randn(side, side, dtype=torch.bfloat16, device=device) for _ in range(2))
    for _ in range(3):
        one @ other
    return 2 * side**3 * times / seconds_of(lambda: [one @ other for _ in range(times)], device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["mini", "tiny", "small", "base", "large"], default="mini")
    parser.add_argument("--batch", type=int, default=64, help="objects")
    parser.add_argument("--gaussians", type=int, default=1024)
    parser.add_argument("--patches", type=int, default=64)
    parser.add_argument("--neighbours", type=int, default=32)
    parser.add_argument("--tokens", choices=["points", "attributes", "gaussians"], default="gaussians")
    parser.add_argument("--teacher", type=int, default=512, help="dimension of its vectors")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device("cpu")
    settings = Model(
        **{name: getattr(options, name) for name in ("size", "gaussians", "patches", "neighbours", "tokens")}
    )
    torch.manual_seed(0)
    model = ClipGs(settings, options.teacher).to(device).train()
    batch = random_batch(options.batch, options.gaussians, options.patches, options.teacher, device)
    print(
        f"CPU, {options.threads} threads: {options.size}, "
        f"{sum(each.numel() for each in model.parameters()) / 1e6:.1f} M parameters, "
        f"{options.batch} objects of {options.gaussians:,} Gaussians, {options.patches} x {options.neighbours}"
    )
    for short in (False, True):
        show_turns(model, batch, short, options, device)


if __name__ == "__main__":
    main()
