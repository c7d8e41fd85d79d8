"""A shipped checkpoint's card: what it is, of what it was made, how good it is and where it ends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.clip_gs.evaluation.table import doubts
from stages.clip_gs.network.model import ClipGs
from stages.clip_gs.training.checkpoint import WEIGHTS, identity

CARD, EVALUATION = "README.md", "evaluation"
_FIGURES = {
    "zero-shot Top-1, categories trained": ("zero_shot", "trained", "top_1"),
    "zero-shot Top-1, categories never trained": ("zero_shot", "never_trained", "top_1"),
    "the same, among themselves": ("zero_shot", "never_trained_among_themselves", "top_1"),
    "zero-shot Top-1": ("zero_shot", "all", "top_1"),
    "colour Top-1": ("attributes", "color", "top_1"),
    "pattern Top-1": ("attributes", "pattern", "top_1"),
    "text to 3D R@1": ("retrieval", "text_to_3d", "r_1"),
    "text to 3D R@5": ("retrieval", "text_to_3d", "r_5"),
    "3D to text R@5": ("retrieval", "3d_to_text", "r_5"),
    "image to 3D R@1": ("retrieval", "image_to_3d", "r_1"),
    "image to 3D R@5": ("retrieval", "image_to_3d", "r_5"),
    "3D to image R@5": ("retrieval", "3d_to_image", "r_5"),
}
_PROBE = "10_way_10_shot"


def write(
    name: str, model: ClipGs, told: dict[str, Any], folder: Path, licence: str, results: Sequence[dict[str, Any]]
) -> None:
    """README.md beside the weights, and the results of evaluations as they are in a folder of their own."""
    for result in results:
        (folder / EVALUATION).mkdir(exist_ok=True)
        text = json.dumps(result, indent=1, ensure_ascii=False)
        (folder / EVALUATION / f"{result['name']}.json").write_text(f"{text}\n")
    settings, seen = told["settings"], told["settings"]["model"]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    megabytes = (folder / WEIGHTS).stat().st_size / 1e6
    minutes = told["seconds"] / 60
    figures = "\n".join(map(_figures, results)) or "**Figures.** None were given.\n"
    head = f"license: {licence}\n" if licence else ""
    (folder / CARD).write_text(
        f"""---
{head}tags: [gaussian-splatting, clip, 3d]
---

# {name}

A CLIP-GS: it turns Gaussian splats into vectors of the space of `{told["teacher"]}`, {told["dimension"]} numbers each.

- Size {seen["size"]}, {parameters / 1e6:.1f} M parameters, {megabytes:.1f} MB with matrices in half precision.
- It sees {seen["gaussians"]:,} Gaussians of an object, in {seen["patches"]} patches of {seen["neighbours"]}.
- Tokens: {seen["tokens"]}. Weights: `{identity(model, "").removeprefix("@")}`.

```sh
python -m pipeline encode --checkpoint FOLDER --dataset RUN --out vectors.parquet
python -m pipeline evaluate --checkpoint FOLDER --dataset RUN
```

**Data.** {told["objects"]:,} objects of {len(told["categories"])} categories, dataset `{told["dataset"]}`:
{", ".join(told["categories"])}.

**Training.** Step {told["step"]:,} of {told["steps"]:,}, {settings["batch"]} objects each, after {minutes:.0f} minutes.
All settings are in `config.json`.

{figures}
**Limits.** It has learnt from these categories alone, and compares only with vectors of this teacher.
"""
    )


def _figures(result: dict[str, Any]) -> str:
    rows, dataset = result["rows"], result["dataset"]
    own, teacher, chance = rows[0], rows[-2], rows[-1]
    lines = []
    for title, (kind, group, figure) in _FIGURES.items():
        cells = [((row[kind].get(group) or {}).get(figure) or {}) for row in (own, teacher, chance)]
        if cells[0].get("value") is not None:
            lines.append(f"| {title} | {' | '.join(map(_cell, cells))} |")
    probes = [row["few_shot"][_PROBE] for row in (own, teacher, chance)]
    if "skipped" not in probes[0]:
        means = (f"{100 * probe['mean']:.1f}" for probe in probes)
        lines.append(f"| linear probe, 10-way 10-shot | {' | '.join(means)} |")
    table = "\n".join(lines)
    warnings = "".join(f"\n**Mind:** {line}.\n" for line in doubts(result))
    splits = ", ".join(dataset["splits"])
    return f"""**Figures**, percent with 95% intervals, of {dataset["objects"]:,} objects of split {splits}
(dataset `{dataset["identity"]}`); all of them are in `{EVALUATION}/{result["name"]}.json`:

| | this model | teacher on views | chance |
|---|---|---|---|
{table}
{warnings}"""


def _cell(figure: dict[str, float | None]) -> str:
    if figure.get("value") is None:
        return ""
    value = f"{100 * figure['value']:.1f}"
    return value if figure["low"] is None else f"{value} ({100 * figure['low']:.1f} to {100 * figure['high']:.1f})"
