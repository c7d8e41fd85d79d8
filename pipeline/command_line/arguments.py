"""Read the command line: the command, its options, and settings such as --fit.steps 300."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

from pipeline.command_line.called import program
from pipeline.commands import build, clean, encode, evaluate, export, sheet, status, train
from pipeline.settings import RecipeError, take_overrides

COMMANDS: dict[str, ModuleType] = {
    "build": build,
    "status": status,
    "sheet": sheet,
    "clean": clean,
    "train": train,
    "evaluate": evaluate,
    "encode": encode,
    "export": export,
}


def read_words(words: Sequence[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Parse the arguments; return the command's options, and the settings by their path."""
    arguments = list(words)
    overrides: dict[str, Any] = {}
    settings = getattr(COMMANDS.get(arguments[0]), "SETTINGS", None) if arguments else None
    if settings:
        arguments, overrides = take_overrides(arguments, settings)
    options, rest = make_parser().parse_known_args(arguments)
    if rest:
        path = "; a setting is changed by its path: --fit.steps 300, --model.size tiny" if settings else ""
        raise RecipeError(f"{rest[0]}: no such option of {options.command}{path}; see --help")
    return options, overrides


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program(), description="Turn meshes into triplets of 3D Gaussian splat, images and text."
    )
    parser.add_argument("--version", action="version", version=f"gs-triplets {_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar=" | ".join(COMMANDS))
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    for command in COMMANDS.values():
        command.add(commands, common)
    return parser


def _version() -> str:
    try:
        return version("gs-triplets")
    except PackageNotFoundError:  # a checkout that is not installed, in a Ray job for instance
        return "(not installed)"
