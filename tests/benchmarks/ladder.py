"""The paper's ablation in small, on the demo corpus: what each part of the method adds, over several seeds.

python -m tests.benchmarks.ladder [--run runs/corpus] [--count 2500] [--seeds 3] [--epochs 30]

A cell is a training and its evaluation, by the commands that anyone runs. What the run holds of dataset and cells is
not done again; a cell is named by its dataset and settings, so that none of others is taken for it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.settings import OF_TRAIN, load, take_overrides
from stages.clip_gs.data.shards import Dataset
from stages.clip_gs.settings import Training

RUNGS = {
    "points": ("position and colour", {"model.tokens": "points", "loss.voting": "none"}),
    "attributes": ("all attributes, one branch", {"model.tokens": "attributes", "loss.voting": "none"}),
    "tokenizer": ("all attributes, GS Tokenizer", {"model.tokens": "gaussians", "loss.voting": "none"}),
    "voting": ("and image voting", {"model.tokens": "gaussians", "loss.voting": "paper"}),
}
# Smaller than the preset's, so that a cell ends in minutes; negatives are from the batch alone, as in the paper.
SMALL = {
    "model.gaussians": 1024, "model.patches": 32, "model.neighbours": 48, "loss.image": 1.0, "ema": 0.99, "batch": 64,
    "steps": "null", "data.others": 0,
}  # fmt: skip
FIGURES = {
    "zero-shot Top-1": ("zero_shot", "all", "top_1"),
    "text to 3D R@1": ("retrieval", "text_to_3d", "r_1"),
    "3D to text R@1": ("retrieval", "3d_to_text", "r_1"),
    "image to 3D R@1": ("retrieval", "image_to_3d", "r_1"),
    "3D to image R@1": ("retrieval", "3d_to_image", "r_1"),
    "colour Top-1": ("attributes", "color", "top_1"),
    "pattern Top-1": ("attributes", "pattern", "top_1"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, default=Path("runs/corpus"), help="where dataset and cells are made")
    parser.add_argument("--count", type=int, default=2500, help="objects of the dataset")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=30)
    asked = parser.parse_args()
    _call("build", "corpus", "--run", asked.run, "--engine", "local", "--corpus.count", asked.count)
    rows = {rung: [cell(asked, rung, seed) for seed in range(asked.seeds)] for rung in RUNGS}
    Console(width=200).print(to_table(rows))


def cell(asked: argparse.Namespace, rung: str, seed: int) -> list[dict[str, Any]]:
    """The rows of its evaluation: the checkpoint, the teacher, chance."""
    settings = {**SMALL, **RUNGS[rung][1], "seed": seed, "data.seed": seed, "epochs": asked.epochs}
    if rung == "voting":  # votes are no shares: without this the rung would show what a weaker image loss does
        settings["loss.image"] = round(1 / mean_vote(asked.run), 2)
    words = [str(word) for field, value in settings.items() for word in (f"--{field}", value)]
    whole = load(Training, "corpus", take_overrides(words, Training)[1], OF_TRAIN)
    known = _hash_of(Dataset.open(str(asked.run)).identity, whole.model_dump(exclude_unset=True))
    name = f"ladder-{rung}-{seed}-{known}"
    result = asked.run / "evaluation" / f"{name}.json"
    if not result.exists():
        _call("train", "corpus", "--run", asked.run, "--name", name, *words)
        last = asked.run / "training" / name / "last.pt"
        _call("evaluate", "--checkpoint", last, "--dataset", asked.run, "--name", name)
    return json.loads(result.read_text())["rows"]


def mean_vote(run: Path) -> float:
    """A view's vote is its cosine to the caption; a caption's score is their mean over the views."""
    tables = Dataset.open(str(run)).rows("train", ["captions"])
    return statistics.mean(
        caption["score"] for table in tables for of_row in table["captions"].to_pylist() for caption in of_row
    )


def _hash_of(*parts: Any) -> str:
    return hashlib.blake2b(repr(parts).encode(), digest_size=3).hexdigest()


def to_table(rows: dict[str, list[list[dict[str, Any]]]]) -> Table:
    seeds = len(next(iter(rows.values())))
    table = Table(title=f"Percent, mean and deviation over {seeds} seeds", title_justify="left")
    for column in ("", *FIGURES):
        table.add_column(column)
    for rung, cells in rows.items():
        table.add_row(RUNGS[rung][0], *(_mean([_figure(found[0], place) for found in cells]) for place in _places()))
    _, teacher, chance = next(iter(rows.values()))[0]
    for name, row in (("teacher on views", teacher), ("chance", chance)):
        table.add_row(name, *(_mean([_figure(row, place)]) for place in _places()))
    return table


def _places() -> list[tuple[str, str, str]]:
    return list(FIGURES.values())


def _figure(row: dict[str, Any], place: tuple[str, str, str]) -> float | None:
    kind, name, figure = place
    group = row[kind].get(name)
    return group[figure]["value"] if group else None


def _mean(values: list[float | None]) -> str:
    if None in values:
        return "-"
    spread = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{spread}"


def _call(*words: Any) -> None:
    done = subprocess.run([sys.executable, "-m", "pipeline", *map(str, words)], check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
