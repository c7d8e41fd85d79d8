"""Write the model card of an exported checkpoint."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from manifests.markdown import front_matter, table
from stages.clip_gs.evaluation.intervals import Figure
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
    name: str, model: ClipGs, description: dict[str, Any], folder: Path, licence: str, results: Sequence[dict[str, Any]]
) -> None:
    """Write README.md beside the weights, and the results of evaluations to a folder of their own."""
    for result in results:
        (folder / EVALUATION).mkdir(exist_ok=True)
        text = json.dumps(result, indent=1, ensure_ascii=False)
        (folder / EVALUATION / f"{result['name']}.json").write_text(f"{text}\n")
    settings, seen = description["settings"], description["settings"]["model"]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    megabytes = (folder / WEIGHTS).stat().st_size / 1e6
    minutes = description["seconds"] / 60
    figures = "\n".join(map(_figures, results)) or "**Figures.** None were given.\n"
    front = {**({"license": licence} if licence else {}), "tags": ["gaussian-splatting", "clip", "3d"]}
    (folder / CARD).write_text(
        f"""{front_matter(front)}
# {name}

A CLIP-GS: it computes vectors of Gaussian splats in the space of `{description["teacher"]}`, with
{description["dimension"]} numbers each.

- Size {seen["size"]}, {parameters / 1e6:.1f} M parameters, {megabytes:.1f} MB with matrices in half precision.
- Input: {seen["gaussians"]:,} Gaussians per object, in {seen["patches"]} patches of {seen["neighbours"]}.
- Tokens: {seen["tokens"]}. Weights: `{identity(model, "").removeprefix("@")}`.

```sh
gs-triplets encode --checkpoint FOLDER --dataset RUN --out vectors.parquet
gs-triplets evaluate --checkpoint FOLDER --dataset RUN
```

**Data.** {description["objects"]:,} objects of {len(description["categories"])} categories, dataset
`{description["dataset"]}`:
{", ".join(description["categories"])}.

**Training.** Step {description["step"]:,} of {description["steps"]:,}, {settings["batch"]} objects each, after \
{minutes:.0f} minutes.
All settings are in `config.json`.

{figures}
**Limits.** It was trained on these categories only, and its vectors compare only with those of this teacher.
"""
    )


def _figures(result: dict[str, Any]) -> str:
    rows, dataset = result["rows"], result["dataset"]
    own, teacher, chance = rows[0], rows[-2], rows[-1]
    lines = []
    for title, (kind, group, figure) in _FIGURES.items():
        cells = [(row[kind].get(group) or {}).get(figure) for row in (own, teacher, chance)]
        if cells[0]:
            lines.append([title, *map(_cell, cells)])
    probes = [row["few_shot"][_PROBE] for row in (own, teacher, chance)]
    if "skipped" not in probes[0]:
        lines.append(["linear probe, 10-way 10-shot", *(f"{100 * probe['mean']:.1f}" for probe in probes)])
    warnings = "".join(f"\n**Note:** {line}.\n" for line in doubts(result))
    splits = ", ".join(dataset["splits"])
    return f"""**Figures**, percent with 95% intervals, of {dataset["objects"]:,} objects of split {splits}
(dataset `{dataset["identity"]}`); all of them are in `{EVALUATION}/{result["name"]}.json`:

{table(["", "this model", "teacher on views", "chance"], lines)}
{warnings}"""


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return ""
    value, low, high = figure["value"], figure["low"], figure["high"]
    interval = "" if low is None or high is None else f" ({100 * low:.1f} to {100 * high:.1f})"
    return f"{100 * value:.1f}{interval}"
