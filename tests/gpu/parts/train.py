"""A CLIP-GS step of size Base: its time, its share of a plain product's rate, and the step that people write.

Then the trainer itself, on the kit's dataset: whether it learns from files on this device.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess

import torch

from stages.clip_gs.network.model import ClipGs
from stages.clip_gs.settings import Model
from tests.benchmarks.clock import seconds_of
from tests.benchmarks.train import (
    Step,
    first_of,
    median_breakdown,
    plain_product_rate,
    products_of,
    random_batch,
    ratios_of,
    turns,
)
from tests.gpu.part import Part, module, read_arguments

_BASE = {"size": "base", "gaussians": 10_000, "patches": 512, "neighbours": 64}
_TOY = {"size": "mini", "gaussians": 128, "patches": 8, "neighbours": 8}
_BATCH, _TEACHER, _ROUNDS = 256, 1024, 5


def main(part: Part) -> None:
    device, rounds = torch.device(part.device), 1 if part.toy else _ROUNDS
    settings = Model(**(_TOY if part.toy else _BASE))
    torch.manual_seed(0)
    model = ClipGs(settings, _TEACHER).to(device).train()
    batch = random_batch(4 if part.toy else _BATCH, settings.gaussians, settings.patches, _TEACHER, device)
    operations = products_of(settings, _TEACHER) * len(batch)
    rate = None if part.toy else plain_product_rate()
    part.figures.put(objects=len(batch), teraoperations_a_step=operations / 1e12, plain_tflops=rate and rate / 1e12)

    step = Step(model, batch, short=True)
    seconds = _median_seconds(step, rounds, device)
    part.figures.put(step_ms=1000 * seconds, share_of_plain_rate=rate and operations / seconds / rate)
    part.figures.put(step_memory_gib=_memory_gib(part))
    part.figures.put(**{f"{name}_ms": 1000 * value for name, value in median_breakdown(step, rounds, device).items()})
    _against_plain(part, model, batch, rounds)
    _train_on_files(part)
    model.compile(backend="eager" if part.toy else "inductor")  # a rehearsal does not wait for a C++ compiler
    seconds = _median_seconds(Step(model, batch, short=True), rounds, device)
    part.figures.put(compiled_step_ms=1000 * seconds, compiled_share=rate and operations / seconds / rate)


def _median_seconds(step: Step, rounds: int, device: torch.device) -> float:
    return statistics.median([seconds_of(step, device) for _ in range(rounds + 2)][2:])  # two warm up


def _memory_gib(part: Part) -> float | None:
    return torch.cuda.max_memory_allocated() / 2**30 if part.device == "cuda" else None


def _against_plain(part: Part, model: ClipGs, batch, rounds: int) -> None:
    """With half the objects for as long as the plain step does not fit into the device's memory."""
    count = len(batch)
    while count:
        try:
            times, _ = turns(model, first_of(batch, count), True, rounds, torch.device(part.device))
        except torch.OutOfMemoryError:
            count //= 2
        else:
            plain, ratio = statistics.median(times["plain"]), statistics.median(ratios_of(times))
            part.figures.put(plain_step_ms=1000 * plain, times_the_plain_step=ratio, plain_objects=count)
            return
        model.zero_grad()
        torch.cuda.empty_cache()


def _train_on_files(part: Part) -> None:
    run = part.scratch / "run"
    shutil.copytree(part.kit / "run", run)
    shape = json.loads((run / "dataset" / "index.json").read_text())["shape"]
    sizes = ["--model.gaussians", str(shape["gaussians"]), "--batch", "2" if part.toy else "16"]
    sizes += ["--steps", "4" if part.toy else "100"]
    done = subprocess.run(module("pipeline", "train", "demo", "--run", run, "--name", "kit", *sizes))
    part.figures.put(trainer_on_files="ok" if done.returncode == 0 else f"exit code {done.returncode}")
    if done.returncode:
        raise SystemExit("the trainer failed on the kit's dataset")


if __name__ == "__main__":
    main(read_arguments())
