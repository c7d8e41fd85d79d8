"""The command line: python -m pipeline build | status | clean."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from typing import Any

import yaml

from manifests.lease import LeaseLost, RunBusy
from manifests.sources import SourceError
from pipeline.build import Order, Report, build
from pipeline.clean import clean, remove
from pipeline.closing import print_closing
from pipeline.plan import Retry
from pipeline.recipe import RecipeError, load_recipe, preset_names
from pipeline.run import RunError, absolute_place
from pipeline.scheduler import RunStopped
from pipeline.status import show_status

BAD_REQUEST = 2
_KNOWN = (RecipeError, RunError, RunBusy, LeaseLost, SourceError, RunStopped, OSError)


def main(arguments: list[str] | None = None) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    try:
        if options.command == "build":
            return _build(options, _overrides(rest))
        if rest:
            raise RunError(f"{rest[0]}: no such option of {options.command}; see --help")
        if options.command == "status":
            show_status(options.run, as_json=options.json, failed=options.failed)
            return 0
        return _clean(options)
    except _KNOWN as error:
        if options.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return BAD_REQUEST
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline", description="Meshes to 3DGS-image-text triplets.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="build | status | clean")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show tracebacks")

    make = commands.add_parser(
        "build",
        parents=[common],
        help="make or resume a dataset",
        description="Make a dataset, or go on with one: the same command again is the resume.",
        epilog="Any field of the recipe can be set by its path: --fit.steps 300 --render.size 256. See --print-config.",
    )
    make.add_argument("recipe", help=f"a preset ({', '.join(preset_names())}) or a YAML file")
    make.add_argument("--source", default="", help="a folder, a glob, a mesh, or a list (.jsonl, .csv, .parquet)")
    make.add_argument("--run", default="", help="the run folder: a path or a URI (s3://...)")
    make.add_argument("--engine", choices=("ray", "local"), default="ray", help="where workers run (default: ray)")
    make.add_argument("--only", default="", metavar="STAGE", help="work this stage and what it needs, nothing after it")
    make.add_argument("--limit", type=_positive, metavar="N", help="take only the first N rows of the source")
    make.add_argument(
        "--retry-failed",
        nargs="?",
        const="",
        default=None,
        metavar="REASON",
        help="try failed rows again, all or one reason's",
    )
    make.add_argument(
        "--max-failed",
        default=None,
        metavar="N",
        help="exit with 1 when more rows fail: a number, or a share such as 5%%",
    )
    make.add_argument(
        "--refresh", action=argparse.BooleanOptionalAction, default=None,
        help="look again whether sources changed (default: for local files)",
    )  # fmt: skip
    make.add_argument("--print-config", action="store_true", help="show the resolved recipe and end")

    status = commands.add_parser("status", parents=[common], help="show what a run has come to")
    status.add_argument("--run", required=True)
    status.add_argument("--failed", action="store_true", help="list every failed row with stage, reason and detail")
    status.add_argument("--json", action="store_true", help="for machines")

    tidy = commands.add_parser("clean", parents=[common], help="remove artifacts that are not needed")
    tidy.add_argument("--run", required=True)
    tidy.add_argument("--packed", action="store_true", help="also artifacts of rows that are packed already")
    tidy.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


def _overrides(rest: list[str]) -> dict[str, Any]:
    """--fit.steps 300 and --fit.steps=300, the value read as YAML."""
    told: dict[str, Any] = {}
    words = iter(rest)
    for word in words:
        name, equals, text = word.removeprefix("--").partition("=")
        if not word.startswith("--") or "." not in name and not equals:
            raise RecipeError(f"{word}: no such option of build; a recipe's field is set by its path: --fit.steps 300")
        if not equals:
            text = next(words, "")
            if not text or text.startswith("--"):
                raise RecipeError(f"{word}: a value is missing: {word} VALUE")
        told[name] = yaml.safe_load(text)
    return told


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
    if report.stopped_by:
        return 128 + report.stopped_by
    total = max((stage["ok"] + stage["failed"] + stage["todo"] for stage in report.figures.values()), default=0)
    limit = float(total - 1) if allowed is None else allowed[0] * total / 100 if allowed[1] else allowed[0]
    return 1 if report.failed > limit and report.failed else 0


def _clean(options: argparse.Namespace) -> int:
    store, waste = clean(options.run, packed=options.packed)
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
    sys.exit(main())
