"""Run a training under Ray Train, in workers that the cluster places.

Workers write to the training's folder themselves, so it must be on storage that all nodes see. If a worker is lost, Ray
starts all of them again, and they resume from the last checkpoint.
"""

from __future__ import annotations

import argparse
import os
import re
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.command_line.stop import Stop
from pipeline.planning.run import RunError
from pipeline.training.errors import errors_in_one_line, expected_errors

if TYPE_CHECKING:
    from ray.train import ScalingConfig
    from ray.train.torch import TorchTrainer

    from stages.clip_gs.training.display import Display

_MAX_FAILURES = 3  # of workers; after that the training fails
_POLL_SECONDS = 1.0
_STOP = "stop"  # a file that asks the workers to save and exit: signals do not reach them
_COMPLAINT = "complaint"  # a file in which a worker writes why starting it again would not help
_DISCONNECTED = re.compile("connection (closed|reset|refused)", re.IGNORECASE)  # errors of the other workers


def train_on_ray(request: argparse.Namespace, steps: int) -> int:
    """Train until the end or a signal, and show the curve that the first worker writes; return the exit code."""
    import ray
    from ray.train import FailureConfig, RunConfig
    from ray.train.torch import TorchTrainer

    from pipeline.running.ray_placement import connect
    from stages.clip_gs.training.display import Display
    from stages.clip_gs.training.folder import alone, clear
    from stages.common.training.history import FILE

    folder = Path(request.folder)
    folder.mkdir(parents=True, exist_ok=True)
    _remove_messages(folder)
    connect()
    try:
        scaling = _scaling(request)
        if request.anew:  # here and not by a worker, which may be started again
            with errors_in_one_line(), alone(folder):
                clear(folder)
        config = {
            "settings": request.settings.model_dump(mode="json"),
            "dataset": request.dataset,
            "folder": request.folder,
        }
        run = RunConfig(
            name="ray", storage_path=request.folder, failure_config=FailureConfig(max_failures=_MAX_FAILURES)
        )
        trainer = TorchTrainer(
            _work,  # type: ignore[arg-type]  # the stubs are of Train V1
            train_loop_config=config,
            scaling_config=scaling,
            run_config=run,
        )
        with Stop((folder / _STOP).touch) as stop, Display(request.settings, steps) as display:
            _fit(trainer, folder / FILE, display)
        return stop.code
    finally:
        _remove_messages(folder)
        ray.shutdown()


def _remove_messages(folder: Path) -> None:
    for name in (_STOP, _COMPLAINT):
        (folder / name).unlink(missing_ok=True)


def _scaling(request: argparse.Namespace) -> ScalingConfig:
    import ray
    from ray.train import ScalingConfig

    available = ray.cluster_resources()
    gpus = request.gpus if request.gpus is not None else float(available.get("GPU", 0) > 0)
    per_worker = {"CPU": 1.0, **({"GPU": gpus} if gpus else {})}
    for kind, each in per_worker.items():
        if each * request.workers > available.get(kind, 0):
            raise RunError(
                f"--workers {request.workers}: these need {each * request.workers:g} {kind}s in all, but the "
                f"cluster has {available.get(kind, 0):g}"
            )
    return ScalingConfig(num_workers=request.workers, use_gpu=gpus > 0, resources_per_worker=per_worker)


def _fit(trainer: TorchTrainer, curve: Path, display: Display) -> None:
    """Run the trainer in a thread: in the main one Ray would handle Ctrl-C itself and end the workers unsaved."""
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
        thread.join(_POLL_SECONDS)
        for line in newest(curve, shown):
            display.show(line)
            shown = line["step"]
    if ended[0]:
        raise RunError(ended[0])


def cause(error: BaseException) -> str:
    """Return the last line of the error that explains the failure.

    Of several workers' errors, expected ones come first, and lost connections last.
    """
    failures = list(getattr(error, "worker_failures", {}).values()) or [error]
    telling = min(failures, key=lambda it: (not isinstance(it, expected_errors()), bool(_DISCONNECTED.search(str(it)))))
    lines = [line.strip() for line in str(telling).splitlines() if line.strip()]
    return lines[-1] if lines else type(telling).__name__


def _work(config: dict[str, Any]) -> str:
    """Train in one worker, on a node of the cluster; return an error that starting again would not cure, or ""."""
    import torch
    from ray.train.torch import get_device

    from stages.clip_gs.data.shards import Dataset
    from stages.clip_gs.ranks import joined
    from stages.clip_gs.settings import Training
    from stages.clip_gs.training.readiness import TrainingError
    from stages.clip_gs.training.trainer import train

    folder = Path(config["folder"])
    device = get_device()
    if device.type == "cpu":
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // int(os.environ["LOCAL_WORLD_SIZE"])))
    with joined(device) as ranks:
        if problem := next(filter(None, ranks.gather_objects(_problem(folder))), ""):
            return problem
        try:
            settings = Training.model_validate(config["settings"])
            train(settings, Dataset.open(config["dataset"]), folder, ranks, _FileExists(folder / _STOP))
        except TrainingError as error:  # raised on all ranks
            return str(error)
        except expected_errors() as error:
            (folder / _COMPLAINT).write_text(str(error))
            raise  # the others wait for this one; all are started again, find the complaint, and exit
    return ""


def _problem(folder: Path) -> str:
    """Return why this worker cannot train; "" if it can."""
    if not folder.is_dir():
        return (
            f"--run: {folder} does not exist on node {os.uname().nodename}; pass a folder on storage that all nodes see"
        )
    complaint = folder / _COMPLAINT
    return complaint.read_text() if complaint.exists() else ""


class _FileExists:
    """Whether a file exists, checked once a second."""

    def __init__(self, path: Path):
        self._path, self._checked, self._exists = path, 0.0, False

    def __call__(self) -> bool:
        if time.monotonic() - self._checked >= _POLL_SECONDS:
            self._checked, self._exists = time.monotonic(), self._path.exists()
        return self._exists
