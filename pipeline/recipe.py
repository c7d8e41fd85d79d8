"""The recipe of a build: every setting in one typed model."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator, model_validator

from manifests.splits import Splits
from pipeline.settings import RecipeError, load, parse, to_yaml
from pipeline.step import Schedule, Step
from stages.align import Align
from stages.caption import Caption
from stages.corpus import Corpus
from stages.embed import Embed
from stages.fit import Fit
from stages.ingest import Ingest
from stages.models import ModelError
from stages.pack import REQUIRED, Pack
from stages.render import Render
from stages.stage import Stage


class Schedules(BaseModel):
    """How each stage is scheduled; no part of what it makes. What is told of one changes its default here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ingest: Schedule = Schedule(cpus=0.25, batch=32, workers=4, memory_gb=4)
    render: Schedule = Schedule(cpus=1, batch=4, memory_gb=6, timeout_seconds=180, renew_rows=500)
    fit: Schedule = Schedule(cpus=1, gpus=1, batch=4, memory_gb=6, timeout_seconds=300)
    embed: Schedule = Schedule(cpus=1, gpus=1, batch=32, timeout_seconds=300, optional=True)
    caption: Schedule = Schedule(cpus=0.1, gpus=1, batch=64, workers=1, optional=True)
    align: Schedule = Schedule(cpus=1, gpus=1, batch=64, timeout_seconds=300, optional=True)
    pack: Schedule = Schedule(cpus=0.5, batch=1, workers=4, timeout_seconds=600)

    @field_validator("*", mode="before")
    @classmethod
    def _on_top(cls, told: Any, field: ValidationInfo) -> Any:
        return _changed(cls.model_fields[field.field_name].default, told)


# A model in the workers needs more than words that are there already, or an endpoint's.
_WRITING = Schedule(cpus=1, gpus=1, batch=16, memory_gb=24, timeout_seconds=600, optional=True)


def _changed(schedule: Schedule, told: Any) -> Any:
    return schedule.model_dump() | told if isinstance(told, dict) else told


class Recipe(BaseModel):
    """A row walks through the stages in this order. A stage set to null is left out, and align where embed is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    corpus: Corpus | None = None
    ingest: Ingest = Ingest()
    render: Render = Render()
    fit: Fit = Fit()
    embed: Embed | None = None
    caption: Caption | None = Caption()
    align: Align | None = Align()
    pack: Pack = Pack()
    splits: Splits = Splits()
    schedule: Schedules = Schedules()

    @model_validator(mode="before")
    @classmethod
    def _schedule_writing(cls, told: Any) -> Any:
        if isinstance(told, dict) and isinstance(told.get("caption"), dict) and told["caption"].get("engine") == "vlm":
            schedules = told.get("schedule")
            if schedules is None or isinstance(schedules, dict):
                schedules = schedules or {}
                return told | {"schedule": schedules | {"caption": _changed(_WRITING, schedules.get("caption") or {})}}
        return told

    def steps(self, only: str = "") -> list[Step]:
        """The stages that rows walk through, in order; with `only`, that one and what it needs."""
        align = self.align if self.embed and self.caption else None
        listed = (self.ingest, self.render, self.fit, self.embed, self.caption, align)
        stages = [stage for stage in listed if stage is not None]
        names = frozenset(stage.name for stage in stages)
        steps = [Step(stage, getattr(self.schedule, stage.name), names) for stage in stages]
        if only and only != self.pack.name:
            wanted = {only}
            for step in reversed(steps):
                if step.name in wanted:
                    wanted.update(step.needs)
            steps = [step for step in steps if step.name in wanted]
        return steps

    def pack_step(self) -> Step:
        return Step(self.pack, self.schedule.pack)

    def resolve(self, gpus: float, before: Recipe | None = None) -> Recipe:
        """Every `auto` made definite, so that all keys are known before the work; `before` is the run's last recipe."""
        for name in REQUIRED:
            if getattr(self.schedule, name).optional:
                raise RecipeError(
                    f"schedule.{name}.optional: true, but no row can be packed without {name}: set it to false; "
                    "it is for embed, caption and align"
                )
        earlier = {step.name: step.stage for step in before.steps()} if before else {}
        resolved = {step.name: _resolve(step, gpus, earlier.get(step.name)) for step in self.steps()}
        if "align" in resolved:
            resolved["align"] = self.align.model_copy(update={"teacher": resolved["embed"]})
        pack = self.pack.model_copy(update={"gaussians": self.pack.gaussians or self.fit.gaussians})
        recipe = self.model_copy(update={**resolved, "pack": pack})
        for step in recipe.steps():
            if step.stage.on_gpu and not 0 < step.gpus <= gpus:
                field = step.stage.gpu_field
                raise RecipeError(
                    f"{step.name}.{field}: {getattr(step.stage, field)} takes {step.gpus:g} GPUs a worker "
                    f"(schedule.{step.name}.gpus), and there are {gpus:g}: set it to cpu, or use machines that have one"
                )
        return recipe

    def provenance(self) -> dict[str, Any]:
        """What made the dataset: the settings of the stages that ran; no places, nothing of how they were scheduled."""
        stages = [step.stage for step in (*self.steps(), self.pack_step())]
        return {stage.name: stage.settings() for stage in stages} | {"splits": self.splits.model_dump(mode="json")}

    def to_yaml(self) -> str:
        return to_yaml(self)


def _resolve(step: Step, gpus: float, before: Stage | None) -> Stage:
    try:
        return step.stage.resolve(gpus if step.schedule.gpus else 0.0, before)
    except ModelError as error:
        raise RecipeError(f"{step.name}.model: {error}") from error


def load_recipe(name: str, overrides: dict[str, Any] | None = None) -> Recipe:
    """A preset's name or a YAML file, with dotted overrides: {"fit.steps": 300}."""
    return load(Recipe, name, overrides)


def parse_recipe(told: dict[str, Any]) -> Recipe:
    return parse(Recipe, told)
