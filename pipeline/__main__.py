"""The command line: gs-triplets COMMAND, or python -m pipeline COMMAND. Each command is a file of pipeline/commands."""

from __future__ import annotations

import logging
import os
import signal
import sys

from manifests.addresses import AddressError
from manifests.dataset_index import DatasetError
from manifests.lease import LeaseLost, RunBusy
from manifests.sources import SourceError
from manifests.text import message
from pipeline.command_line.arguments import COMMANDS, make_parser, read_words
from pipeline.planning.run import RunError
from pipeline.running.placement import PlacementError
from pipeline.running.scheduler import RunStopped
from pipeline.settings import RecipeError
from stages.common.telling import quiet_if

BAD_REQUEST = 2
_LONGEST = 4_000  # characters of a line of an error
_KNOWN = (
    AddressError, RecipeError, RunError, RunBusy, LeaseLost, SourceError, DatasetError, PlacementError, RunStopped,
    ImportError, OSError,
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    words = sys.argv[1:] if arguments is None else arguments
    if not words:
        make_parser().print_help()
        return BAD_REQUEST
    try:
        options, overrides = read_words(words)
        with quiet_if(options.quiet):
            return COMMANDS[options.command].run(options, overrides)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:  # before there was work to stop, or after a second Ctrl-C
        return 128 + signal.SIGINT
    except _KNOWN as error:
        if "--debug" in words:
            raise
        print("error:", "\n".join(message(line, _LONGEST) for line in _text(error).splitlines()), file=sys.stderr)
        return BAD_REQUEST


def _text(error: Exception) -> str:
    """The text of an error; of one from the system, the file and what is wrong, without its number."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    return str(error)


def run_and_exit() -> None:
    """The console command."""
    exit_code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)  # Arrow's threads have been seen to abort an interpreter that tears itself down


if __name__ == "__main__":
    run_and_exit()
