"""The command `train`: what is asked, the processes it takes, and its last words."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from rich.console import Console

from manifests.store import is_uri
from pipeline.figures import to_clock
from pipeline.processes import Terminated, together
from pipeline.run import RunError, absolute_place
from pipeline.settings import PRESETS, load, preset_names, to_yaml
from stages.clip_gs.settings import Training

if TYPE_CHECKING:
    from stages.clip_gs.ranks import Ranks

_PRESETS = PRESETS / "train"


def add_arguments(commands: Any, common: argparse.ArgumentParser) -> None:
    learn = commands.add_parser(
        "train",
        parents=[common],
        help="train a CLIP-GS on a dataset",
        description="Train, or go on with a training: the same command again is the resume.",
        epilog="Any setting can be changed by its path: --batch 64 --optimiser.rate 1e-3. See --print-config.",
    )
    names = ", ".join(preset_names(_PRESETS))
    learn.add_argument("recipe", nargs="?", default="mini", help=f"a preset ({names}; default: mini) or a YAML file")
    learn.add_argument("--run", default="", help="the run folder, in which training/NAME is made: a path")
    learn.add_argument("--dataset", default="", help="a run or its dataset: a path or a URI (default: that of --run)")
    learn.add_argument("--name", default="default", help="of this training in the run (default: default)")
    learn.add_argument("--engine", choices=("local", "ray"), default="local", help="where it runs (default: local)")
    learn.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes, each with a GPU if there are any"
    )
    learn.add_argument(
        "--gpus", type=float, metavar="G", help="GPUs a worker takes on Ray (default: 1 if there are any)"
    )
    learn.add_argument("--anew", action="store_true", help="first remove what --name holds, and begin at step 1")
    learn.add_argument("--print-config", action="store_true", help="show all settings and end")


def run_train(options: argparse.Namespace, overrides: dict[str, Any]) -> int:
    settings = load(Training, options.recipe, overrides, _PRESETS)
    if options.print_config:
        print(to_yaml(settings), end="")
        return 0
    asked = _asked(options, settings)
    if asked.engine == "ray":
        from pipeline.training_ray import train_on_ray

        code = train_on_ray(asked, _check(asked))
    else:
        code = _train_here(asked)
    if os.environ.get("RANK", "0") == "0":
        with told_in_one_line():
            print_closing(asked)
    return code


def _asked(options: argparse.Namespace, settings: Training) -> argparse.Namespace:
    """The options with the settings, and with places that hold wherever a worker is."""
    if not options.run:
        raise RunError("--run is missing: the folder in which training/NAME is made")
    if is_uri(options.run):
        raise RunError(
            f"--run {options.run}: checkpoints are written to a folder that all processes see; give a path here, and "
            "the dataset's URI as --dataset"
        )
    if not re.fullmatch(r"\w[\w.+-]*", options.name):
        raise RunError(f"--name {options.name!r}: letters, digits and . _ + - only: it names a folder")
    if options.workers < 1:
        raise RunError(f"--workers {options.workers}: at least 1")
    if options.gpus is not None and options.engine != "ray":
        raise RunError(
            f"--gpus {options.gpus:g}: is for --engine ray; here each process takes one, where there are any"
        )
    if settings.start_from:
        settings = settings.model_copy(update={"start_from": absolute_place(settings.start_from, "start_from")})
    run = absolute_place(options.run, "--run")
    return argparse.Namespace(
        settings=settings,
        folder=str(Path(run) / "training" / options.name),
        dataset=absolute_place(options.dataset, "--dataset") if options.dataset else run,
        **{name: getattr(options, name) for name in ("engine", "workers", "gpus", "anew", "debug")},
    )


def _check(asked: argparse.Namespace) -> int:
    """Before any worker starts: how many steps it will take."""
    from stages.clip_gs.shards import Dataset
    from stages.clip_gs.trainer import ready

    with told_in_one_line():
        return ready(asked.settings, Dataset.open(asked.dataset), Path(asked.folder), asked.workers, asked.anew)


@contextmanager
def told_in_one_line() -> Iterator[None]:
    try:
        yield
    except told_errors() as error:
        raise RunError(str(error)) from error


def told_errors() -> tuple[type[Exception], ...]:
    """Those that one line tells all of."""
    from stages.clip_gs.checkpoint import CheckpointError
    from stages.clip_gs.readiness import TrainingError
    from stages.clip_gs.shards import DatasetError

    return (RunError, DatasetError, TrainingError, CheckpointError, OSError)


def _train_here(asked: argparse.Namespace) -> int:
    if asked.workers == 1:
        return together(work, asked, 1, told_errors)
    _check(asked)
    with Stop(_end_children) as stop:
        try:
            together(work, asked, asked.workers, told_errors)
        except Terminated:
            if not stop.signal:
                raise
    return stop.code


def work(asked: argparse.Namespace, ranks: Ranks) -> int:
    """One process's part."""
    from stages.clip_gs.checkpoint import CheckpointError
    from stages.clip_gs.readiness import TrainingError
    from stages.clip_gs.shards import Dataset
    from stages.clip_gs.trainer import train

    with Stop() as stop:
        try:
            dataset = Dataset.open(asked.dataset)
            train(asked.settings, dataset, Path(asked.folder), ranks, lambda: bool(stop.signal), asked.anew)
        except (TrainingError, CheckpointError):
            if ranks.first:
                raise
            return 1  # all ranks meet them; the first tells of them
    return stop.code


