"""Show an evaluation's result as a table: a line for each figure, a column for each checkpoint, teacher and chance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table
from rich.text import Text

from stages.clip_gs.evaluation.intervals import Figure
from stages.clip_gs.evaluation.zero_shot import CUTOFFS

Line = tuple[str, list[str]]  # the figure, and its cell in each column

_FIRST_WIDTH = 42
_DIRECTIONS = {
    "text_to_3d": "text to 3D",
    "3d_to_text": "3D to text",
    "image_to_3d": "image to 3D",
    "3d_to_image": "3D to image",
}
_GROUPS = {
    "all": "all",
    "trained": "categories trained",
    "never_trained": "categories never trained",
    "never_trained_among_themselves": "never trained, among themselves",
}


def to_table(result: dict[str, Any]) -> Table:
    rows, dataset = result["rows"], result["dataset"]
    title = f"{dataset['objects']} objects of split {', '.join(dataset['splits'])}: percent, and 95% intervals"
    table = Table(title=title, title_justify="left", header_style="bold", pad_edge=False)
    table.add_column("", max_width=_FIRST_WIDTH)
    for row in rows:
        table.add_column(_heading(row), justify="right", no_wrap=True)
    for heading, counted, lines in _sections(result):
        table.add_section()
        table.add_row(Text.assemble((heading, "bold"), "\n", (counted, "dim")))
        for name, cells in lines:
            table.add_row(f"  {name}", *cells)
    return table


def doubts(result: dict[str, Any]) -> list[str]:
    """Return the warnings that a reader of the figures needs."""
    dataset, rows = result["dataset"], result["rows"]
    lines = []
    if dataset["left_out"]:
        lines.append(f"{dataset['left_out']} of {dataset['rows']} rows could not be used and are left out")
    for row in rows:
        if row.get("trained_on") == dataset["identity"] and row["trained_split"] in dataset["splits"]:
            lines.append(f"{row['name']}: was trained on split {row['trained_split']}: figures are far too high")
        if row["kind"] == "checkpoint" and row["model"]["gaussians"] > dataset["gaussians"]:
            lines.append(
                f"{row['name']}: uses {row['model']['gaussians']:,} Gaussians, but objects have at most "
                f"{dataset['gaussians']:,}: they are repeated"
            )
        if row.get("chosen_by") in dataset["splits"]:
            lines.append(
                f"{row['name']}: its step was chosen on split {row['chosen_by']}: figures are slightly too high"
            )
    return lines


def notes(result: dict[str, Any]) -> list[str]:
    """Return the warnings, and the probes that were skipped."""
    reasons: dict[str, list[str]] = {}
    for cell in result["rows"][0]["few_shot"].values():
        if "skipped" in cell:
            reasons.setdefault(cell["skipped"], []).append(f"{cell['ways']}-way {cell['shots']}-shot")
    missing = [f"No linear probes of {', '.join(probes)}: {reason}" for reason, probes in reasons.items()]
    return doubts(result) + missing


def _heading(row: dict[str, Any]) -> str:
    return "teacher on views" if row["kind"] == "teacher" else row["name"]


def _sections(result: dict[str, Any]) -> Iterator[tuple[str, str, list[Line]]]:
    """Yield a heading, what was counted, and the lines."""
    rows = result["rows"]
    first = rows[0]
    for name, group in first["zero_shot"].items():
        untrained = name == "all" and not result["settings"]["trained"]
        heading = f"Zero-shot, {_GROUPS['never_trained' if untrained else name]}"
        counted = f"{group['objects']} objects, {group['among']} classes"
        yield heading, counted, _accuracies([row["zero_shot"][name] for row in rows])
    for name, group in first["attributes"].items():
        heading, counted = f"Zero-shot by {name}", f"{group['objects']} objects, {group['among']} answers"
        yield heading, counted, _accuracies([row["attributes"][name] for row in rows])[:2]
    for name, recalls in first["retrieval"].items():
        counted = f"{recalls['queries']} queries among {recalls['gallery']}"
        cells = [row["retrieval"][name] or {} for row in rows]
        lines = [(f"R@{n}", [_cell(cell.get(f"r_{n}")) for cell in cells]) for n in (1, 5, 10)]
        yield f"Retrieval, {_DIRECTIONS[name]}", counted, lines
    probes = [
        (f"{cell['ways']}-way {cell['shots']}-shot", [_probe(row["few_shot"][name]) for row in rows])
        for name, cell in first["few_shot"].items()
        if "skipped" not in cell
    ]
    if probes:
        yield "Linear probes", "mean and deviation over seeds", probes


def _accuracies(groups: list[dict[str, Any]]) -> list[Line]:
    """Leave out Top-k where there are k classes or fewer."""
    return [
        (f"Top-{k}{kind}", [_cell(group[f"{prefix}top_{k}"]) for group in groups])
        for k in CUTOFFS
        for prefix, kind in (("", ""), ("class_", ", mean of classes"))
        if k < groups[0]["among"]
    ]


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    value, low, high = figure["value"], figure["low"], figure["high"]
    interval = "" if low is None or high is None else f" [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{100 * value:.1f}{interval}"


def _probe(cell: dict[str, Any]) -> str:
    if "skipped" in cell:
        return "-"
    mean = f"{100 * cell['mean']:.1f}"
    return mean if cell["deviation"] is None else f"{mean} ± {100 * cell['deviation']:.1f}"
