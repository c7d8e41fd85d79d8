"""A training under Ray Train: the same core, in processes that are placed by what the cluster has.

Workers write to the training's folder themselves, so it must lie where all nodes see it. A worker that is lost costs
the steps since the last checkpoint: Ray starts them all again, and they go on from there.
"""

from __future__ import annotations

import argparse
import os
import re
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.planning.run import RunError
from pipeline.training.errors import errors_in_one_line, expected_errors
from pipeline.training.stop import Stop

if TYPE_CHECKING:
    from ray.train import ScalingConfig
    from ray.train.torch import TorchTrainer

    from stages.clip_gs.training.display import Display

_LOSSES = 3  # of workers, before it is given up
_LOOK_SECONDS = 1.0
_STOP = "stop"  # a file that asks the workers to save and leave: signals do not reach them
_COMPLAINT = "complaint"  # a file in which a worker tells why it would be of no use to start it again
_SEVERED = re.compile("connection (closed|reset|refused)", re.IGNORECASE)  # what the others say where one is lost


def train_on_ray(asked: argparse.Namespace, steps: int) -> int:
    """Until it is through, showing what the first worker writes."""
    import ray
    from ray.train import FailureConfig, RunConfig
    from ray.train.torch import TorchTrainer

    from pipeline.running.ray_placement import connect
    from stages.clip_gs.training.display import Display
    from stages.clip_gs.training.folder import alone, clear
    from stages.common.training.history import FILE

    folder = Path(asked.folder)
    folder.mkdir(parents=True, exist_ok=True)
    _remove_notes(folder)
    connect()
    try:
        scaling = _scaling(asked)
        if asked.anew:  # here and not by a worker, which may be started again
            with errors_in_one_line(), alone(folder):
                clear(folder)
        told = {"settings": asked.settings.model_dump(mode="json"), "dataset": asked.dataset, "folder": asked.folder}
        run = RunConfig(name="ray", storage_path=asked.folder, failure_config=FailureConfig(max_failures=_LOSSES))
        trainer = TorchTrainer(
            _work,  # type: ignore[arg-type]  # the stubs are those of Train V1
            train_loop_config=told,
            scaling_config=scaling,
            run_config=run,
        )
        with Stop((folder / _STOP).touch) as stop, Display(asked.settings, steps) as display:
            _fit(trainer, folder / FILE, display)
        return stop.code
    finally:
        _remove_notes(folder)
        ray.shutdown()


def _remove_notes(folder: Path) -> None:
    for name in (_STOP, _COMPLAINT):
        (folder / name).unlink(missing_ok=True)


def _scaling(asked: argparse.Namespace) -> ScalingConfig:
    import ray
    from ray.train import ScalingConfig

    there = ray.cluster_resources()
    gpus = asked.gpus if asked.gpus is not None else float(there.get("GPU", 0) > 0)
    wanted = {"CPU": 1.0, **({"GPU": gpus} if gpus else {})}
    for kind, each in wanted.items():
        if each * asked.workers > there.get(kind, 0):
            raise RunError(
                f"--workers {asked.workers}: they take {each * asked.workers:g} {kind}s in all, and the cluster has "
                f"{there.get(kind, 0):g}"
            )
    return ScalingConfig(num_workers=asked.workers, use_gpu=gpus > 0, resources_per_worker=wanted)


def _fit(trainer: TorchTrainer, curve: Path, display: Display) -> None:
    """In a thread: in the main one Ray would take Ctrl-C for itself and end the workers unsaved."""
    from ray.train import TrainingFailedError

    from stages.common.training.history import newest

    ended: list[str] = []
    shown = max((line["step"] for line in newest(curve, 0)), default=0)

    def fit() -> None:
        try:
            ended.append(trainer.fit().return_value)  # type: ignore[attr-defined]  # of Train V2
        except TrainingFailedError as error:
            ended.append(f"a worker failed: {cause(error)}")
        except Exception as error:
            ended.append(f"Ray failed: {cause(error)}")

    thread = threading.Thread(target=fit)
    thread.start()
    while thread.is_alive():
        thread.join(_LOOK_SECONDS)
        for line in newest(curve, shown):
            display.show(line)
            shown = line["step"]
    if ended[0]:
        raise RunError(ended[0])


def cause(error: BaseException) -> str:
    """The last line of what is often pages; of several workers' first one of ours, last that a connection was lost."""
    failures = list(getattr(error, "worker_failures", {}).values()) or [error]
    told = min(failures, key=lambda one: (not isinstance(one, expected_errors()), bool(_SEVERED.search(str(one)))))
    lines = [line.strip() for line in str(told).splitlines() if line.strip()]
    return lines[-1] if lines else type(told).__name__


def _work(told: dict[str, Any]) -> str:
    """One process's part, on a node of the cluster; what went wrong, where that is known and would go wrong again."""
    import torch
    from ray.train.torch import get_device

    from stages.clip_gs.data.shards import Dataset
    from stages.clip_gs.ranks import joined
    from stages.clip_gs.settings import Training
    from stages.clip_gs.training.readiness import TrainingError
    from stages.clip_gs.training.trainer import train

    folder = Path(told["folder"])
    device = get_device()
    if device.type == "cpu":
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // int(os.environ["LOCAL_WORLD_SIZE"])))
    with joined(device) as ranks:
        if problem := next(filter(None, ranks.gather_objects(_problem(folder))), ""):
            return problem
        try:
            settings = Training.model_validate(told["settings"])
            train(settings, Dataset.open(told["dataset"]), folder, ranks, _Asked(folder / _STOP))
        except TrainingError as error:  # all ranks meet it
            return str(error)
        except expected_errors() as error:
            (folder / _COMPLAINT).write_text(str(error))
            raise  # the others wait for this one: all are started again, find the complaint, and leave
    return ""


def _problem(folder: Path) -> str:
    """Why this process cannot work."""
    if not folder.is_dir():
        return f"--run: {folder} is not there on node {os.uname().nodename}; it must lie where all nodes see it"
    complaint = folder / _COMPLAINT
    return complaint.read_text() if complaint.exists() else ""


class _Asked:
    """Whether the file is there, looked for once a second."""

    def __init__(self, path: Path):
        self._path, self._looked, self._found = path, 0.0, False

    def __call__(self) -> bool:
        if time.monotonic() - self._looked >= _LOOK_SECONDS:
            self._looked, self._found = time.monotonic(), self._path.exists()
        return self._found
