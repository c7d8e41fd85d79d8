"""The command `export`: a checkpoint made small, with its card, to be shipped."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from pipeline.evaluating import named, run_of
from pipeline.run import RunError


def add_arguments(commands: Any, common: argparse.ArgumentParser) -> None:
    ship = commands.add_parser(
        "export",
        parents=[common],
        help="write a checkpoint small, with a card",
        description="Weights in half precision and a card, in a folder that evaluate, encode and start_from take.",
    )
    ship.add_argument("--checkpoint", required=True, help="a .pt file or a training's folder")
    ship.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="where it is written")
    ship.add_argument("--name", help="of the model, in its card (default: the folder's)")
    ship.add_argument("--licence", "--license", default="", help="of the weights, in the card, such as apache-2.0")
    ship.add_argument(
        "--evaluation", type=Path, metavar="FILE", help="of the same weights, for the card (default: the run's)"
    )


def run_export(options: argparse.Namespace) -> int:
    from stages.clip_gs import card
    from stages.clip_gs.checkpoint import CheckpointError, identity, load_model, save_compact

    try:
        model, told = load_model(options.checkpoint)
    except CheckpointError as error:
        raise RunError(str(error)) from error
    result = _evaluation(options, identity(model, ""))
    out = options.out.expanduser().absolute()
    save_compact(model, told, out)
    card.write(options.name or out.name, model, told, out, options.licence, result)
    size = sum(file.stat().st_size for file in out.iterdir() if file.is_file())
    print(f"{out}: {size / 1e6:.1f} MB{'' if result else '; its card has no figures: evaluate it, and export again'}")
    return 0


def _evaluation(options: argparse.Namespace, identity: str) -> dict[str, Any] | None:
    """What `evaluate` has found of these weights, their row first, less the places where things lay."""
    path = options.evaluation or _beside(options.checkpoint)
    if path is None or (not options.evaluation and not path.exists()):
        return None
    try:
        result = json.loads(path.expanduser().read_text())
        result["dataset"].pop("place")
        rows = [{key: value for key, value in row.items() if key != "place"} for row in result["rows"]]
        own = [row for row in rows if row["kind"] == "checkpoint" and row["identity"].endswith(identity)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: not the result of an evaluation: {error}; `evaluate` writes them") from error
    if not own:
        raise RunError(f"{path}: is of other weights than {options.checkpoint}; evaluate these, and export again")
    return {**result, "rows": [own[0], *(row for row in rows if row["kind"] != "checkpoint")]}


def _beside(checkpoint: str) -> Path | None:
    """The result that `evaluate` writes by default for a checkpoint of a training."""
    run = run_of(checkpoint)
    return Path(run, "evaluation", f"{next(iter(named([checkpoint], None)))}.json") if run else None
