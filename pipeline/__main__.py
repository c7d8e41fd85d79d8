"""The command line: python -m pipeline build | status | sheet | clean | train | evaluate | encode | export."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from typing import Any

from manifests.lease import LeaseLost, RunBusy
from manifests.sources import SourceError
from pipeline.arguments import read_words
from pipeline.build import Order, Report, build
from pipeline.clean import cleaning, remove
from pipeline.closing import print_closing
from pipeline.evaluating import run_encode, run_evaluate
from pipeline.exporting import run_export
from pipeline.placement import PlacementError
from pipeline.plan import Retry
from pipeline.recipe import load_recipe
from pipeline.run import RunError, absolute_place
from pipeline.scheduler import RunStopped
from pipeline.settings import RecipeError
from pipeline.sheet import parse_views, write_sheet
from pipeline.status import show_status
from pipeline.training import run_train

BAD_REQUEST = 2
_KNOWN = (RecipeError, RunError, RunBusy, LeaseLost, SourceError, PlacementError, RunStopped, ImportError, OSError)


def main(arguments: list[str] | None = None) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    words = sys.argv[1:] if arguments is None else arguments
    try:
        return _run(*read_words(words))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except _KNOWN as error:
        if "--debug" in words:
            raise
        print(f"error: {error}", file=sys.stderr)
        return BAD_REQUEST


def _run(options: argparse.Namespace, overrides: dict[str, Any]) -> int:
    match options.command:
        case "build":
            return _build(options, overrides)
        case "train":
            return run_train(options, overrides)
        case "evaluate":
            return run_evaluate(options)
        case "encode":
            return run_encode(options)
        case "export":
            return run_export(options)
        case "clean":
            return _clean(options)
        case "status":
            show_status(options.run, as_json=options.json, failed=options.failed, weak=options.weak)
        case "sheet":
            for path in write_sheet(options.run, options.out, parse_views(options.views), options.columns):
                print(path)
    return 0


def _build(options: argparse.Namespace, overrides: dict[str, Any]) -> int:
    recipe = load_recipe(options.recipe, overrides)
    if options.print_config:
        print(recipe.to_yaml(), end="")
        return 0
    if not options.run:
        raise RunError("--run is missing: the folder to build in, a path or a URI")
    names = [step.name for step in recipe.steps()] + [recipe.pack.name]
    if options.only and options.only not in names:
        raise RunError(f"--only {options.only}: no such stage; there are {', '.join(names)}")
    allowed = _allowed_failures(options.max_failed)
    order = Order(
        recipe=recipe,
        run=absolute_place(options.run, "--run"),
        source=absolute_place(options.source, "--source") if options.source else "",
        engine=options.engine,
        only=options.only,
        limit=options.limit,
        retry=Retry(options.retry_failed is not None, options.retry_failed or ""),
        refresh=options.refresh,
    )
    report = build(order)
    print_closing(order, report)
    return _exit_code(report, allowed)


def _allowed_failures(text: str | None) -> tuple[float, bool] | None:
    if text is None:
        return None
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = -1.0
    if number < 0:
        raise RunError(f"--max-failed {text}: a number of rows, or a share such as 5%")
    return number, text.endswith("%")


def _exit_code(report: Report, allowed: tuple[float, bool] | None) -> int:
    """0: done. 1: more rows failed than allowed (by default: all of them), or something could not be finished."""
    if report.stopped_by:
        return 128 + report.stopped_by
    limit = report.rows - 1.0 if allowed is None else allowed[0] * report.rows / 100 if allowed[1] else allowed[0]
    return 1 if report.unfinished or (report.lost and report.lost > limit) else 0


def _clean(options: argparse.Namespace) -> int:
    with cleaning(options.run, packed=options.packed) as (store, waste):
        print(f"{len(waste.files)} files, {waste.size / 1e6:,.1f} MB, are needed by nothing in {store.root}")
        if not waste.files:
            return 0
        if not options.yes:
            if not sys.stdin.isatty():
                print("Nothing was removed; say --yes to remove them.")
                return 0
            if input("Remove them? [y/N] ").strip().lower() not in ("y", "yes"):
                return 0
        remove(store, waste)
        print("Removed.")
        return 0


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)  # Arrow's threads have been seen to abort an interpreter that tears itself down
