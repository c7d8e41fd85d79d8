"""The command `evaluate`: find the checkpoints, the dataset and its teacher, evaluate, and write the result."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.text import Text

from manifests.addresses import is_uri
from manifests.store import open_store
from pipeline.command_line.console import plain_console
from pipeline.commands.checkpoints import (
    add_processes,
    named,
    open_dataset,
    progress_of,
    run_beside,
    run_of,
    splits_of,
)
from pipeline.planning.run import RECIPE, RunError
from pipeline.training.processes import together
from stages.common.models import Checkpoint, ModelError, find, same_model

if TYPE_CHECKING:
    from stages.clip_gs.data.shards import Dataset
    from stages.clip_gs.evaluation.evaluate import Request
    from stages.clip_gs.ranks import Ranks

EMBEDDED = "stages/embedded/clip"
_WIDTH = 200  # characters, of a table that is not shown in a terminal


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "evaluate",
        parents=[common],
        help="measure checkpoints on a dataset",
        description="Measure zero-shot classification, retrieval and linear probes, beside the teacher and chance.",
    )
    parser.add_argument(
        "--checkpoint",
        action="append",
        required=True,
        help="a .pt file or a training's folder; may be given several times",
    )
    parser.add_argument("--dataset", required=True, help="a run or its dataset: a path or a URI")
    parser.add_argument("--split", default="test", help="splits, such as test,unseen, or all (default: test)")
    parser.add_argument("--teacher", help="folder or hub name of the dataset's CLIP (default: look for it)")
    parser.add_argument(
        "--templates", metavar="FILE", help="prompts, one per line, with {} for the name (default: 64 built-in ones)"
    )
    parser.add_argument("--classes", metavar="FILE", help="category names, one per line (default: those of the splits)")
    parser.add_argument("--name", help="name of the result (default: from checkpoint, splits and dataset)")
    parser.add_argument(
        "--out", metavar="FILE", help="result file (default: evaluation/NAME.json in the checkpoint's run)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")

    add_processes(parser)


def run(options: argparse.Namespace, overrides: dict[str, Any]) -> int:
    return together(_evaluate, options, options.processes)


def _evaluate(options: argparse.Namespace, ranks: Ranks) -> int:
    from stages.clip_gs.evaluation.evaluate import Request, evaluate
    from stages.clip_gs.evaluation.templates import OBJECTS, parse

    dataset = open_dataset(options)
    request = Request(
        dataset=dataset,
        splits=splits_of(options.split, dataset),
        checkpoints=named(options.checkpoint),
        teacher=find_teacher(options.teacher, dataset),
        classes=_classes(options.classes) if options.classes else None,
        templates=parse(_lines(options.templates, "--templates"), options.templates) if options.templates else OBJECTS,
    )
    result = evaluate(request, ranks, progress_of(ranks))
    if result is not None:
        _report(result, request, options)
    return 0


def _report(result: dict[str, Any], request: Request, options: argparse.Namespace) -> None:
    from stages.clip_gs.evaluation.table import notes, to_table

    name = options.name or _name(request)
    result = {"name": name, **result}
    folder, file = _split(options.out or f"{_home(request)}/evaluation/{name}.json")
    text = json.dumps(result, indent=1, ensure_ascii=False)
    open_store(folder).replace(file, f"{text}\n".encode())
    if options.json:
        print(text)
        return
    console = plain_console()
    if not console.is_terminal:
        console = plain_console(width=_WIDTH)
    console.print(to_table(result))
    for line in notes(result):
        console.print(line)
    console.print(Text.assemble("\nWritten to ", (f"{folder}/{file}", "bold")), soft_wrap=True)


def _name(request: Request) -> str:
    """A name made of checkpoint, splits and dataset, so that another evaluation's result is not overwritten."""
    splits = request.splits if request.splits != ["test"] else []
    beside = run_beside(request.dataset)
    elsewhere = [] if beside == _home(request) else ["on", beside.rpartition("/")[2]]
    return "-".join([next(iter(request.checkpoints)), *splits, *elsewhere])


def _home(request: Request) -> str:
    """The run of the first checkpoint or, if that is in no run, of the dataset."""
    return run_of(next(iter(request.checkpoints.values()))) or run_beside(request.dataset)


def find_teacher(given: str | None, dataset: Dataset) -> Checkpoint:
    """Find the model that made the vectors of the dataset: at `given`, else where it may be. Check its identity."""
    dataset.require_vectors()
    wanted = str(dataset.teacher)
    hub, _, revision = wanted.rpartition("@")
    if given:
        found = find(given, revision if given == hub and "/" in hub else None)
        if not same_model(found.identity, wanted):
            raise RunError(f"--teacher {given}: is {found.identity}, but the dataset's vectors are from {wanted}")
        return found
    candidates = [*_built_with(dataset), (EMBEDDED, None), *([(hub, revision)] if hub.count("/") == 1 else [])]
    others = {}
    for name, commit in dict.fromkeys(candidates):
        try:
            found = find(name, commit)
        except ModelError:
            others[name] = "nothing"
            continue
        if same_model(found.identity, wanted):
            return found
        others[name] = found.identity
    tried = ", ".join(f"{name} ({identity})" for name, identity in others.items())
    raise RunError(f"the dataset's teacher, {wanted}, is not at {tried}; pass --teacher PATH, the folder of that model")


def _built_with(dataset: Dataset) -> list[tuple[str, str | None]]:
    """Where the recipe of the dataset's run has the teacher: the model of the stage with its checkpoint."""
    try:
        stages = yaml.safe_load(open_store(run_beside(dataset)).read(RECIPE)).values()
    except (OSError, yaml.YAMLError, AttributeError):
        return []  # a dataset that was moved out of its run has no recipe
    known = [stage for stage in stages if isinstance(stage, dict) and stage.get("model") and stage.get("checkpoint")]
    return [
        (stage["model"], stage.get("revision"))
        for stage in known
        if same_model(stage["checkpoint"], str(dataset.teacher))
    ]


def _split(path: str) -> tuple[str, str]:
    folder, _, name = (path if is_uri(path) else str(Path(path).expanduser().absolute())).rpartition("/")
    return folder, name


def _classes(path: str) -> list[str]:
    names = [line.strip() for line in _lines(path, "--classes") if line.strip()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        raise RunError(
            f"--classes {path}: {f'{twice[0]!r} is listed twice' if twice else 'no names'}; expected one name per line"
        )
    return names


def _lines(path: str, option: str) -> list[str]:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{option} {path}: cannot be read: {error}; expected a text file") from error
