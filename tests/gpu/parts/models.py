"""A teacher of ViT-B/32's shape and a captioner of about 2 billion weights, both random, through their stages."""

from __future__ import annotations

import statistics
from pathlib import Path

import torch

from manifests.store import LocalStore
from stages.contract.stage import Context
from stages.embed import Embed
from tests.benchmarks.caption import Clocked, made, stage_for
from tests.benchmarks.caption import measure as measure_captions
from tests.benchmarks.embed import measure as measure_images
from tests.benchmarks.embed import write_vit_b_32
from tests.gpu.fitting import objects_at_256, objects_at_512
from tests.gpu.objects import views_of
from tests.gpu.part import Part, cores, read_arguments
from tests.stages.checkpoints import write_clip
from tests.stages.vlm_checkpoints import Scale

_TWO_BILLION = Scale(width=2048, layers=24, head=128, picture=256)
_VIEWS = 24


def main(part: Part) -> None:
    paths, threads = _views(part), 1 if part.toy else cores()
    write = write_clip if part.toy else write_vit_b_32
    stage = Embed(model=str(write(part.scratch / "teacher"))).resolve(gpus=part.device == "cuda")
    found = measure_images(stage, paths, part.device, threads=threads, rounds=1 if part.toy else 3)
    part.figures.put(
        teacher_images_a_second=statistics.median(found["rates"]), teacher_share=statistics.median(found["shares"])
    )
    model = _captioner(part)
    context = Context(LocalStore(str(part.scratch)), part.scratch, part.device, threads)
    writer = Clocked(str(model), None, part.device, threads)
    part.figures.put(captioner_weights=sum(weight.numel() for weight in writer.model.parameters()) / 1e9)
    for at_once in (1,) if part.toy else (16, 64):
        found = measure_captions(stage_for(model, 1 if part.toy else 6, at_once), paths, context, writer)
        part.figures.put(
            **{f"captions_a_second_{at_once}_at_once": found["captions_a_second"]},
            captioner_other_share=found["other_share"],
        )


def _views(part: Part) -> list[Path]:
    """Archives of 24 views each, as the stage render writes them."""
    objects = objects_at_512(part, 2) if part.toy else objects_at_256(part, 4)
    paths = [part.scratch / f"{one.name}.zip" for one in objects]
    for one, path in zip(objects, paths, strict=True):
        path.write_bytes(views_of(one, _VIEWS).to_bytes())
    return paths


def _captioner(part: Part) -> Path:
    """Made on the device itself, which draws two billion random numbers in no time."""
    torch.set_default_dtype(torch.bfloat16 if part.device == "cuda" else torch.float32)
    try:
        with torch.device(part.device):
            return made(part.scratch / "captioner", "qwen2_5_vl", Scale() if part.toy else _TWO_BILLION)
    finally:
        torch.set_default_dtype(torch.float32)


if __name__ == "__main__":
    main(read_arguments())
