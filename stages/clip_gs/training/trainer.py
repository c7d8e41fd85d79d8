"""Train a CLIP-GS from its first step, or from its last checkpoint, to the end.

Everything random in a step depends on the seed, the step and the rank, so no state of random generators is kept, and a
resumed training repeats steps with the same results.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stages.clip_gs.batch import Batch, Gaussians
from stages.clip_gs.data.augment import augmented
from stages.clip_gs.data.loader import Loader
from stages.clip_gs.data.shards import Dataset, DatasetError
from stages.clip_gs.network.model import ClipGs
from stages.clip_gs.ranks import Ranks
from stages.clip_gs.settings import Training
from stages.clip_gs.training import checkpoint
from stages.clip_gs.training.folder import alone, clear
from stages.clip_gs.training.losses import compute_losses
from stages.clip_gs.training.optimiser import Average, optimisers_of, share_at
from stages.clip_gs.training.precision import autocast
from stages.clip_gs.training.readiness import TrainingError, categories_of, check, steps_of
from stages.clip_gs.training.record import TrainingRecord
from stages.clip_gs.training.start import load_start_weights
from stages.clip_gs.training.validation import Validation
from stages.common.training.checkpoint import CheckpointError
from stages.common.training.optimiser import update

_STARTED_FROM = "started_from.txt"  # which tensors of `start_from` were used


def train(
    settings: Training,
    dataset: Dataset,
    folder: Path,
    ranks: Ranks,
    asked_to_stop: Callable[[], bool] = bool,
    anew: bool = False,
) -> None:
    """Train, and leave settings.yaml, last.pt, best.pt, curve.jsonl and TensorBoard's events in the folder.

    `asked_to_stop` is called at each step, on each rank; if it returns True, the training is saved and ends. `anew`:
    remove the folder's contents first, after all checks have passed.
    """
    with ExitStack() as stack:
        with _raised_by_all(ranks):
            if ranks.first:
                stack.enter_context(alone(folder))
                ready(settings, dataset, folder, ranks.world, anew)
                if anew:
                    clear(folder)
        Trainer(settings, dataset, folder, ranks).run(asked_to_stop)


def ready(settings: Training, dataset: Dataset, folder: Path, world: int, anew: bool = False) -> int:
    """Check that the training can run; return its number of steps. `anew`: ignore the folder's contents."""
    if not anew:
        return check(settings, dataset, folder, world)
    steps = check(settings, dataset, None, world)
    if settings.start_from:
        start = Path(settings.start_from).expanduser()
        if start.resolve().is_relative_to(folder.resolve()):
            raise TrainingError(
                f"start_from: {start} is in {folder}, which --anew removes; copy it elsewhere, or pass another --name"
            )
        with torch.device("meta"):  # only its shapes are needed
            model = ClipGs(settings.model, dataset.dimension, settings.loss.start_scale)
        load_start_weights(model, settings.start_from, str(dataset.teacher))
    return steps


@contextmanager
def _raised_by_all(ranks: Ranks) -> Iterator[None]:
    """Raise an expected error of one process in all of them; the others would wait for it forever."""
    met: Exception | None = None
    try:
        yield
    except CheckpointError as error:
        met = error
    except (TrainingError, DatasetError, OSError) as error:
        met = TrainingError(str(error))
    for failure in ranks.gather_objects(met):
        if failure:
            raise failure


