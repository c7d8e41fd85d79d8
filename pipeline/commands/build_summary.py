"""Print the summary of a build: what was made, where it is, how long each stage took, and what to try next."""

from __future__ import annotations

import statistics
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from manifests.shards import DatasetIndex
from manifests.text import message
from pipeline.command_line.called import program, python
from pipeline.command_line.console import plain_console
from pipeline.command_line.counted import counted
from pipeline.planning.figures import choice_line, failure_lines, median_line
from pipeline.planning.preparation import BuildRequest
from pipeline.running.report import Report
from stages.common.telling import is_quiet, to_clock

NOTHING_TO_DO = "Nothing to do: everything is up to date."
_FAILURES = 8  # reasons that are shown


def print_summary(request: BuildRequest, report: Report, as_json: bool = False) -> None:
    """Print what was made and what failed, and, unless the command is quiet, figures and what to try next.

    With `as_json` it goes to standard error, since standard output is for events.
    """
    console = plain_console(soft_wrap=True, stderr=as_json)
    quiet = is_quiet()
    if report.stopped_by:
        console.print("Stopped. Finished work is kept; run the same command again to resume.")
        return
    if report.worked and not quiet:
        console.print(_stage_table(report))
        console.print()
    elif not report.worked:
        console.print(NOTHING_TO_DO)
    if report.index is not None and report.index["shards"]:
        console.print(_what_was_made(request, report.index))
    if not quiet:
        for figure, values in report.values.items():
            rows = counted(len(values), "row")
            console.print(f"{median_line(figure, statistics.median(values))} ({rows} in this build)")
        for choice, counts in report.choices.items():
            if counts:
                console.print(choice_line(choice, counts))
        _print_texts(console, report.texts)
    _print_failures(console, request, report)
    if not quiet:
        _print_next(console, request, report)


def summary_fields(request: BuildRequest, report: Report) -> dict[str, Any]:
    """The same for a program."""
    return {
        "dataset": f"{request.run}/dataset" if report.index else None,
        "rows": report.index["rows"] if report.index else {},
        "shards": len(report.index["shards"]) if report.index else 0,
        "bytes": sum(report.index["bytes"].values()) if report.index else 0,
        "failed": report.lost,
        "unfinished": report.unfinished,
        "seconds": round(report.seconds, 1),
        "stages": report.figures,
    }


def _what_was_made(request: BuildRequest, index: DatasetIndex) -> Text:
    splits = ", ".join(f"{name} {count}" for name, count in index["rows"].items())
    size = sum(index["bytes"].values()) / 1e6
    return Text.assemble(
        (counted(sum(index["rows"].values()), "triplet"), "bold"),
        f" ({splits})" if splits else "",
        f" in {counted(len(index['shards']), 'Parquet shard')}, {size:,.1f} MB: ",
        (f"{request.run}/dataset", "bold"),
    )


def _print_failures(console: Console, request: BuildRequest, report: Report) -> None:
    if not report.lost and not report.unfinished:
        return
    lines = failure_lines(report.figures, report.details)
    if report.lost:
        all_of_them = "The only row" if report.rows == 1 else f"All {report.rows:,} rows"
        rows = all_of_them if report.lost == report.rows else f"{report.lost:,} of {counted(report.rows, 'row')}"
        console.print(f"{rows} failed; to see which and why: {program()} status --run {request.run} --failed")
    for line in lines[:_FAILURES]:
        console.print(f"  {line}")
    if len(lines) > _FAILURES:
        console.print(f"  and {counted(len(lines) - _FAILURES, 'more reason')}")
    if report.unfinished:
        what = "1 row or shard" if report.unfinished == 1 else f"{report.unfinished:,} rows or shards"
        console.print(f"{what} could not be finished; run the same command again")


def _print_next(console: Console, request: BuildRequest, report: Report) -> None:
    console.print("\nTry next:")
    if report.index is not None and report.index["shards"]:
        console.print(
            f"  {python()} -c \"from datasets import load_dataset; print(load_dataset('{request.run}/dataset'))\""
        )
    console.print(f"  {program()} status --run {request.run}")


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
