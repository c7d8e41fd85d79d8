"""The command `export`: write the splats of a run as files, or a checkpoint with a model card."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pipeline.command_line.options import positive
from pipeline.commands.export.checkpoint import export_checkpoint
from pipeline.commands.export.splats import MODES, export_splats
from pipeline.planning.run import RunError
from stages.exporting import FORMATS

_OF_RUN = ("format", "id", "force", "rasterize_mode", "pixels")
_OF_CHECKPOINT = ("name", "licence", "evaluation")


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "export",
        parents=[common],
        help="write the splats of a run as files, or a checkpoint with a model card",
        description="Write the splats of a run as files, one per object; or write the weights of a checkpoint in half "
        "precision and a model card to a folder that evaluate and encode can read.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", help="export the splats of this run folder: a path or a URI")
    source.add_argument("--checkpoint", help="export this checkpoint: a .pt file or a training's folder")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="the folder to write")
    splats = parser.add_argument_group("with --run")
    meanings = "; ".join(f"{each.name}: {each.meaning}" for each in FORMATS)
    splats.add_argument(
        "--format",
        choices=[each.name for each in FORMATS],
        help=f"format of the files (default: {FORMATS[0].name}). {meanings}",
    )
    splats.add_argument(
        "--id", action="append", help="export this object; may be given several times (default: all that are fitted)"
    )
    splats.add_argument(
        "--rasterize-mode",
        choices=MODES,
        help="how the viewer will draw the splats; those that were fitted for the other mode (fit.antialiased) are "
        "converted (default: as they were fitted). Most viewers draw in classic mode",
    )
    splats.add_argument(
        "--pixels",
        type=positive,
        metavar="N",
        help="with --rasterize-mode: height in pixels of the view for which splats are converted; at this size they "
        "look as they were fitted (default: render.size of the run)",
    )
    splats.add_argument("--force", action="store_true", help="replace files that have other content")
    checkpoint = parser.add_argument_group("with --checkpoint")
    checkpoint.add_argument("--name", help="name of the model in its card (default: name of the folder)")
    checkpoint.add_argument(
        "--licence", "--license", default="", help="licence of the weights in the card, such as apache-2.0"
    )
    checkpoint.add_argument(
        "--evaluation",
        action="append",
        type=Path,
        metavar="FILE",
        help="a result of `evaluate` for the card; may be given several times (default: all of these weights)",
    )


def run(options: argparse.Namespace, overrides: dict[str, Any]) -> int:
    for name in _OF_CHECKPOINT if options.run else _OF_RUN:
        if getattr(options, name):
            raise RunError(
                f"--{name.replace('_', '-')}: cannot be used with {'--run' if options.run else '--checkpoint'}"
            )
    if options.run:
        return export_splats(options)
    return export_checkpoint(options)
