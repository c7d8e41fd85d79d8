"""Make one model: tokenizer, training, saving, figures, card."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stages.captioning.prompts import Prompts
from stages.common.progress_bar import progress_bar
from stages.common.training import history
from stages.corpus import captions
from stages.embedded.training import captioner, cards, clip, evaluation, loop, meshes, tokens
from stages.embedded.training.pictures import Library

SEED = 7
VOCABULARY = 1400  # more than the corpus's words need
BATCHES = {"clip": 128, "captioner": 64}
CLIP_SHAPE, CAPTIONER_SHAPE = clip.Shape(), captioner.Shape()
SCHEDULES = {"clip": loop.Schedule(5000, 4e-3, 2e-3), "captioner": loop.Schedule(2400, 4e-3, 2e-3, late_steps=600)}
MEASURED = 500  # objects of a split
AIMS = {  # the least that a shipped model should reach
    "clip": {"instances": {"recall_1": 0.5, "recall_5": 0.85, "category": 0.95}},
    "captioner": {
        "instances": {"category": 0.95, "color": 0.95, "pattern": 0.85},
        "combinations": {"category": 0.90, "color": 0.85, "pattern": 0.85},
    },
}
_WRITERS = (captions.phrase, captions.description, captions.tags, captions.mention)
_PROMPT_WEIGHT = 50  # how often each prompt is repeated among the texts, so that its words become tokens


def make(
    name: str,
    libraries: Mapping[str, Library],
    folder: Path,
    out: Path,
    device: str,
    steps: int | None = None,
    batch: int | None = None,
    built: Path | None = None,
) -> None:
    """Train in FOLDER/NAME and write the model to `out`, its card last. `built` is a run that was built with it."""
    schedule = replace(SCHEDULES[name], steps=steps, late_steps=0) if steps else SCHEDULES[name]
    own_folder, library = folder / name, libraries["train"]
    vocabulary = tokens.learn(_texts(library), VOCABULARY)
    training = (batch or BATCHES[name], SEED, device)
    if name == "clip":
        tokenizer_of, save = tokens.for_clip, clip.save
        task: Any = clip.ClipTask(CLIP_SHAPE, library, tokenizer_of(vocabulary), *training)
    else:
        tokenizer_of, save = tokens.for_captioner, captioner.save
        tokenizer = tokenizer_of(vocabulary)
        model = captioner.new_model(CAPTIONER_SHAPE, _trained_clip(out.parent / "clip"), tokenizer, SEED)
        task = captioner.CaptionerTask(model, library, tokenizer, *training, late_from=schedule.steps)
    with progress_bar(name) as report:
        loop.train(task, schedule, own_folder, lambda step, loss: report(step, schedule.all_steps, loss))
    saved = own_folder / "saved"
    shutil.rmtree(saved, ignore_errors=True)
    save(task.model.eval().cpu(), tokenizer_of(vocabulary), saved)  # a new tokenizer: a used one saves its padding too
    figures = {split: measure(name, saved, libraries[split], device) for split in ("instances", "combinations")}
    if built is not None:
        figures["meshes"] = meshes.figures(name, saved, built)
    cards.write(name, saved, libraries["train"], schedule, figures, own_folder / history.FILE)
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(saved, out)
    print(f"{out}: {_verdict(name, figures)}")


def _verdict(name: str, figures: Mapping[str, Mapping[str, float]]) -> str:
    """List the figures that have an aim, and whether they reach it."""
    parts = []
    for split, aims in AIMS[name].items():
        for figure, aim in aims.items():
            share = figures[split][figure]
            parts.append(f"{split} {figure} {share:.3f} ({'aim' if share >= aim else 'BELOW ITS AIM'} {aim})")
    return ", ".join(parts)


def measure(name: str, folder: Path, library: Library, device: str, count: int = MEASURED) -> dict[str, float]:
    if name == "clip":
        return evaluation.clip_figures(folder, library, count, device)
    return evaluation.captioner_figures(folder, library, count, device)


def _texts(library: Library) -> Iterator[str]:
    """Yield the texts that the tokenizer is trained on."""
    rng = np.random.default_rng(SEED)
    for row in library.rows:
        yield from (write(row, rng) for write in _WRITERS)
    for prompt in [*Prompts().asked().values(), *captioner.BRIEF.values()]:
        yield from [prompt] * _PROMPT_WEIGHT


def _trained_clip(folder: Path) -> Any:
    import torch
    from transformers import CLIPModel

    if not (folder / "config.json").exists():
        raise SystemExit(f"{folder}: no CLIP there, whose image encoder the captioner needs; make it first: MODEL clip")
    return CLIPModel.from_pretrained(folder, dtype=torch.float32)
