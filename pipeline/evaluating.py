"""The commands `evaluate` and `encode`: what is asked, where it is found, and where the answer goes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.console import Console

from manifests.store import is_uri, open_store
from pipeline.processes import together
from pipeline.run import RECIPE, RunError, absolute_place
from stages.models import Checkpoint, ModelError, find, same_model
from stages.progress import shown

if TYPE_CHECKING:
    from stages.clip_gs.evaluation.evaluate import Asked
    from stages.clip_gs.ranks import Ranks
    from stages.clip_gs.shards import Dataset

EMBEDDED = "stages/embedded/clip"
_WIDTH = 200  # of a table that goes into a file


def add_arguments(commands: Any, common: argparse.ArgumentParser) -> None:
    judge = commands.add_parser(
        "evaluate",
        parents=[common],
        help="measure checkpoints on a dataset",
        description="Zero-shot, retrieval and linear probes of checkpoints, beside the teacher and chance.",
    )
    judge.add_argument(
        "--checkpoint",
        action="append",
        required=True,
        help="a .pt file or a training's folder; given again, another column of the table",
    )
    judge.add_argument("--dataset", required=True, help="a run or its dataset: a path or a URI")
    judge.add_argument("--split", default="test", help="which objects, such as test,unseen or all (default: test)")
    judge.add_argument("--teacher", help="a CLIP's folder or hub name (default: the dataset's, where it can be found)")
    judge.add_argument("--templates", metavar="FILE", help="one a line, with {} for the name (default: 64 of our own)")
    judge.add_argument("--classes", metavar="FILE", help="one category a line (default: those of the split)")
    judge.add_argument("--name", help="of the result (default: from checkpoint, splits and dataset)")
    judge.add_argument("--out", metavar="FILE", help="(default: evaluation/NAME.json in the checkpoint's run)")
    judge.add_argument("--json", action="store_true", help="for machines")

    write = commands.add_parser(
        "encode", parents=[common], help="write CLIP-GS vectors of a dataset", description="Vectors by id, as Parquet."
    )
    write.add_argument("--checkpoint", required=True, help="a .pt file or a training's folder")
    write.add_argument("--dataset", required=True, help="a run or its dataset: a path or a URI")
    write.add_argument("--split", default="all", help="which objects, such as test,unseen (default: all)")
    write.add_argument("--out", required=True, metavar="FILE.parquet", help="a path or a URI")
    write.add_argument("--float-type", choices=("float32", "float16"), default="float32")
    for command in (judge, write):
        command.add_argument("--processes", type=int, default=1, metavar="N", help="share the work on this machine")


def run_evaluate(options: argparse.Namespace) -> int:
    return together(_evaluate, options, options.processes, _told_errors)


def run_encode(options: argparse.Namespace) -> int:
    return together(_encode, options, options.processes, _told_errors)


def _told_errors() -> tuple[type[Exception], ...]:
    from stages.clip_gs.checkpoint import CheckpointError
    from stages.clip_gs.evaluation.evaluate import EvaluationError
    from stages.clip_gs.evaluation.templates import TemplateError
    from stages.clip_gs.shards import DatasetError

    return (RunError, DatasetError, CheckpointError, EvaluationError, TemplateError, ModelError, OSError)


def _evaluate(options: argparse.Namespace, ranks: Ranks) -> int:
    from stages.clip_gs.evaluation.evaluate import Asked, evaluate
    from stages.clip_gs.evaluation.templates import OBJECTS, parse

    dataset = _open(options)
    asked = Asked(
        dataset=dataset,
        splits=_splits(options.split, dataset),
        checkpoints=named(options.checkpoint),
        teacher=find_teacher(options.teacher, dataset),
        classes=_classes(options.classes) if options.classes else None,
        templates=parse(_lines(options.templates, "--templates"), options.templates) if options.templates else OBJECTS,
    )
    result = evaluate(asked, ranks, shown if ranks.first else _unseen)
    if result is not None:
        _tell(result, asked, options)
    return 0


def _tell(result: dict[str, Any], asked: Asked, options: argparse.Namespace) -> None:
    from stages.clip_gs.evaluation.table import notes, to_table

    name = options.name or _name(asked)
    result = {"name": name, **result}
    folder, file = _split(options.out or f"{_home(asked)}/evaluation/{name}.json")
    text = json.dumps(result, indent=1, ensure_ascii=False)
    open_store(folder).replace(file, f"{text}\n".encode())
    if options.json:
        print(text)
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH)
    console.print(to_table(result))
    for line in notes(result):
        console.print(line)
    console.print(f"\nWritten to [bold]{folder}/{file}[/bold]", soft_wrap=True)


def _name(asked: Asked) -> str:
    """Of what is asked, so that another question's answer is not written over."""
    splits = asked.splits if asked.splits != ["test"] else []
    beside = _run_beside(asked.dataset)
    elsewhere = [] if beside == _home(asked) else ["on", beside.rpartition("/")[2]]
    return "-".join([next(iter(asked.checkpoints)), *splits, *elsewhere])


