"""The command `completion`: print the script with which a shell completes commands, options and settings."""

from __future__ import annotations

import argparse
from typing import Any

from pipeline.command_line.called import CONSOLE
from pipeline.settings import OF_BUILD, OF_TRAIN, setting_paths

SHELLS = ("bash", "zsh", "fish")
_FILES = {"source", "run", "dataset", "checkpoint", "teacher", "templates", "classes", "evaluation", "out"}
_PRESETS = {"build": OF_BUILD.names, "train": OF_TRAIN.names}


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "completion",
        parents=[common],
        help="print a script that completes commands and options in a shell",
        description=f'Print a script for a shell. In bash: eval "$({CONSOLE} completion bash)"',
    )
    parser.add_argument("shell", choices=SHELLS)


def run(options: argparse.Namespace, overrides: dict[str, Any]) -> int:
    import shtab

    print(shtab.complete(_parser(), options.shell))
    return 0


def _parser() -> argparse.ArgumentParser:
    """The parser of the command line, with each setting as an option, and with what is completed by files."""
    import shtab

    from pipeline.command_line.arguments import COMMANDS, make_parsers  # which import this module

    parser, commands = make_parsers()
    parser.prog = CONSOLE
    for name, command in commands.items():
        for path in setting_paths(COMMANDS[name].SETTINGS) if hasattr(COMMANDS[name], "SETTINGS") else ():
            command.add_argument(f"--{path}")
        for action in command._actions:  # argparse has no public list of them
            if action.dest in _FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined]  # read by shtab
            elif action.dest == "recipe":
                action.choices = [*_PRESETS[name], shtab.Choice("file")]
    return parser