class Trainer:
    """One process's part in a training."""

    def __init__(self, settings: Training, dataset: Dataset, folder: Path, ranks: Ranks):
        self.settings, self.dataset, self.folder, self.ranks = settings, dataset, folder, ranks
        last = folder / checkpoint.LAST
        resumes = ranks.gather_objects(last.exists())[0]  # on another node a shared folder may look older
        with _raised_by_all(ranks):
            data, gaussians = settings.data, settings.model.gaussians
            self.loader = Loader(dataset, data, gaussians, settings.batch, ranks.rank, ranks.world)
            if ranks.first:
                self.loader.selection.warn(data.split)
            self.steps = steps_of(settings, self.loader.steps_per_epoch)
            self.validation = Validation(settings, dataset, ranks)
            torch.manual_seed(settings.seed)
            self.model = ClipGs(settings.model, dataset.dimension, settings.loss.start_scale).to(ranks.device)
            self.started_from = ""
            self.categories = set(categories_of(dataset, settings))  # and those of the checkpoint it starts from
            if settings.start_from and ranks.first and not resumes:  # the others are given the first rank's weights
                teacher = str(dataset.teacher)
                report, known = load_start_weights(self.model, settings.start_from, teacher)
                self.started_from = str(report)
                self.categories |= set(known)
            state = checkpoint.read(last, ranks.device) if resumes else None
        self.called = ranks.shared(self.model)
        if settings.compile:
            self.model.compile()
        self.optimisers = optimisers_of(self.model, settings.optimiser)
        self.average = Average(self.model, settings.ema) if settings.ema else None
        self.step, self.seconds = 0, 0.0
        self.best: dict[str, Any] | None = None
        if state:
            self._resume(state)

    def run(self, asked_to_stop: Callable[[], bool]) -> None:
        with ExitStack() as stack:
            batches = stack.enter_context(closing(self._batches()))
            record = stack.enter_context(self._record()) if self.ranks.first else None
            before, begun = self.seconds, time.monotonic()
            self.model.train()
            for batch in batches:
                figures, stop = self._learn(batch, asked_to_stop())
                self.step += 1
                ends, better = stop or self.step == self.steps, False
                if self.step % self.settings.check_every == 0 or self.step == self.steps:
                    checked, better = self._validate()
                    figures |= checked
                self.seconds = before + time.monotonic() - begun
                if record:
                    record.add({"step": self.step, **figures, "seconds": round(self.seconds, 3)})
                    if better:  # before last.pt, which names it
                        record.save_best(self._state(whole=False))
                    if ends or record.due:
                        record.save(self._state(whole=True))
                if ends:
                    break

    def _record(self) -> TrainingRecord:
        record = TrainingRecord(self.folder, self.settings, self.step, self.steps)
        if self.started_from:
            (self.folder / _STARTED_FROM).write_text(f"{self.started_from}\n")
            record.say(self.started_from)
        record.say(self.loader.selection.captions_summary)
        return record

    def _batches(self) -> Generator[Batch]:
        with closing(self.loader.batches(self.step)) as read:
            for batch in islice(read, self.steps - self.step):
                yield batch.to(self.ranks.device)

    def _learn(self, batch: Batch, stop: bool) -> tuple[dict[str, float], bool]:
        """Do one step. Return its figures, and whether any process was asked to stop."""
        settings, model = self.settings, self.model
        torch.manual_seed(self._seed("drop path"))
        drawn = torch.Generator().manual_seed(self._seed("augment"))
        vectors = self._vectors(self.called, augmented(batch.gaussians, settings.augment, drawn))
        scale = model.logit_scale.exp()
        losses = compute_losses(vectors, batch, scale, settings.loss, self.ranks.gather)
        model.zero_grad(set_to_none=True)
        losses.total.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), settings.optimiser.clip)
        figures = _numbers(
            {"loss": losses.total, **losses.terms, "accuracy": losses.accuracy, "norm": norm, "scale": scale}
        )
        odd = not (math.isfinite(figures["loss"]) and math.isfinite(figures["norm"]))
        stop, odd = self.ranks.any(stop, odd)
        if odd:
            self._refuse(batch, figures)
        share = share_at(self.step, self.steps, settings.optimiser.warm_share)
        update(self.optimisers, share)
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(settings.loss.most_scale))
        if self.average:
            self.average.update(model, self.step)
        return {**figures, "rate": settings.optimiser.rate * share}, stop

    def _vectors(self, model: nn.Module, gaussians: Gaussians) -> torch.Tensor:
        with autocast(self.settings.precision, self.ranks.device):
            return model(gaussians)

    def _validate(self) -> tuple[dict[str, float], bool]:
        """Validate. Return the figures, and whether they are the best so far."""
        self.model.eval()
        with self.average.worn(self.model) if self.average else nullcontext():
            figures = self.validation.figures(
                lambda gaussians: self._vectors(self.model, gaussians), self.model.logit_scale.exp()
            )
        self.model.train()
        if not figures:
            return {}, False
        found: dict[str, Any] = {
            "split": self.validation.split,
            "step": self.step,
            "recall": figures["check/recall"],
            "rank": figures["check/rank"],
            "loss": figures["check/loss"],
        }
        better = self.best is None or (found["rank"], -found["loss"]) > (self.best["rank"], -self.best["loss"])
        if better:
            self.best = found
        return figures, better

    def _state(self, whole: bool) -> dict[str, Any]:
        """Return the state to resume from (`whole`), or what is needed to use the model."""
        return {
            "settings": self.settings.model_dump(mode="json"),
            "dimension": self.dataset.dimension,
            "teacher": self.dataset.teacher,
            "dataset": self.dataset.identity,
            "objects": self.loader.rows,
            "categories": sorted(self.categories),
            "step": self.step,
            "steps": self.steps,
            "seconds": self.seconds,
            "best": self.best,
            "weights": self.model.state_dict(),
            "average": self.average.state if self.average else None,
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers] if whole else None,
        }

    def _resume(self, state: dict[str, Any]) -> None:
        try:
            self.step, self.seconds, self.best = state["step"], state["seconds"], state["best"]
            self.categories = set(state["categories"])
            self.model.load_state_dict(state["weights"])
            for optimiser, kept in zip(self.optimisers, state["optimisers"], strict=True):
                optimiser.load_state_dict(kept)
            if self.average:
                self.average.state = state["average"]
        except (KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"{self.folder / checkpoint.LAST}: was written by another version and cannot be resumed; pass another "
                "--name, with this file as start_from"
            ) from error

    def _seed(self, purpose: str) -> int:
        name = f"{self.settings.seed} {self.step} {self.ranks.rank} {purpose}"
        return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") >> 1

    def _refuse(self, batch: Batch, figures: dict[str, float]) -> None:
        """Raise TrainingError on every rank, with the ids of all ranks' objects."""
        ids = [row_id for part in self.ranks.gather_objects(batch.ids) for row_id in part]
        raise TrainingError(
            f"step {self.step + 1}: the loss is {figures['loss']:g}, the gradient's norm {figures['norm']:g}; nothing "
            f"of it was saved. Try a smaller optimiser.rate under another --name. The step's objects: {', '.join(ids)}"
        )


def _numbers(figures: dict[str, torch.Tensor]) -> dict[str, float]:
    """Copy all figures from the device at once."""
    values = torch.stack([figure.detach().float() for figure in figures.values()]).tolist()
    return dict(zip(figures, values, strict=True))