def _home(asked: Asked) -> str:
    """The first checkpoint's run, or the dataset's where it is of none."""
    return run_of(next(iter(asked.checkpoints.values()))) or _run_beside(asked.dataset)


def _encode(options: argparse.Namespace, ranks: Ranks) -> int:
    from stages.clip_gs.checkpoint import identity, load_model
    from stages.clip_gs.encode import publish, to_table
    from stages.clip_gs.vectors import encode_split

    dataset = _open(options)
    splits = _splits(options.split, dataset)
    model, told = load_model(options.checkpoint)
    encoded = {}
    for split in splits:
        with (shown if ranks.first else _unseen)(f"Vectors of {split}") as progress:
            encoded[split] = encode_split(model, told, dataset, split, ranks, progress)
    if ranks.first:
        name = next(iter(named([options.checkpoint])))
        described = {
            "model": identity(model, name),
            **{key: told[key] for key in ("teacher", "dimension", "step")},
            "gaussians": told["settings"]["model"]["gaussians"],
        }
        table = to_table(dataset, encoded, described, options.float_type)
        publish(table, options.out)
        print(f"{len(table)} vectors of {told['dimension']} numbers: {options.out}")
    return 0


def find_teacher(asked: str | None, dataset: Dataset) -> Checkpoint:
    """The model whose vectors the dataset has: as asked for, or where it may lie, known by its identity."""
    dataset.require_vectors()
    wanted = str(dataset.teacher)
    hub, _, revision = wanted.rpartition("@")
    if asked:
        found = find(asked, revision if asked == hub and "/" in hub else None)
        if not same_model(found.identity, wanted):
            raise RunError(f"--teacher {asked}: is {found.identity}, and the dataset's vectors are by {wanted}")
        return found
    places = [*_built_with(dataset), (EMBEDDED, None), *([(hub, revision)] if hub.count("/") == 1 else [])]
    seen = {}
    for place, commit in dict.fromkeys(places):
        try:
            found = find(place, commit)
        except ModelError:
            seen[place] = "nothing"
            continue
        if same_model(found.identity, wanted):
            return found
        seen[place] = found.identity
    there = ", ".join(f"{place} ({what})" for place, what in seen.items())
    raise RunError(f"the dataset's teacher, {wanted}, is not at {there}: pass --teacher PATH, the folder of that model")


def _built_with(dataset: Dataset) -> list[tuple[str, str | None]]:
    """Where the run's own recipe says that the teacher lay."""
    try:
        embed = yaml.safe_load(open_store(_run_beside(dataset)).read(RECIPE)).get("embed") or {}
    except (OSError, yaml.YAMLError, AttributeError):
        return []  # a dataset that was moved away from its run has none
    return [(embed["model"], embed.get("revision"))] if embed.get("model") else []


def _open(options: argparse.Namespace) -> Dataset:
    from stages.clip_gs.shards import Dataset

    return Dataset.open(absolute_place(options.dataset, "--dataset"))


def _splits(text: str, dataset: Dataset) -> list[str]:
    if text == "all":
        return list(dataset.splits)
    splits = list(dict.fromkeys(part.strip() for part in text.split(",")))
    for split in splits:
        dataset.groups(split)  # refuses one that is not there
    return splits


def named(checkpoints: list[str]) -> dict[str, str]:
    """Names of columns: a training's, with the file's where it is not the best; no two alike."""
    found: dict[str, str] = {}
    for place in checkpoints:
        folder, stem = _parted(place)
        trained = folder.parent.name == "training"
        name = folder.name if stem == "best" else f"{folder.name}-{stem}" if trained else stem
        count = sum(other == name or other.startswith(f"{name} (") for other in found)
        found[f"{name} ({count + 1})" if count else name] = place
    return found


def _parted(checkpoint: str) -> tuple[Path, str]:
    """A training's folder, or what stands for it, and which of its checkpoints."""
    path = Path(checkpoint).expanduser().absolute()
    return (path.parent, path.stem) if path.suffix == ".pt" else (path, "best")


def run_of(checkpoint: str) -> str:
    """The run that a checkpoint was trained in, "" if in none."""
    folder, _ = _parted(checkpoint)
    return str(folder.parents[1]) if folder.parent.name == "training" else ""


def _run_beside(dataset: Dataset) -> str:
    return dataset.place.rstrip("/").removesuffix("/dataset")


def _split(place: str) -> tuple[str, str]:
    folder, _, name = (place if is_uri(place) else str(Path(place).expanduser().absolute())).rpartition("/")
    return folder, name


def _classes(place: str) -> list[str]:
    names = [line.strip() for line in _lines(place, "--classes") if line.strip()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        raise RunError(f"--classes {place}: {f'{twice[0]!r} stands there twice' if twice else 'no names'}; one a line")
    return names


@contextmanager
def _unseen(title: str) -> Iterator[Callable[..., None]]:
    """A progress that the first process shows for all."""
    yield lambda *told: None


def _lines(place: str, field: str) -> list[str]:
    try:
        return Path(place).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{field} {place}: cannot be read: {error}; expected a text file") from error
