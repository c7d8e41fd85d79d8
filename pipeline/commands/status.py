"""The command `status`: show how far a run is, during a build or after it."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from manifests import dataset_index
from manifests.lease import find_holder
from manifests.log import read_object
from manifests.text import message
from manifests.weak import is_weak
from pipeline.command_line.console import plain_console
from pipeline.planning.counting import count_rows
from pipeline.planning.figures import DUPLICATE, Figures, median_line, to_table
from pipeline.planning.row_states import State
from pipeline.planning.run import Run, open_run
from stages.contract.shown import Figure
from stages.contract.stage import Stage


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("status", parents=[common], help="show how far a run is")
    parser.add_argument("--run", required=True, help="the run folder: a path or a URI")
    parser.add_argument("--failed", action="store_true", help="list every failed row with stage, reason and detail")
    parser.add_argument("--weak", action="store_true", help="list the captions with the teacher's lowest scores")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace, overrides: dict[str, Any]) -> int:
    show_status(options.run, as_json=options.json, failed=options.failed, weak=options.weak)
    return 0


def show_status(root: str, as_json: bool = False, failed: bool = False, weak: bool = False) -> None:
    run = open_run(root)
    holder = find_holder(run.store)
    reported = holder.beat.get("status") if holder.at_work else None
    figures: Figures = reported or count_rows(run.plan)
    _add_medians(run, figures)
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
    console = plain_console()
    state = (
        f"a build is at work (host {holder.host}, process {holder.pid})" if holder.at_work else "no build is at work"
    )
    console.print(to_table(figures, f"{run.store.root}: {len(run.listing)} rows; {state}"))
    _print_notes(console, run, figures)
    if failed:
        _print_rows(console, rows, ("id", "stage", "reason", "detail"), "No failed rows.")
    if weak:
        _print_rows(console, captions, ("id", "kind", "score", "text"), _no_weak(run))


def _print_notes(console: Console, run: Run, figures: Figures) -> None:
    """What the reasons in the table mean and what to do, and the medians of what the stages made."""
    for step in (*run.plan.steps.values(), run.recipe.block_step()):
        shown = figures.get(step.name)
        if shown is None:
            continue
        for reason in step.stage.reasons:
            if reason.word in shown["reasons"]:
                note = f"{step.name}, {reason.word}: {reason.meaning}. What to do: {reason.remedy}."
                console.print(note)
        for figure in step.stage.shown.figures:
            if figure.column in shown.get("medians", {}):
                console.print(f"{step.name}: {median_line(figure, shown['medians'][figure.column])}")


def _print_rows(console: Console, rows: list[dict[str, Any]], columns: tuple[str, ...], none: str) -> None:
    if not rows:
        console.print(none)
        return
    table = Table(show_lines=False, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else message(value) for value in row.values()))
    console.print(table)


def _add_medians(run: Run, figures: Figures) -> None:
    """Add the medians of the figures that the stages declare, over all rows that are ok."""
    for step in run.plan.steps.values():
        values: dict[Figure, list[float]] = {figure: [] for figure in step.stage.shown.figures}
        for _, outcome in _outcomes(run, step.stage) if values else ():
            for figure, known in values.items():
                if (value := figure.value(outcome)) is not None:
                    known.append(value)
        medians = {figure.column: statistics.median(known) for figure, known in values.items() if known}
        if medians and step.name in figures:
            figures[step.name]["medians"] = medians


def _no_weak(run: Run) -> str:
    """Why no caption is listed as weak."""
    if any(step.stage.shown.scores for step in run.plan.steps.values()):
        return "No weak captions."
    return "No caption has a score: scores come from a teacher, which a build takes with --embed.model MODEL."


def list_weak(run: Run) -> list[dict[str, Any]]:
    """The captions that are weak according to the dataset's index, lowest score first."""
    index = dataset_index.read_index(run.store)
    if index is None or "weak_captions" not in index:
        return []
    stages = [step.stage for step in run.plan.steps.values()]
    texts_by_row = _column(run, stages, "texts")
    scores_by_row = _column(run, stages, "scores")
    ids, below = run.listing.ids, index["weak_captions"]["below"]
    rows = []
    for number, scores in scores_by_row.items():
        for text, score in zip(texts_by_row.get(number, []), scores, strict=False):
            if is_weak(text | {"score": score}, below):
                rows.append({"id": ids[number].as_py(), "kind": text["kind"], "score": score, "text": text["text"]})
    return sorted(rows, key=lambda row: (row["score"], row["id"]))


def _column(run: Run, stages: list[Stage], shown: str) -> dict[int, list[Any]]:
    """By row, the column that a stage declares as its `texts` or `scores`."""
    return {
        number: outcome.get(getattr(stage.shown, shown), [])
        for stage in stages
        if getattr(stage.shown, shown)
        for number, outcome in _outcomes(run, stage)
    }


def _outcomes(run: Run, stage: Stage) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each row that is ok at a stage, with the columns that the stage gave it."""
    latest = run.log.latest_of(stage.name, run.listing.ids, ("status", "columns"))
    states = run.plan.states[stage.name]
    batches = latest.records.to_batches(max_chunksize=10_000)  # all at once take gigabytes in a long run
    records = (record for batch in batches for record in batch.to_pylist())
    for number, record in zip(latest.rows.tolist(), records, strict=True):
        if states[number] == State.OK and record["status"] == "ok":
            yield number, read_object(record["columns"])


def list_failed(run: Run) -> list[dict[str, Any]]:
    """Every row that is not in the dataset, with stage, reason and detail; also duplicates."""
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
        latest = run.log.latest_of(stage, ids, ("status", "reason", "error"))
        for index, record in zip(latest.rows.tolist(), latest.records.to_pylist(), strict=True):
            if states[index] == State.FAILED and record["status"] == "failed":
                rows.append(_row(ids[index].as_py(), stage, record["reason"], record["error"]))
    return rows + _failed_blocks(run)


def _failed_blocks(run: Run) -> list[dict[str, Any]]:
    if not run.plan.blocks:
        return []
    latest = run.log.latest(run.plan.blocks.name).to_pylist()
    return [
        _row(record["id"], run.plan.blocks.name, record["reason"], record["error"])
        for record in latest
        if record["status"] == "failed"
    ]


def _row(name: str, stage: str, reason: str, detail: str) -> dict[str, Any]:
    """One failure. An older version may have written the detail, without a limit."""
    return {"id": name, "stage": stage, "reason": reason, "detail": message(detail)}
