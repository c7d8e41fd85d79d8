"""Functions for the commands that take checkpoints and a dataset: their options, and how both are named and opened."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.planning.run import absolute_location
from stages.common.progress_bar import Report, progress_bar
from stages.common.telling import tell_if_slow

if TYPE_CHECKING:
    from stages.clip_gs.data.shards import Dataset
    from stages.clip_gs.ranks import Ranks


def add_processes(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--processes",
        type=int,
        default=1,
        metavar="N",
        help="how many processes of this machine share the work (default: 1)",
    )


def open_dataset(options: argparse.Namespace) -> Dataset:
    from stages.clip_gs.data.shards import Dataset

    with tell_if_slow("Opening the dataset"):
        return Dataset.open(absolute_location(options.dataset, "--dataset"))


def splits_of(text: str, dataset: Dataset) -> list[str]:
    if text == "all":
        return list(dataset.splits)
    splits = list(dict.fromkeys(part.strip() for part in text.split(",")))
    for split in splits:
        dataset.groups(split)  # raises DatasetError if there is no such split
    return splits


def named(checkpoints: list[str]) -> dict[str, str]:
    """Give each checkpoint a unique name: of its training, with that of its file unless it is best.pt."""
    found: dict[str, str] = {}
    for place in checkpoints:
        folder, stem = _folder_and_stem(place)
        trained = folder.parent.name == "training"
        name = folder.name if stem == "best" else f"{folder.name}-{stem}" if trained else stem
        count = sum(other == name or other.startswith(f"{name} (") for other in found)
        found[f"{name} ({count + 1})" if count else name] = place
    return found


def _folder_and_stem(checkpoint: str) -> tuple[Path, str]:
    """The folder of a checkpoint, and the name of its file without .pt (`best` for a folder)."""
    path = Path(checkpoint).expanduser().absolute()
    return (path.parent, path.stem) if path.suffix == ".pt" else (path, "best")


def run_of(checkpoint: str) -> str:
    """The run that a checkpoint was trained in; "" if it is in no run."""
    folder, _ = _folder_and_stem(checkpoint)
    return str(folder.parents[1]) if folder.parent.name == "training" else ""


def run_beside(dataset: Dataset) -> str:
    """The run folder that the dataset is in."""
    return dataset.place.rstrip("/").removesuffix("/dataset")


def progress_of(ranks: Ranks) -> Callable[[str], AbstractContextManager[Report]]:
    """Return a progress bar for the first process, and one that shows nothing for the others."""
    return progress_bar if ranks.first else _unseen


@contextmanager
def _unseen(title: str) -> Iterator[Report]:
    yield lambda done, count, loss=None: None
