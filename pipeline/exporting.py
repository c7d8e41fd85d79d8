"""The command `export`: a checkpoint made small, with its card, to be shipped."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from pipeline.evaluating import run_of
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
        "--evaluation",
        action="append",
        type=Path,
        metavar="FILE",
        help="a result of `evaluate` for the card, of these weights; several may be given (default: all in the run)",
    )


def run_export(options: argparse.Namespace) -> int:
    from stages.clip_gs import card
    from stages.clip_gs.checkpoint import CheckpointError, identity, load_model, save_compact

    try:
        model, told = load_model(options.checkpoint)
    except CheckpointError as error:
        raise RunError(str(error)) from error
    results = _evaluations(options, identity(model, ""))
    out = options.out.expanduser().absolute()
    if out.exists():
        _refuse_others(out)
    aside = out.with_name(f"{out.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    save_compact(model, told, aside)
    card.write(options.name or out.name, model, told, aside, options.licence, results)
    shutil.rmtree(out, ignore_errors=True)
    aside.rename(out)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    print(f"{out}: {size / 1e6:.1f} MB{'' if results else '; its card has no figures: evaluate it, and export again'}")
    return 0


def _refuse_others(out: Path) -> None:
    """What is replaced is an exported checkpoint and nothing else: not another model, nor one with more beside it."""
    from stages.clip_gs import card, checkpoint

    known = {card.CARD, card.EVALUATION, checkpoint.CONFIG, checkpoint.WEIGHTS}
    held = {path.name for path in out.iterdir()} if out.is_dir() else {out.name}
    if held and not (held <= known and checkpoint.is_compact(out)):
        raise RunError(f"--out {out}: holds something else; name a new folder, or one that `export` made")


def _evaluations(options: argparse.Namespace, identity: str) -> list[dict[str, Any]]:
    """What `evaluate` has found of these weights. A file that is named and is of others is refused."""
    if options.evaluation is None:
        run = run_of(options.checkpoint)
        files = sorted(Path(run, "evaluation").glob("*.json")) if run else []
        return [result for file in files if (result := _of_weights(file, identity))]
    results = []
    for file in options.evaluation:
        result = _of_weights(file.expanduser(), identity)
        if result is None:
            raise RunError(f"{file}: is of other weights than {options.checkpoint}; evaluate these, and export again")
        results.append(result)
    return results


def _of_weights(file: Path, identity: str) -> dict[str, Any] | None:
    """The result, named as its file, with the row of these weights first and less the places where things lay.

    None where it has no such row.
    """
    try:
        result = json.loads(file.read_text())
        result["dataset"].pop("place")
        rows = [{key: value for key, value in row.items() if key != "place"} for row in result["rows"]]
        own = [row for row in rows if row["kind"] == "checkpoint" and row["identity"].endswith(identity)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{file}: not the result of an evaluation: {error}; `evaluate` writes them") from error
    if not own:
        return None
    others = [row for row in rows if row["kind"] != "checkpoint"]
    return {**result, "name": file.stem, "rows": [own[0], *others]}
