"""The command `train`: check the options, run the training in its processes, and print a summary."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from manifests.addresses import is_uri
from pipeline.command_line.called import program, python
from pipeline.command_line.console import plain_console
from pipeline.command_line.settings_help import settings_help
from pipeline.command_line.stop import Stop
from pipeline.planning.run import RunError, absolute_location
from pipeline.settings import OF_TRAIN, load, to_yaml
from pipeline.training.errors import errors_in_one_line
from pipeline.training.processes import Terminated, together
from stages.clip_gs.settings import Training
from stages.common.telling import is_quiet, tell_if_slow, to_clock

if TYPE_CHECKING:
    from stages.clip_gs.ranks import Ranks

SETTINGS = Training  # the fields that the command line can set


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "train",
        parents=[common],
        help="train a CLIP-GS on a dataset",
        description="Train a CLIP-GS on a dataset. To resume a training, run the same command again.",
        epilog=settings_help(Training),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = ", ".join(OF_TRAIN.names)
    parser.add_argument("recipe", nargs="?", default="mini", help=f"a preset ({names}; default: mini) or a YAML file")
    parser.add_argument("--run", default="", help="the run folder, a path; the training is in its training/NAME")
    parser.add_argument("--dataset", default="", help="a run or its dataset: a path or a URI (default: that of --run)")
    parser.add_argument("--name", default="default", help="name of the training (default: default)")
    parser.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="where the workers run (default: local)"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="how many processes, each with a GPU if there are any (default: 1)",
    )
    parser.add_argument("--gpus", type=float, metavar="G", help="GPUs per worker on Ray (default: 1 if there are any)")
    parser.add_argument(
        "--anew", action="store_true", help="delete the training of this name first, and start at step 1"
    )
    parser.add_argument("--print-config", action="store_true", help="print all settings and exit")


def run(options: argparse.Namespace, overrides: dict[str, Any]) -> int:
    settings = load(Training, options.recipe, overrides, OF_TRAIN)
    if options.print_config:
        print(to_yaml(settings), end="")
        return 0
    request = _checked(options, settings)
    if request.engine == "ray":
        from pipeline.training.on_ray import train_on_ray

        code = train_on_ray(request, _check(request))
    else:
        code = _train_here(request)
    if os.environ.get("RANK", "0") == "0":
        with errors_in_one_line():
            print_summary(request)
    return code


def _checked(options: argparse.Namespace, settings: Training) -> argparse.Namespace:
    """Check the options; return them with the settings, and with absolute paths for workers on other nodes."""
    if not options.run:
        raise RunError("--run is missing; pass the run folder, in which training/NAME is made")
    if is_uri(options.run):
        raise RunError(
            f"--run {options.run}: checkpoints are written to a folder, not to a URI; pass a path that all processes "
            "share, and the dataset's URI as --dataset"
        )
    if not re.fullmatch(r"\w[\w.+-]*", options.name):
        raise RunError(f"--name {options.name!r}: letters, digits and . _ + - only, since a folder gets this name")
    if options.workers < 1:
        raise RunError(f"--workers {options.workers}: must be at least 1")
    if options.gpus is not None and options.engine != "ray":
        raise RunError(f"--gpus {options.gpus:g}: is for --engine ray; a local worker takes one GPU, if there are any")
    if settings.start_from:
        settings = settings.model_copy(update={"start_from": absolute_location(settings.start_from, "start_from")})
    run = absolute_location(options.run, "--run")
    return argparse.Namespace(
        settings=settings,
        folder=str(Path(run) / "training" / options.name),
        dataset=absolute_location(options.dataset, "--dataset") if options.dataset else run,
        **{name: getattr(options, name) for name in ("engine", "workers", "gpus", "anew", "debug")},
    )


def _check(request: argparse.Namespace) -> int:
    """Check before any worker starts that the training can run; return its number of steps."""
    from stages.clip_gs.data.shards import Dataset
    from stages.clip_gs.training.trainer import ready

    with errors_in_one_line():
        return ready(
            request.settings, Dataset.open(request.dataset), Path(request.folder), request.workers, request.anew
        )


def _train_here(request: argparse.Namespace) -> int:
    if request.workers == 1:
        return together(work, request, 1)
    _check(request)
    with Stop(_end_children) as stop:
        try:
            together(work, request, request.workers)
        except Terminated:
            if not stop.signal:
                raise
    return stop.code


def work(request: argparse.Namespace, ranks: Ranks) -> int:
    """Train, in one of the processes; return its exit code."""
    from stages.clip_gs.data.shards import Dataset
    from stages.clip_gs.training.readiness import TrainingError
    from stages.clip_gs.training.trainer import train
    from stages.common.training.checkpoint import CheckpointError

    with Stop() as stop:
        try:
            with tell_if_slow("Opening the dataset"):
                dataset = Dataset.open(request.dataset)
            train(request.settings, dataset, Path(request.folder), ranks, lambda: bool(stop.signal), request.anew)
        except (TrainingError, CheckpointError):
            if ranks.first:
                raise
            return 1  # every process raises them; the first reports them
    return stop.code


def _end_children() -> None:
    for child in multiprocessing.active_children():
        if child.pid:
            os.kill(child.pid, signal.SIGTERM)


def print_summary(request: argparse.Namespace) -> None:
    from stages.clip_gs.training.checkpoint import BEST, LAST, description_of, read
    from stages.common.training.history import FILE
    from stages.common.training.history import read as read_curve

    console = plain_console(soft_wrap=True)
    folder = Path(request.folder)
    if not (folder / LAST).exists():
        console.print("Stopped before the first checkpoint.")
        return
    state = description_of(read(folder / LAST), folder / LAST)
    curve = read_curve(folder / FILE)
    if state["step"] < state["steps"]:
        done = f"step {state['step']:,} of {state['steps']:,}"
        console.print(f"Stopped after {done}. It is saved; run the same command again to resume.")
        return
    end = f": loss {curve[-1]['loss']:.3f}, {curve[-1]['accuracy']:.0%} accuracy in the batch" if curve else ""
    took = to_clock(state["seconds"])
    what = f" in {took} on {request.dataset}, teacher {state['teacher']}{end}"
    console.print(Text.assemble((f"{state['steps']:,} steps", "bold"), what))
    best = state["best"]
    if best:
        console.print(f"Best on {best['split']} at step {best['step']:,}: text to 3D R@1 {best['recall']:.1%}")
    files = ", ".join(name for name in (BEST, LAST, FILE, "tensorboard/") if (folder / name).exists())
    console.print(Text.assemble((str(folder), "bold"), f": {files}"))
    if is_quiet():
        return
    console.print(f"\nTry next:\n  {program()} evaluate --checkpoint {folder} --dataset {request.dataset}")
    console.print(f"  {python()} -m tensorboard.main --logdir {folder.parent}")
