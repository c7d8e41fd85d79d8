"""The command line's words: which there are, and how they are read."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline import evaluating, exporting, training
from pipeline.recipe import Recipe
from pipeline.settings import RecipeError, preset_names, take_overrides
from stages.clip_gs.settings import Training

_SETTINGS: dict[str, type[BaseModel]] = {"build": Recipe, "train": Training}  # that a command's words can change


def read_words(words: Sequence[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """The command's options, and the settings that are given by their path."""
    left, told = list(words), {}
    model = _SETTINGS.get(left[0]) if left else None
    if model:
        left, told = take_overrides(left, model)
    options, rest = make_parser().parse_known_args(left)
    if rest:
        path = "; a setting is changed by its path: --fit.steps 300, --model.size tiny" if model else ""
        raise RecipeError(f"{rest[0]}: no such option of {options.command}{path}; see --help")
    return options, told


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline", description="Meshes to 3DGS-image-text triplets.")
    names = "build | status | sheet | clean | train | evaluate | encode | export"
    commands = parser.add_subparsers(dest="command", required=True, metavar=names)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show tracebacks")

    _add_build(commands, common)
    status = commands.add_parser("status", parents=[common], help="show what a run has come to")
    status.add_argument("--run", required=True)
    status.add_argument("--failed", action="store_true", help="list every failed row with stage, reason and detail")
    status.add_argument("--weak", action="store_true", help="list the captions with the teacher's lowest scores")
    status.add_argument("--json", action="store_true", help="for machines")

    sheet = commands.add_parser("sheet", parents=[common], help="draw all objects on contact sheets, to be looked at")
    sheet.add_argument("--run", required=True)
    sheet.add_argument("--out", type=Path, default=Path("sheet.png"), help="numbered where it takes several pages")
    sheet.add_argument("--views", default="0,8", help="which views of each object (default: 0,8)")
    sheet.add_argument("--columns", type=_positive, metavar="N", help="objects side by side")

    tidy = commands.add_parser("clean", parents=[common], help="remove artifacts that are not needed")
    tidy.add_argument("--run", required=True)
    tidy.add_argument("--packed", action="store_true", help="also artifacts of rows that are packed already")
    tidy.add_argument("--yes", action="store_true", help="do not ask")

    training.add_arguments(commands, common)
    evaluating.add_arguments(commands, common)
    exporting.add_arguments(commands, common)
    return parser


def _add_build(commands: Any, common: argparse.ArgumentParser) -> None:
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


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number
