"""A step: a stage, and how it is scheduled. The second is no part of what the stage makes."""

from __future__ import annotations

from dataclasses import dataclass

from stages.contract.schedule import Schedule
from stages.contract.stage import Stage


@dataclass(frozen=True)
class Step:
    stage: Stage
    schedule: Schedule = Schedule()
    recipe_stages: frozenset[str] = frozenset()  # the names of all stages of the recipe

    @property
    def name(self) -> str:
        return self.stage.name

    @property
    def needs(self) -> tuple[str, ...]:
        """The stages whose columns it reads: it waits for them."""
        return (*self.stage.needs, *(name for name in self.stage.may_need if name in self.recipe_stages))

    @property
    def requires(self) -> tuple[str, ...]:
        """Those of them without which it cannot work."""
        return self.stage.needs

    @property
    def gpus(self) -> float:
        """What each worker takes."""
        return self.schedule.gpus if self.stage.on_gpu else 0.0