def _end_children() -> None:
    for child in multiprocessing.active_children():
        if child.pid:
            os.kill(child.pid, signal.SIGTERM)


class Stop:
    """Ctrl-C or SIGTERM, remembered; Ctrl-C once more ends the process as it always would."""

    def __init__(self, then: Callable[[], None] = lambda: None):
        self.signal = 0
        self._then = then

    @property
    def code(self) -> int:
        """What the process should end with."""
        return 128 + self.signal if self.signal else 0

    def __enter__(self) -> Stop:
        self._before = {number: signal.signal(number, self._heard) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._then()


def print_closing(asked: argparse.Namespace) -> None:
    from stages.clip_gs.checkpoint import BEST, LAST, read, told_of
    from stages.clip_gs.curve import FILE
    from stages.clip_gs.curve import read as read_curve

    console = Console(soft_wrap=True, highlight=False)
    folder = Path(asked.folder)
    if not (folder / LAST).exists():
        console.print("Stopped before the first checkpoint.")
        return
    state = told_of(read(folder / LAST), folder / LAST)
    curve = read_curve(folder / FILE)
    if state["step"] < state["steps"]:
        done = f"step {state['step']:,} of {state['steps']:,}"
        console.print(f"Stopped after {done}, and saved; the same command goes on from here.")
        return
    end = f": loss {curve[-1]['loss']:.3f}, {curve[-1]['accuracy']:.0%} right in the batch" if curve else ""
    took = to_clock(state["seconds"])
    console.print(
        f"[bold]{state['steps']:,} steps[/bold] in {took} on {asked.dataset}, teacher {state['teacher']}{end}"
    )
    best = state["best"]
    if best:
        console.print(f"Best on {best['split']} at step {best['step']:,}: text to 3D R@1 {best['recall']:.1%}")
    files = ", ".join(name for name in (BEST, LAST, FILE, "tensorboard/") if (folder / name).exists())
    console.print(f"[bold]{folder}[/bold]: {files}")
    python = os.path.relpath(sys.executable) if sys.prefix.startswith(os.getcwd()) else "python"
    console.print(f"\nTry next:\n  {python} -m pipeline evaluate --checkpoint {folder} --dataset {asked.dataset}")
    console.print(f"  {python} -m tensorboard.main --logdir {folder.parent}")
