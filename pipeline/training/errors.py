"""The errors that training, evaluation and encoding expect: each is shown as one line, without a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from manifests.addresses import AddressError
from pipeline.planning.run import RunError
from stages.common.models import ModelError


def expected_errors() -> tuple[type[Exception], ...]:
    """Return the classes of expected errors, some of which are in modules that import torch."""
    from stages.clip_gs.data.shards import DatasetError
    from stages.clip_gs.evaluation.evaluate import EvaluationError
    from stages.clip_gs.evaluation.templates import TemplateError
    from stages.clip_gs.training.readiness import TrainingError
    from stages.common.training.checkpoint import CheckpointError

    ours = (RunError, DatasetError, TrainingError, CheckpointError, EvaluationError, TemplateError, ModelError)
    return (*ours, AddressError, OSError)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Turn expected errors into RunError."""
    try:
        yield
    except expected_errors() as error:
        raise RunError(str(error)) from error
