"""The command `encode`: write the vectors that a CLIP-GS gives the objects of a dataset to a Parquet file."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from pipeline.commands.checkpoints import add_processes, named, open_dataset, progress_of, splits_of
from pipeline.training.processes import together
from stages.common.telling import tell_if_slow

if TYPE_CHECKING:
    from stages.clip_gs.ranks import Ranks


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "encode",
        parents=[common],
        help="write the CLIP-GS vectors of a dataset",
        description="Write a vector for each object, with its id, to a Parquet file.",
    )
    parser.add_argument("--checkpoint", required=True, help="a .pt file or a training's folder")
    parser.add_argument("--dataset", required=True, help="a run or its dataset: a path or a URI")
    parser.add_argument("--split", default="all", help="splits, such as test,unseen (default: all)")
    parser.add_argument("--out", required=True, metavar="FILE.parquet", help="a path or a URI")
    parser.add_argument("--float-type", choices=("float32", "float16"), default="float32")
    add_processes(parser)


def run(options: argparse.Namespace, overrides: dict[str, Any]) -> int:
    return together(_encode, options, options.processes)


def _encode(options: argparse.Namespace, ranks: Ranks) -> int:
    from stages.clip_gs.encode import publish, to_table
    from stages.clip_gs.training.checkpoint import identity, load_model
    from stages.clip_gs.vectors import encode_split

    dataset = open_dataset(options)
    splits = splits_of(options.split, dataset)
    with tell_if_slow("Loading the checkpoint"):
        model, state = load_model(options.checkpoint)
    encoded = {}
    for split in splits:
        with progress_of(ranks)(f"Vectors of {split}") as progress:
            encoded[split] = encode_split(model, state, dataset, split, ranks, progress)
    if ranks.first:
        name = next(iter(named([options.checkpoint])))
        described = {
            "model": identity(model, name),
            **{key: state[key] for key in ("teacher", "dimension", "step")},
            "gaussians": state["settings"]["model"]["gaussians"],
        }
        table = to_table(dataset, encoded, described, options.float_type)
        publish(table, options.out)
        print(f"{len(table)} vectors of {state['dimension']} numbers: {options.out}")
    return 0
