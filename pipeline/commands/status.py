"""The command `status`: show how far a run is, during a build or after it, and how good what it made is."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from manifests.distribution import number
from manifests.lease import find_holder
from manifests.text import message
from pipeline.command_line.called import program
from pipeline.command_line.console import plain_console
from pipeline.command_line.counted import counted
from pipeline.command_line.options import positive
from pipeline.commands.figure_table import figure_table
from pipeline.planning.choices import count_choices
from pipeline.planning.counting import count_rows
from pipeline.planning.failed_rows import list_failed
from pipeline.planning.figures import Figures, choice_line, to_table
from pipeline.planning.quality import Measured, worst_rows
from pipeline.planning.run import Run, open_run
from pipeline.planning.warnings import Warnings, describe_row
from pipeline.planning.weak_captions import list_weak, why_none

_TITLES = {
    "failed": "Failed rows",
    "weak_captions": "Weak captions, lowest score first",
    "worst": "Fits, the worst first",
    "warnings": "Objects with warnings",
}


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("status", parents=[common], help="show how far a run is, and how good its fits are")
    parser.add_argument("--run", required=True, help="the run folder: a path or a URI")
    parser.add_argument("--failed", action="store_true", help="list every failed row with stage, reason and detail")
    parser.add_argument("--weak", action="store_true", help="list the captions with the teacher's lowest scores")
    parser.add_argument("--worst", type=positive, metavar="N", help="list the N objects with the worst fits")
    parser.add_argument("--warnings", action="store_true", help="list the objects with warnings")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace, overrides: dict[str, Any]) -> int:
    run = open_run(options.run)
    holder = find_holder(run.store)
    reported = holder.beat.get("status") if holder.at_work else None
    figures: Figures = reported or count_rows(run.plan)
    for stage, counts in count_choices(run).items():
        if counts and stage in figures:
            figures[stage]["choices"] = dict(counts)
    warnings = Warnings.of(run)
    lists: dict[str, list[dict[str, Any]]] = {}
    if options.failed:
        lists["failed"] = list_failed(run)
    if options.weak:
        lists["weak_captions"] = list_weak(run)
    if options.worst:
        lists["worst"] = [describe_row(warnings, row) for row in worst_rows(warnings.measured, options.worst)]
    if options.warnings:
        lists["warnings"] = warnings.listed()
    if options.json:
        _add_figures(figures, warnings.measured)
        shown = {"run": run.store.root, "building": holder.at_work, "stages": figures, **lists}
        json.dump(shown, sys.stdout, indent=1, ensure_ascii=False)
        print()
        return 0
    console = plain_console()
    at_work = f"a build is at work (host {holder.host}, process {holder.pid})"
    state = at_work if holder.at_work else "no build is at work"
    console.print(to_table(figures, f"{run.store.root}: {counted(len(run.listing), 'row')}; {state}"))
    _print_notes(console, run, figures)
    if warnings.measured:
        console.print(figure_table(warnings.measured, console))
    _print_warnings(console, warnings)
    _print_lists(console, run, lists)
    return 0


def _add_figures(figures: Figures, measured: list[Measured]) -> None:
    for each in measured:
        if each.stage in figures:
            stage, column = figures[each.stage], each.figure.column
            stage.setdefault("medians", {})[column] = float(np.median(each.known))
            stage.setdefault("figures", {})[column] = each.distribution.summary()


def _print_notes(console: Console, run: Run, figures: Figures) -> None:
    """What the reasons in the table mean and what to do, and what `auto` chose."""
    for step in (*run.plan.steps.values(), run.recipe.block_step()):
        shown = figures.get(step.name)
        if shown is None:
            continue
        for reason in step.stage.reasons:
            if reason.word in shown["reasons"]:
                note = f"{step.name}, {reason.word}: {reason.meaning}. What to do: {reason.remedy}."
                console.print(note)
        if step.stage.shown.choice and "choices" in shown:
            console.print(f"{step.name}: {choice_line(step.stage.shown.choice, shown['choices'])}")


def _print_warnings(console: Console, warnings: Warnings) -> None:
    """How many objects have warnings, and which options list them."""
    low = [
        f"{counted(each.count_far_below, 'object')} by {each.figure.column} (below {number(each.far_below)})"
        for each in warnings.measured
        if each.far_below is not None and each.count_far_below
    ]
    if low:
        console.print(f"Fits far below the others: {', '.join(low)}. To list the worst: --worst 20")
    captions = [
        f"{count:,} of kind {kind} (score below {number(limit)})"
        for kind, (limit, count) in warnings.disagreeing.items()
    ]
    if captions:
        console.print(f"Captions that disagree with the views: {', '.join(captions)}. To list the weakest: --weak")
    warned = len({row for row, _ in warnings.recorded()})
    if warned:
        console.print(f"Warnings of stages: {counted(warned, 'object')}. To list them: --warnings")


def _print_lists(console: Console, run: Run, lists: dict[str, list[dict[str, Any]]]) -> None:
    none = {"failed": "No failed rows.", "worst": "No fit has been measured.", "warnings": "No warnings."}
    none["weak_captions"] = why_none(run)
    for name, rows in lists.items():
        if rows:
            _print_rows(console, _TITLES[name], rows)
        else:
            console.print(none[name])
        if rows and name == "worst":
            sheet = f"{program()} sheet --run {run.store.root} --worst {len(rows)} --splats"
            console.print(f"To see them: {sheet}", soft_wrap=True)


def _print_rows(console: Console, title: str, rows: list[dict[str, Any]]) -> None:
    table = Table(title=title, title_justify="left", show_lines=False, header_style="bold", pad_edge=False)
    for column in rows[0]:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    console.print(table)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return "\n".join(map(_cell, value)) if isinstance(value, list) else message(value or "")
