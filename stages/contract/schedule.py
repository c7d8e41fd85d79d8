"""How a stage's workers are scheduled: resources and patience. It is no part of what the stage makes."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Schedule(BaseModel):
    """Resources and patience of one stage's workers."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    workers: int | None = Field(None, ge=1)
    """The most workers; by default as many as the cluster's CPUs and GPUs allow."""
    cpus: float = Field(1.0, gt=0)
    """CPUs that a busy worker takes; fractions are allowed."""
    gpus: float = Field(0.0, ge=0)
    """GPUs that a worker takes if its stage runs on one; workers share a GPU where this is below 1."""
    memory_gb: float = Field(8.0, gt=0)
    """Memory limit of a worker and its children, swap included. A worker that exceeds it is killed; its row fails."""
    batch: int = Field(8, ge=1)
    """The most rows that a worker is given at once."""
    linger_seconds: float = Field(0.5, ge=0)
    """How long a batch that is not full waits for more rows."""
    timeout_seconds: float = Field(120.0, gt=0)
    """A worker that reports no outcome for this long is killed."""
    open_timeout_seconds: float = Field(600.0, gt=0)
    """How long a worker may take to load its libraries and models."""
    attempts: int = Field(2, ge=1)
    """How often a row is tried in one build if its failure is transient."""
    renew_rows: int = Field(1000, ge=1)
    """A worker is replaced after this many rows, because libraries leak memory."""
    optional: bool = False
    """Whether a row enters the dataset even if this stage failed."""

    @field_validator("gpus")
    @classmethod
    def _whole_above_one(cls, gpus: float) -> float:
        if gpus > 1 and gpus != int(gpus):
            raise ValueError("expected a whole number above 1, or a fraction of one GPU")
        return gpus
