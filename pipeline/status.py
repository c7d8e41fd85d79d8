"""What a run has come to, while a build is at work on it or after."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from manifests import dataset
from manifests.lease import find_holder
from manifests.weak import is_weak
from pipeline.figures import Figures, count_rows, to_table
from pipeline.plan import DUPLICATE, FAILED, OK
from pipeline.run import Run, open_run


def show_status(root: str, as_json: bool = False, failed: bool = False, weak: bool = False) -> None:
    run = open_run(root)
    holder = find_holder(run.store)
    told = holder.beat.get("status") if holder.at_work else None
    figures: Figures = told or count_rows(run.plan)
    rows = list_failed(run) if failed else []
    captions = list_weak(run) if weak else []
    if as_json:
        shown: dict[str, Any] = {"run": run.store.root, "building": holder.at_work, "stages": figures}
        if failed:
            shown["failed"] = rows
        if weak:
            shown["weak_captions"] = captions
        json.dump(shown, sys.stdout, indent=1, ensure_ascii=False)
        print()
        return
    console = Console()
    state = (
        f"a build is at work (host {holder.host}, process {holder.pid})" if holder.at_work else "no build is at work"
    )
    console.print(to_table(figures, f"{run.store.root}: {len(run.listing)} rows; {state}"))
    if failed:
        _print_rows(console, rows, ("id", "stage", "reason", "detail"), "No failed rows.")
    if weak:
        _print_rows(console, captions, ("id", "kind", "score", "text"), "No weak captions: none has a score that low.")


def _print_rows(console: Console, rows: list[dict[str, Any]], columns: tuple[str, ...], none: str) -> None:
    if not rows:
        console.print(none)
        return
    table = Table(show_lines=False, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(f"{value:.3f}" if isinstance(value, float) else value) for value in row.values()))
    console.print(table)


def list_weak(run: Run) -> list[dict[str, Any]]:
    """The captions that the dataset's index marks as weak, the weakest first."""
    index = dataset.read_index(run.store)
    if index is None or "align" not in run.plan.steps:
        return []
    ids, below = run.listing.ids, index.get("weak_captions", {}).get("below", {})
    found = {stage: dict(_columns(run, stage)) for stage in ("caption", "align")}
    rows = []
    for place, aligned in found["align"].items():
        told = found["caption"].get(place, {}).get("captions", [])
        for caption, score in zip(told, aligned.get("caption_scores", []), strict=False):
            if is_weak(caption | {"score": score}, below):
                name = ids[place].as_py()
                rows.append({"id": name, "kind": caption["kind"], "score": score, "text": caption["text"]})
    return sorted(rows, key=lambda row: (row["score"], row["id"]))


def _columns(run: Run, stage: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each row that is ok at a stage, and the columns it got there."""
    fold, states = run.folder.fold(stage, run.listing.ids, ("status", "columns")), run.plan.states[stage]
    for place, record in zip(fold.rows.tolist(), fold.records.to_pylist(), strict=True):
        if states[place] == OK and record["status"] == "ok":
            yield place, json.loads(record["columns"] or "{}")


def list_failed(run: Run) -> list[dict[str, Any]]:
    """Every row that is not in the dataset, where it failed and why; duplicates among them."""
    plan, rows = run.plan, []
    ids = run.listing.ids
    for index in np.flatnonzero(plan.duplicates).tolist():
        kept = ids[plan.keeper_of(index)].as_py()
        rows.append(_row(ids[index].as_py(), plan.root, DUPLICATE, f"same content as {kept}, which is kept"))
    problems = run.listing.table.select(["id", "problem", "problem_detail"])
    for row in problems.filter(problems.column("problem").is_valid()).to_pylist():
        rows.append(_row(row["id"], plan.root, row["problem"], row["problem_detail"]))
    for stage in plan.steps:
        states = plan.states[stage]
        fold = run.folder.fold(stage, ids, ("status", "reason", "error"))
        for index, record in zip(fold.rows.tolist(), fold.records.to_pylist(), strict=True):
            if states[index] == FAILED and record["status"] == "failed":
                rows.append(_row(ids[index].as_py(), stage, record["reason"], record["error"]))
    return rows + _failed_blocks(run)


def _failed_blocks(run: Run) -> list[dict[str, Any]]:
    if not run.plan.blocks:
        return []
    latest = run.folder.latest(run.plan.blocks.name).to_pylist()
    return [
        _row(record["id"], run.plan.blocks.name, record["reason"], record["error"])
        for record in latest
        if record["status"] == "failed"
    ]


def _row(name: str, stage: str, reason: str, detail: str) -> dict[str, Any]:
    return {"id": name, "stage": stage, "reason": reason, "detail": detail}
