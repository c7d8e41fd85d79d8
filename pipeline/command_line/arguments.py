"""Read the command line: the command, its options, and settings such as --fit.steps 300."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any, NoReturn

from pydantic import BaseModel

from pipeline.command_line.called import program
from pipeline.command_line.suggestions import did_you_mean
from pipeline.commands import build, clean, completion, convert, encode, evaluate, export, sheet, status, train, verify
from pipeline.settings import RecipeError, setting_paths, take_overrides

COMMANDS: dict[str, ModuleType] = {
    "build": build,
    "convert": convert,
    "status": status,
    "sheet": sheet,
    "verify": verify,
    "clean": clean,
    "train": train,
    "evaluate": evaluate,
    "encode": encode,
    "export": export,
    "completion": completion,
}


def read_words(words: Sequence[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Parse the arguments; return the command's options, and the settings by their path."""
    arguments = list(words)
    if not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        hint = did_you_mean(arguments[0], COMMANDS)
        raise RecipeError(f"{arguments[0]}: no such command{hint}; expected one of {', '.join(COMMANDS)}")
    overrides: dict[str, Any] = {}
    settings = getattr(COMMANDS.get(arguments[0]), "SETTINGS", None)
    if settings:
        arguments, overrides = take_overrides(arguments, settings)
    parser, commands = _make_parsers()
    if arguments[0] in commands:
        _check_options(arguments, commands[arguments[0]], settings)
    options, rest = parser.parse_known_args(arguments)
    if rest and rest[0].startswith("-"):
        raise RecipeError(f"{rest[0]}: no such option of {options.command}; options start with two dashes: -{rest[0]}")
    if rest:
        raise RecipeError(
            f"{rest[0]}: {options.command} takes no such argument; a pattern needs quotes, or the shell replaces it "
            "by the names of files: --source 'meshes/*.glb'"
        )
    return options, overrides


def _check_options(words: Sequence[str], parser: argparse.ArgumentParser, settings: type[BaseModel] | None) -> None:
    """Refuse the first option that is not known, and say what may have been meant."""
    command = words[0]
    known = ["--help", *re.findall(r"--[a-z-]+", parser.format_usage())]
    for name in (word.partition("=")[0] for word in words if word.startswith("--")):
        if not any(option.startswith(name) for option in known):
            hint = did_you_mean(
                name, [*known, *(f"--{path}" for path in (setting_paths(settings) if settings else ()))]
            )
            path = "; a setting is changed by its path: --fit.steps 300, --model.size tiny" if settings else ""
            raise RecipeError(f"{name}: no such option of {command}{hint}{path}; see {parser.prog} --help")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise RecipeError(f"{message}; see {self.prog} --help")


def make_parser() -> argparse.ArgumentParser:
    return _make_parsers()[0]


def _make_parsers() -> tuple[_Parser, dict[str, _Parser]]:
    """The parser of the command line, and those of its commands."""
    parser = _Parser(prog=program(), description="Turn meshes into triplets of 3D Gaussian splat, images and text.")
    parser.add_argument("--version", action="version", version=f"gs-triplets {_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar=" | ".join(COMMANDS))
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    common.add_argument("--quiet", "-q", action="store_true", help="print only results and errors, no progress")
    for command in COMMANDS.values():
        command.add(commands, common)
    return parser, commands.choices


def _version() -> str:
    try:
        return version("gs-triplets")
    except PackageNotFoundError:  # a checkout that is not installed, in a Ray job for instance
        return "(not installed)"
