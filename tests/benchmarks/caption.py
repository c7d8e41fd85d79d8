"""Captioning: captions a second through the stage, and the share that is not the model's own.

python -m tests.benchmarks.caption [--model PATH] [--family qwen2_5_vl] [--objects 4] [--views 6] [--at-once 1 16 64]

Without a model two with random weights are made, a tiny one and one of the shape of a small VLM (12 layers of 768 in
each tower). They answer every question with the same 48 words, so that each caption costs the same; speed does not
depend on what weights say. Views are of the demo corpus at 256², rendered before. Each object gets three captions. On a
CPU seconds are those that the process had of it, whatever else ran; it takes one object at a time. Where there is a
GPU, it is measured too, by the clock, for several numbers of objects at once.
"""

from __future__ import annotations

import argparse
import string
import tempfile
from itertools import islice, product
from pathlib import Path

import torch

from manifests.store import LocalStore
from stages.caption import Caption
from stages.captioning.engines.vlm import Captioner
from stages.captioning.writer import Writer
from stages.contract.stage import Context, Done, Row
from tests.benchmarks.clock import seconds_of
from tests.benchmarks.fit_objects import rendered
from tests.stages.vlm_checkpoints import FAMILIES, Scale, make_checkpoint

_VIEWS, _SIZE, _WORDS = 24, 256, 48
_SCALES = {"tiny": Scale(), "small": Scale(width=768, layers=12, head=64, picture=_SIZE)}


class Clocked(Writer):
    """Counts the model's own seconds, preparation of its inputs included."""

    def __init__(self, *given):
        super().__init__(*given)
        self.seconds = 0.0

    def write(self, *given):
        found = None

        def work() -> None:
            nonlocal found
            found = super(Clocked, self).write(*given)

        self.seconds += seconds_of(work, self.device.type)
        return found


def made(folder: Path, family: str, scale: Scale) -> Path:
    """A checkpoint that always answers with the same words."""
    words = " ".join("".join(word) for word in islice(product(string.ascii_lowercase, repeat=3), _WORDS))
    return make_checkpoint(folder, family, words, scale=scale)


def measure(stage: Caption, paths: list[Path], context: Context, writer: Clocked) -> dict[str, float]:
    """Captions a second through the stage, and the share of the time that is not the model's own."""
    device = context.device
    many = paths * (1 if device == "cpu" else -(-4 * stage.objects_at_once // len(paths)))
    rows: list[Row] = [{"id": str(number), "key": "00000001", "views": path.name} for number, path in enumerate(many)]
    work = Captioner(stage, context, writer).work
    seconds_of(lambda: list(work(rows[: stage.objects_at_once])), device)
    writer.seconds, outcomes = 0.0, []
    seconds = seconds_of(lambda: outcomes.extend(work(rows)), device)
    assert all(isinstance(outcome, Done) for _, outcome in outcomes), outcomes
    captions = len(stage.prompts.asked()) * len(rows)
    return {"captions": captions, "captions_a_second": captions / seconds, "other_share": 1 - writer.seconds / seconds}


def stage_for(model: Path, views: int, at_once: int) -> Caption:
    """Three captions of as many words as the checkpoints of this file say."""
    return Caption(
        engine="vlm", model=str(model), views=views, max_new_tokens=_WORDS + 1, objects_at_once=at_once
    )  # fmt: skip


def report(model: Path, paths: list[Path], options: argparse.Namespace) -> None:
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        context = Context(LocalStore(str(paths[0].parent)), paths[0].parent, device, options.threads)
        writer = Clocked(str(model), None, device, options.threads)
        size = sum(weight.numel() for weight in writer.model.parameters()) / 1e6
        where = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {options.threads} threads, CPU seconds"
        print(f"\n{model.name} ({type(writer.model).__name__}, {size:.1f} M, {writer.model.dtype}) on {where}")
        print(f"{'objects at once':>16}{'captions':>10}{'captions a second':>18}{'reading and cleaning':>26}")
        for at_once in [1] if device == "cpu" else options.at_once:
            found = measure(stage_for(model, options.views, at_once), paths, context, writer)
            print(
                f"{at_once:>16}{found['captions']:>10}{found['captions_a_second']:>18.2f}{found['other_share']:>26.0%}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a checkpoint (default: two with random weights)")
    parser.add_argument("--family", choices=FAMILIES, default=FAMILIES[0], help="of those with random weights")
    parser.add_argument("--objects", type=int, default=4, help="of the demo corpus")
    parser.add_argument("--views", type=int, default=6, help="that are shown of each")
    parser.add_argument("--threads", type=int, default=1, help="of a worker; on a GPU several prepare pictures")
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 16, 64], help="objects, on a GPU")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        paths = rendered(Path(scratch), _SIZE, _VIEWS, options.objects, None, 0)
        scales = {} if options.model else _SCALES
        made_here = [made(Path(scratch) / name, options.family, scale) for name, scale in scales.items()]
        for model in made_here or [options.model]:
            report(model, paths, options)


if __name__ == "__main__":
    main()
