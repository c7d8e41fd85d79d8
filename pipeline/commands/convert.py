"""The command `convert`: make GLB files of FBX, COLLADA, USD and .blend files, with Blender."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from rich.table import Table

from manifests.left_out import in_words
from manifests.text import message
from pipeline.command_line.called import program
from pipeline.command_line.console import plain_console
from pipeline.command_line.counted import counted
from pipeline.command_line.options import positive, positive_number
from pipeline.command_line.stop import Stop
from pipeline.converting.converter import ConversionError, Converter, NoBlender, Stopped
from pipeline.converting.environment import VARIABLE, find_blender, how_to_get_it
from pipeline.converting.files import Conversion, Found, find_files
from pipeline.planning.run import RunError
from stages.common.progress_bar import progress_bar
from stages.common.telling import is_quiet, tell_if_slow, to_clock


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "convert",
        parents=[common],
        help="make GLB files of FBX, DAE, USD and .blend files",
        description="Make GLB files of FBX, DAE (COLLADA), USD and .blend files, with Blender. The same command again "
        "resumes. Then: build --source OUT. (docs/converting.md)",
    )
    parser.add_argument("--source", required=True, help="a folder, with those below it, or one file")
    parser.add_argument("--out", required=True, type=Path, help="folder for the GLB files, in the same folders below")
    parser.add_argument("--force", action="store_true", help="convert again what is newer than its source")
    parser.add_argument("--workers", type=positive, metavar="N", help="processes (default: by cores and memory)")
    parser.add_argument(
        "--timeout", type=positive_number, default=300.0, metavar="SECONDS", help="for one file (default: 300)"
    )
    parser.add_argument(
        "--memory-gb", type=positive_number, default=4.0, metavar="GB", help="of one process (default: 4)"
    )
    parser.add_argument(
        "--blender",
        default="",
        metavar="PYTHON",
        help=f"a Python that has bpy (default: {VARIABLE}, or what `make converter` installs)",
    )


def run(options: argparse.Namespace, overrides: dict[str, Any]) -> int:
    if options.out.exists() and not options.out.is_dir():
        raise RunError(f"--out {options.out}: is a file; expected a folder")
    with tell_if_slow("Listing the source"):
        found = find_files(options.source, options.out)
    todo = [each for each in found.conversions if options.force or not each.is_done]
    begun, failures = time.monotonic(), list[tuple[Conversion, ConversionError]]()
    if todo:
        converter = Converter(find_blender(options.blender), options.timeout, options.memory_gb)
        with Stop(converter.stop) as stop:
            failures = _convert(converter, todo, options.workers or _workers(options.memory_gb))
        if stop.code:
            plain_console().print("Stopped. Finished files are kept; run the same command again to resume.")
            return stop.code
    _print(found, len(todo), failures, time.monotonic() - begun)
    if not is_quiet() and len(failures) < len(found.conversions):
        plain_console().print(f"\nTry next:\n  {program()} build cpu --source {options.out} --run RUN", soft_wrap=True)
    return 1 if failures else 0


def _workers(memory_gb: float) -> int:
    """As many processes as there are cores, and as memory allows."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(len(os.sched_getaffinity(0)), int(memory / (memory_gb * 2**30))))


def _convert(
    converter: Converter, todo: Sequence[Conversion], workers: int
) -> list[tuple[Conversion, ConversionError]]:
    failures = []
    with progress_bar("Converting") as report, ThreadPoolExecutor(workers) as pool:
        futures = {pool.submit(converter.convert, each.source, each.out): each for each in todo}
        for done, future in enumerate(as_completed(futures), 1):
            each = futures[future]
            try:
                for warning in future.result():
                    print(f"{message(each.name)}: {warning}", file=sys.stderr)
            except ConversionError as error:
                failures.append((each, error))
            except Stopped:
                continue
            except NoBlender as error:
                converter.stop()
                raise RunError(f"{error}; {how_to_get_it()}") from error
            except OSError:  # the disk is full, or --out cannot be written
                converter.stop()
                raise
            report(done, len(todo))
    return sorted(failures, key=lambda failure: failure[0].name)


def _print(found: Found, tried: int, failures: list[tuple[Conversion, ConversionError]], seconds: float) -> None:
    console = plain_console(soft_wrap=True)
    if failures:
        table = Table(header_style="bold", pad_edge=False)
        for column in ("file", "reason", "detail"):
            table.add_column(column, overflow="fold")
        for each, error in failures:
            table.add_row(message(each.name), error.reason, error.detail)
        plain_console().print(table)
    counts = [f"{tried - len(failures):,} converted in {to_clock(seconds)}"]
    if earlier := len(found.conversions) - tried:
        counts.append(f"{earlier:,} converted before")
    if failures:
        counts.append(f"{counted(len(failures), 'file')} failed")
    skipped = f"; {in_words(found.left_out)}" if found.left_out else ""
    console.print(message(f"{', '.join(counts)}{skipped}"))
