"""Write a checkpoint for publication, in half precision and with a model card."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from pipeline.commands.checkpoints import run_of
from pipeline.planning.run import RunError


def export_checkpoint(options: argparse.Namespace) -> int:
    from stages.clip_gs import card
    from stages.clip_gs.training.checkpoint import identity, load_model, save_compact
    from stages.common.training.checkpoint import CheckpointError

    try:
        model, state = load_model(options.checkpoint)
    except CheckpointError as error:
        raise RunError(str(error)) from error
    results = _evaluations(options, identity(model, ""))
    out = options.out.expanduser().absolute()
    if out.exists():
        _refuse_others(out)
    aside = out.with_name(f"{out.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    save_compact(model, state, aside)
    card.write(options.name or out.name, model, state, aside, options.licence, results)
    shutil.rmtree(out, ignore_errors=True)
    aside.rename(out)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    print(
        f"{out}: {size / 1e6:.1f} MB{'' if results else '; its card has no figures: run `evaluate`, then export again'}"
    )
    return 0


def _refuse_others(out: Path) -> None:
    """Raise RunError unless the folder is an exported checkpoint and holds no other files: it will be replaced."""
    from stages.clip_gs import card
    from stages.clip_gs.training import checkpoint

    known = {card.CARD, card.EVALUATION, checkpoint.CONFIG, checkpoint.WEIGHTS}
    held = {path.name for path in out.iterdir()} if out.is_dir() else {out.name}
    if held and not (held <= known and checkpoint.is_compact(out)):
        raise RunError(f"--out {out}: holds other files; pass a new folder, or one that `export` wrote")


def _evaluations(options: argparse.Namespace, identity: str) -> list[dict[str, Any]]:
    """Read the results of `evaluate` for these weights. A file given on the command line must be one of them."""
    if options.evaluation is None:
        run = run_of(options.checkpoint)
        files = sorted(Path(run, "evaluation").glob("*.json")) if run else []
        return [result for file in files if (result := _of_weights(file, identity))]
    results = []
    for file in options.evaluation:
        result = _of_weights(file.expanduser(), identity)
        if result is None:
            raise RunError(
                f"{file}: is a result of other weights than {options.checkpoint}; evaluate these, then export again"
            )
        results.append(result)
    return results


def _of_weights(file: Path, identity: str) -> dict[str, Any] | None:
    """Read a result, put the row of these weights first, and remove all paths. None if it has no such row."""
    try:
        result = json.loads(file.read_text())
        result["dataset"].pop("place")
        rows = [{key: value for key, value in row.items() if key != "place"} for row in result["rows"]]
        own = [row for row in rows if row["kind"] == "checkpoint" and row["identity"].endswith(identity)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{file}: not a result of `evaluate`: {error}") from error
    if not own:
        return None
    others = [row for row in rows if row["kind"] != "checkpoint"]
    return {**result, "name": file.stem, "rows": [own[0], *others]}
