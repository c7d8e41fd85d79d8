"""Print the summary of a build: what was made, where it is, how long each stage took, and what to try next."""

from __future__ import annotations

import statistics
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from manifests.text import message
from pipeline.command_line.called import program, python
from pipeline.command_line.console import plain_console
from pipeline.planning.figures import median_line, to_clock
from pipeline.running.build import BuildRequest
from pipeline.running.report import Report


def print_summary(request: BuildRequest, report: Report) -> None:
    console = plain_console(soft_wrap=True)
    again = f"{program()} status --run {request.run} --failed"
    if report.stopped_by:
        console.print("Stopped. Finished work is kept; run the same command again to resume.")
        return
    if report.worked:
        console.print(_stage_table(report))
    else:
        console.print("Nothing to do: everything is up to date.")
    if report.index is not None:
        rows, sizes = report.index["rows"], report.index["bytes"]
        splits = ", ".join(f"{name} {count}" for name, count in rows.items())
        where = f" ({splits}) in {len(report.index['shards'])} Parquet shards, {sum(sizes.values()) / 1e6:,.1f} MB: "
        triplets, folder = f"\n{sum(rows.values())} triplets", f"{request.run}/dataset"
        console.print(Text.assemble((triplets, "bold"), where, (folder, "bold")))
    for figure, values in report.values.items():
        console.print(f"{median_line(figure, statistics.median(values))} ({len(values)} rows in this build)")
    _print_texts(console, report.texts)
    if report.lost:
        console.print(f"{report.lost} rows failed; to see which and why: {again}")
    if report.unfinished:
        console.print(f"{report.unfinished} rows or shards could not be finished; run the same command again")
    console.print("\nTry next:")
    if report.index is not None and report.index["shards"]:
        console.print(
            f"  {python()} -c \"from datasets import load_dataset; print(load_dataset('{request.run}/dataset'))\""
        )
    console.print(f"  {again.removesuffix(' --failed')}")


def _print_texts(console: Console, texts: dict[str, list[dict[str, Any]]]) -> None:
    if texts:
        console.print("\nCaptions of the first objects; in brackets the teacher's score, if there is a teacher:")
    for name, captions in texts.items():
        console.print(Text(f"  {message(name)}", "bold"))
        for caption in captions:
            score = "" if caption["score"] is None else f" ({caption['score']:.2f})"
            console.print(f"    {caption['kind']}: {message(caption['text'])}{score}")


def _stage_table(report: Report) -> Table:
    table = Table(
        title=f"Built in {to_clock(report.seconds)}", title_justify="left", header_style="bold", pad_edge=False
    )
    for column in ("stage", "worked", "ok", "failed", "seconds of work", "seconds each"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for name, stage in report.figures.items():
        worked, seconds = report.worked[name], report.stage_seconds[name]
        each = f"{seconds / worked:.3f}" if worked else ""
        table.add_row(name, str(worked), str(stage["ok"]), str(stage["failed"]), f"{seconds:.1f}", each)
    return table
