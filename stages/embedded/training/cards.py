"""Write the model card of an embedded model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from manifests.markdown import front_matter, table
from stages.common.training import history
from stages.embedded.training.loop import Schedule
from stages.embedded.training.pictures import Library

FIGURES = "figures.yaml"  # for a test that measures again; not JSON, which would count as part of the model
_TITLES = {"clip": "Mini CLIP", "captioner": "Mini captioner"}
_CLASSES = {"clip": ("zero-shot-image-classification", "`CLIPModel`"), "captioner": ("image-text-to-text", "LLaVA")}
_SPLITS = {
    "instances": "new objects",
    "combinations": "new objects whose colour and category were never trained together",
    "meshes": "meshes that others made, of the categories it knows",
}


def write(
    name: str,
    folder: Path,
    library: Library,
    schedule: Schedule,
    figures: Mapping[str, Mapping[str, float]],
    curve: Path,
) -> None:
    """Write README.md and figures.yaml beside the weights."""
    (folder / FIGURES).write_text(
        yaml.safe_dump({split: dict(values) for split, values in figures.items()}, sort_keys=False)
    )
    megabytes = (folder / "model.safetensors").stat().st_size / 1e6
    seconds = history.read(curve)[-1]["seconds"]
    task, kind = _CLASSES[name]
    (folder / "README.md").write_text(
        f"""{front_matter({"license": "apache-2.0", "library_name": "transformers", "pipeline_tag": task})}
# {_TITLES[name]}

{kind} of {megabytes:.1f} MB in half precision, trained from nothing by gs-triplets on its demo corpus. It is there so
that the product can be tried without a network. It knows the corpus's 48 kinds of things and twelve colours, and
nothing else.

**Data.** {len(library):,} objects of the corpus with {library.views} views each, drawn by the product's own renderer,
and texts made from each object's true attributes: reference captions, phrases, descriptions, tags. One in eight pairs
of category and colour was kept back.

**Training.** {schedule.all_steps:,} steps in {seconds / 60:.0f} minutes: `make embedded-models`. The curve is
`curve.jsonl` in the training folder.

**Figures**, shares of objects (`figures.yaml`):

{_table(figures)}

**Limits.** On anything but the demo corpus it is mostly wrong: use a real model there. English alone. Numbers of
parts and small features are often wrong.
"""
    )


def _table(figures: Mapping[str, Mapping[str, float]]) -> str:
    names = [name for name in next(iter(figures.values())) if name != "objects"]
    rows = [
        [f"{values['objects']} {_SPLITS[split]}", *(f"{values[name]:.3f}" if name in values else "" for name in names)]
        for split, values in figures.items()
    ]
    return table(["", *(name.replace("_", " @ ") for name in names)], rows)
