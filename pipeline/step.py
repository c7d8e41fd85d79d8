"""A step: a stage, and how it is scheduled. The second is no part of what the stage makes."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, field_validator

from stages.stage import Stage


class Schedule(BaseModel):
    """Resources and patience of one stage's workers."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    workers: int | None = Field(None, ge=1)
    """At most so many workers; by default as many as the cluster's CPUs and GPUs allow."""
    cpus: float = Field(1.0, gt=0)
    """CPUs a busy worker takes; fractions are fine."""
    gpus: float = Field(0.0, ge=0)
    """GPUs a worker takes where its stage works on one; fractions share one."""
    memory_gb: float = Field(8.0, gt=0)
    """A worker that grows beyond this is ended and its row fails."""
    batch: int = Field(8, ge=1)
    """At most so many rows are handed to a worker at once."""
    linger_seconds: float = Field(0.5, ge=0)
    """How long a batch that is not full waits for more."""
    timeout_seconds: float = Field(120.0, gt=0)
    """A worker that brings no outcome for so long is killed."""
    open_timeout_seconds: float = Field(600.0, gt=0)
    """How long a worker may take to load its libraries and models."""
    attempts: int = Field(2, ge=1)
    """How often a row is tried in one run where its failure may pass."""
    renew_rows: int = Field(1000, ge=1)
    """A worker is replaced after so many rows, against leaks."""
    optional: bool = False
    """Whether a row enters the dataset although this stage failed."""

    @field_validator("gpus")
    @classmethod
    def _whole_cards(cls, gpus: float) -> float:
        if gpus > 1 and gpus != int(gpus):
            raise ValueError("above 1 whole GPUs alone can be had")
        return gpus


@dataclass(frozen=True)
class Step:
    stage: Stage
    schedule: Schedule = Schedule()
    beside: frozenset[str] = frozenset()  # the names of all stages of the recipe

    @property
    def name(self) -> str:
        return self.stage.name

    @property
    def needs(self) -> tuple[str, ...]:
        """The stages whose columns it reads: it waits for them."""
        return (*self.stage.needs, *(name for name in self.stage.may_need if name in self.beside))

    @property
    def requires(self) -> tuple[str, ...]:
        """Those of them without which it cannot work."""
        return self.stage.needs

    @property
    def gpus(self) -> float:
        """What each worker takes."""
        return self.schedule.gpus if self.stage.on_gpu else 0.0
