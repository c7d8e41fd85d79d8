"""The command `build`: make a dataset, or resume one."""

from __future__ import annotations

import argparse
from typing import Any

from manifests.adapters import ADAPTERS
from manifests.text import message
from pipeline.command_line.options import positive
from pipeline.command_line.settings_help import settings_help
from pipeline.command_line.suggestions import did_you_mean
from pipeline.commands.build_summary import NOTHING_TO_DO, print_summary, summary_fields
from pipeline.planning.preparation import BuildRequest, preview
from pipeline.planning.row_states import Retry
from pipeline.planning.run import RunError, absolute_location
from pipeline.planning.source_rows import absolute_source
from pipeline.recipe import KINDS, Recipe, load_recipe
from pipeline.running.build import build
from pipeline.running.display import Display
from pipeline.running.messages import REASONS
from pipeline.running.report import Report
from pipeline.settings import OF_BUILD, describe
from stages.common.telling import tell

SETTINGS = Recipe  # what the command line can change by its path


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    make = commands.add_parser(
        "build",
        parents=[common],
        help="make or resume a dataset",
        description="Make a dataset. The same command again resumes it.",
        epilog=settings_help(Recipe),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    make.add_argument("recipe", help=f"a preset ({', '.join(OF_BUILD.names)}) or a YAML file")
    make.add_argument(
        "--source",
        default="",
        help="a folder, a glob, a mesh, a list (.jsonl, .csv, .parquet), an archive (.zip, .tar, .tar.gz), or NAME:DIR "
        f"for a published dataset ({', '.join(ADAPTERS)})",
    )
    make.add_argument("--run", default="", help="the run folder: a path or a URI (s3://...)")
    make.add_argument("--engine", choices=("ray", "local"), default="ray", help="where workers run (default: ray)")
    make.add_argument("--only", default="", metavar="STAGE", help="work this stage and what it needs, nothing after it")
    make.add_argument("--limit", type=positive, metavar="N", help="take only the first N rows of the source")
    make.add_argument(
        "--retry-failed",
        nargs="?",
        const="",
        default=None,
        metavar="REASON",
        help="try failed rows again: all, or those with this reason",
    )
    make.add_argument(
        "--max-failed",
        default=None,
        metavar="N",
        help="exit with 1 when more rows fail: a number, or a share such as 5%%",
    )
    make.add_argument(
        "--refresh", action=argparse.BooleanOptionalAction, default=None,
        help="check whether sources have changed (default: only local files)",
    )  # fmt: skip
    make.add_argument(
        "--allow-private-addresses",
        action="store_true",
        help="the same as --ingest.allow_private_addresses true",
    )
    make.add_argument("--dry-run", action="store_true", help="say what the build would change and do, and leave")
    make.add_argument(
        "--yes", action="store_true", help="withdraw many rows, or take another source, without being refused"
    )
    make.add_argument("--json", action="store_true", help="print events as lines of JSON (docs/operations.md)")
    make.add_argument("--print-config", action="store_true", help="print all settings and exit")


def run(options: argparse.Namespace, overrides: dict[str, Any]) -> int:
    private = {"ingest.allow_private_addresses": True} if options.allow_private_addresses else {}
    recipe = load_recipe(options.recipe, overrides | private)
    if options.print_config:
        print(recipe.to_yaml(), end="")
        return 0
    if not options.run:
        raise RunError("--run is missing: the folder to build in, a path or a URI")
    names = [step.name for step in (*recipe.steps(), recipe.block_step())]
    if options.only and options.only not in names:
        hint = did_you_mean(options.only, names)
        raise RunError(f"--only {options.only}: no such stage{hint}; expected one of {', '.join(names)}")
    _check_reason(options.retry_failed)
    allowed = _allowed_failures(options.max_failed)
    request = BuildRequest(
        recipe=recipe,
        run=absolute_location(options.run, "--run"),
        source=absolute_source(options.source) if options.source else "",
        engine=options.engine,
        only=options.only,
        limit=options.limit,
        retry=Retry(options.retry_failed is not None, options.retry_failed or ""),
        refresh=options.refresh,
        confirmed=options.yes,
    )
    display = Display(options.json)
    settings = describe(Recipe, options.recipe, overrides, OF_BUILD)
    tell(f"{settings}; run folder {request.run}")
    display.emit("start", run=request.run, settings=settings)
    try:
        if options.dry_run:
            changes = preview(request)
            display.emit("changes", **changes.fields())
            if not options.json:
                print("\n".join(changes.lines()) or NOTHING_TO_DO)
            return 0
        report = build(request, display)
    except Exception as error:
        display.emit("error", message=message(error))
        raise
    code = _exit_code(report, allowed)
    print_summary(request, report, options.json)
    display.emit("end", exit_code=code, **summary_fields(request, report))
    return code


def _check_reason(reason: str | None) -> None:
    known = {*REASONS, *(each.word for kind in KINDS.values() for each in kind.reasons)}
    if reason and reason not in known:
        hint = did_you_mean(reason, known)
        raise RunError(f"--retry-failed {reason}: not a reason that is tried again{hint}; see `status --failed`")


def _allowed_failures(text: str | None) -> tuple[float, bool] | None:
    if text is None:
        return None
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = -1.0
    if number < 0:
        raise RunError(f"--max-failed {text}: expected a number of rows, or a share such as 5%")
    return number, text.endswith("%")


def _exit_code(report: Report, allowed: tuple[float, bool] | None) -> int:
    """0: done. 1: more rows failed than allowed (by default: all of them), or something could not be finished."""
    if report.stopped_by:
        return 128 + report.stopped_by
    limit = report.rows - 1.0 if allowed is None else allowed[0] * report.rows / 100 if allowed[1] else allowed[0]
    return 1 if report.unfinished or (report.lost and report.lost > limit) else 0
