"""The command `completion`: print the script with which a shell completes commands, options and settings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from pipeline.command_line.called import CONSOLE
from pipeline.recipe import Recipe
from pipeline.settings import OF_BUILD, OF_TRAIN, setting_paths
from stages.clip_gs.settings import Training

SHELLS = ("bash", "zsh")
_FILES = {"source", "run", "dataset", "checkpoint", "teacher", "templates", "classes", "evaluation", "out"}
_SETTINGS: dict[str, tuple[type[BaseModel], Sequence[str]]] = {
    "build": (Recipe, OF_BUILD.names),
    "train": (Training, OF_TRAIN.names),
}


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "completion",
        parents=[common],
        help="print a script that completes commands and options in a shell",
        description=f'Print a script for a shell. In bash: eval "$({CONSOLE} completion bash)"',
    )
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(parsers=commands.choices)


def run(options: argparse.Namespace, overrides: dict[str, Any]) -> int:
    import shtab

    print(shtab.complete(_with_settings(options.parsers), options.shell))
    return 0


def _with_settings(parsers: dict[str, argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """A parser with these commands, each setting as an option, and what is completed by files."""
    import shtab

    whole = argparse.ArgumentParser(prog=CONSOLE)
    commands = whole.add_subparsers()
    for name, parser in parsers.items():
        settings, presets = _SETTINGS.get(name, (None, ()))
        command = commands.add_parser(name, parents=[parser], add_help=False, help=parser.description or name)
        for path in setting_paths(settings) if settings else ():
            command.add_argument(f"--{path}")
        for action in command._actions:  # argparse has no public list of them
            if action.dest in _FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined]  # read by shtab
            elif action.dest == "recipe":
                action.choices = [*presets, shtab.Choice("file")]
    return whole
