"""Training: one step of ours against the step that people write, where its time goes, and what is left of the card.

python -m tests.benchmarks.train [--size mini] [--batch 64] [--gaussians 1024] [--patches 64] [--neighbours 32]
                                 [--tokens gaussians] [--teacher 512] [--rounds 5] [--threads 1] [--aim-only]

A step is forward, both losses, backward and AdamW; objects are random points on a sphere, the farthest first, as
datasets have them. The two take turns, and their vectors are compared before. On a CPU seconds are those that the
process had of it, whatever else ran, and ours is measured in float32 and under bfloat16. Where there is a GPU, sizes
are those of the aim instead: Base, 256 objects, 10,000 Gaussians, 512 patches of 64, bfloat16, and the step's products
are set against the rate that a plain product reaches in the same run. --aim-only leaves the plain step out there.
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
from stages.clip_gs.losses import contrastive
from stages.clip_gs.model import ClipGs
from stages.clip_gs.patches import centres
from stages.clip_gs.settings import Loss, Model
from tests.benchmarks.clock import seconds_of
from tests.benchmarks.train_plain import PlainClipGs

_VIEWS = 5
_AIM = {"size": "base", "batch": 256, "gaussians": 10_000, "patches": 512, "neighbours": 64, "teacher": 1024}
_SIZES = {"size": "mini", "batch": 64, "gaussians": 1024, "patches": 64, "neighbours": 32, "teacher": 512}


def random_batch(count: int, gaussians: int, patches: int, dimension: int, device: torch.device) -> Batch:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    means = F.normalize(normal(count, gaussians, 3), dim=-1)
    means = torch.cat([means[torch.arange(count)[:, None], centres(means, patches)], means], dim=1)[:, :gaussians]
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
        parts = contrastive(vectors, self.batch, self.model.logit_scale.exp(), Loss(), lambda tensor: tensor)
        return parts["text"] + parts["image"]

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
    told = vectors.detach().requires_grad_()
    timed("losses", lambda: step.loss(told).backward())
    back = {"transformer": (vectors, told), "tokenizer": (tokens, taken)}
    for name, (value, leaf) in back.items():
        found[name] += seconds_of(lambda: value.backward(leaf.grad), device)  # noqa: B023
    timed("optimiser", step.finish)
    return found


def show_breakdown(step: Step, rounds: int, device: torch.device) -> None:
    parts = [breakdown(step, device) for _ in range(rounds)]
    medians = {name: statistics.median(part[name] for part in parts) for name in parts[0]}
    whole = sum(medians.values())
    told = ", ".join(f"{name} {1000 * value:,.0f} ms ({value / whole:.0%})" for name, value in medians.items())
    print(f"  of it: {told}")


def compare(model: ClipGs, batch: Batch, short: bool) -> None:
    """The two are the same network, or their times mean nothing."""
    few = batch.gaussians.each(lambda tensor: tensor[:4])
    model.eval()
    with torch.no_grad(), torch.autocast(batch.texts.device.type, torch.bfloat16, enabled=short):
        likeness = (model(few) * PlainClipGs(model)(few)).sum(-1).min().item()
    model.train()
    if likeness < 0.999:
        raise SystemExit(f"the plain network is another one: its vectors have a cosine of {likeness:.4f} to ours")


def show_turns(model: ClipGs, batch: Batch, short: bool, options: argparse.Namespace, device: torch.device) -> None:
    plain, own = Step(PlainClipGs(model), batch, short and device.type == "cuda"), Step(model, batch, short)
    compare(model, batch, short)
    times: dict[str, list[float]] = {"plain": [], "ours": []}
    for turn in range(options.rounds + 1):
        pair = {"plain": seconds_of(plain, device), "ours": seconds_of(own, device)}
        for name in times if turn else ():  # the first turn warms up
            times[name].append(pair[name])
    ratios = [there / here for there, here in zip(times["plain"], times["ours"], strict=True)]
    ours, theirs = statistics.median(times["ours"]), statistics.median(times["plain"])
    print(
        f"{'bfloat16' if short else 'float32'}, {len(batch)} objects: {1000 * ours:,.0f} ms a step, the plain one "
        f"{1000 * theirs:,.0f} ms: {statistics.median(ratios):.1f} times ({min(ratios):.1f} to {max(ratios):.1f})"
    )
    show_breakdown(own, options.rounds, device)


def show_turns_that_fit(model: ClipGs, batch: Batch, options: argparse.Namespace, device: torch.device) -> None:
    """On a GPU, with half the objects for as long as the plain step does not fit into its memory."""
    while len(batch) > 1:
        try:
            return show_turns(model, batch, True, options, device)
        except torch.OutOfMemoryError:
            print(f"the plain step has no room for {len(batch)} objects")
        model.zero_grad()
        torch.cuda.empty_cache()
        half = len(batch) // 2
        batch = replace(batch.each(lambda tensor: tensor[:half]), ids=batch.ids[:half])  # noqa: B023


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


def show_share(model: ClipGs, batch: Batch, options: argparse.Namespace, device: torch.device) -> None:
    torch.cuda.reset_peak_memory_stats()
    done = products_of(model.settings, model.dimension) * len(batch)
    rate = plain_product_rate()
    step = Step(model, batch, True)
    for compiled in (False, True):
        if compiled:
            show_breakdown(step, options.rounds, device)
            model.compile()
        ours = statistics.median([seconds_of(step, device) for _ in range(options.rounds + 2)][2:])  # two warm up
        print(
            f"bfloat16{', torch.compile' if compiled else ''}, {len(batch)} objects: {1000 * ours:,.0f} ms a step, "
            f"{done / 1e12:,.1f} Top in products, {done / ours / 1e12:,.0f} Top/s: {done / ours / rate:.0%} of a plain "
            f"product's {rate / 1e12:,.0f}; {torch.cuda.max_memory_allocated() / 2**30:,.0f} GiB"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["mini", "tiny", "small", "base", "large"])
    parser.add_argument("--batch", type=int, help="objects")
    parser.add_argument("--gaussians", type=int)
    parser.add_argument("--patches", type=int)
    parser.add_argument("--neighbours", type=int)
    parser.add_argument("--tokens", choices=["points", "attributes", "gaussians"], default="gaussians")
    parser.add_argument("--teacher", type=int, help="dimension of its vectors")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of a CPU")
    parser.add_argument("--aim-only", action="store_true", help="on a GPU, without the plain step")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for name, value in (_AIM if device.type == "cuda" else _SIZES).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    settings = Model(
        **{name: getattr(options, name) for name in ("size", "gaussians", "patches", "neighbours", "tokens")}
    )
    torch.manual_seed(0)
    model = ClipGs(settings, options.teacher).to(device).train()
    batch = random_batch(options.batch, options.gaussians, options.patches, options.teacher, device)
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {options.threads} threads"
    print(
        f"{where}: {options.size}, {sum(each.numel() for each in model.parameters()) / 1e6:.1f} M parameters, "
        f"{options.batch} objects of {options.gaussians:,} Gaussians, {options.patches} x {options.neighbours}"
    )
    if device.type == "cpu":
        for short in (False, True):
            show_turns(model, batch, short, options, device)
        return
    if not options.aim_only:
        show_turns_that_fit(model, batch, options, device)
    show_share(model, batch, options, device)


if __name__ == "__main__":
    main()
