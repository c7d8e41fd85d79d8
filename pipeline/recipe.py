"""The recipe: every setting of a build in one typed model. A preset or a YAML file, the command line's words on top."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from manifests.splits import Splits
from pipeline.step import Schedule, Step
from stages.align import Align
from stages.caption import Caption
from stages.corpus import Corpus
from stages.embed import Embed
from stages.fit import Fit
from stages.ingest import Ingest
from stages.models import ModelError
from stages.pack import Pack
from stages.render import Render
from stages.stage import Stage

PRESETS = Path(__file__).parent / "presets"


class RecipeError(Exception):
    """A recipe that cannot be used; the text names the fields."""


class Schedules(BaseModel):
    """How each stage is scheduled; no part of what it makes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ingest: Schedule = Schedule(cpus=0.25, batch=32, workers=4, memory_gb=4)
    render: Schedule = Schedule(cpus=1, batch=4, memory_gb=6, timeout_seconds=180, renew_rows=500)
    fit: Schedule = Schedule(cpus=1, gpus=1, batch=4, memory_gb=6, timeout_seconds=300)
    embed: Schedule = Schedule(cpus=1, gpus=1, batch=32, timeout_seconds=300, optional=True)
    caption: Schedule = Schedule(cpus=0.1, gpus=1, batch=64, workers=1, optional=True)
    align: Schedule = Schedule(cpus=1, gpus=1, batch=64, timeout_seconds=300, optional=True)
    pack: Schedule = Schedule(cpus=0.5, batch=1, workers=4, timeout_seconds=600)


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
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def _resolve(step: Step, gpus: float, before: Stage | None) -> Stage:
    try:
        return step.stage.resolve(gpus if step.schedule.gpus else 0.0, before)
    except ModelError as error:
        raise RecipeError(f"{step.name}.model: {error}") from error


def load_recipe(name: str, overrides: dict[str, Any] | None = None) -> Recipe:
    """A preset's name or a YAML file, with dotted overrides: {"fit.steps": 300}."""
    path = PRESETS / f"{name}.yaml" if name in preset_names() else Path(name)
    if not path.is_file():
        raise RecipeError(f"{name}: no such recipe; name a YAML file or one of the presets {', '.join(preset_names())}")
    try:
        told = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise RecipeError(f"{name}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(told, dict):
        raise RecipeError(f"{name}: a recipe is a mapping of stages to settings, not {type(told).__name__}")
    for field, value in (overrides or {}).items():
        _put(told, field, value)
    return parse_recipe(told)


def parse_recipe(told: dict[str, Any]) -> Recipe:
    try:
        return Recipe.model_validate(told)
    except ValidationError as error:
        raise RecipeError("\n".join(_explain(told, problem) for problem in error.errors())) from error


def preset_names() -> list[str]:
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def _put(told: dict[str, Any], field: str, value: Any) -> None:
    *parents, last = field.split(".")
    place = told
    for parent in parents:
        if not isinstance(place.get(parent), dict):
            place[parent] = {}
        place = place[parent]
    place[last] = value


def _explain(told: dict[str, Any], problem: Any) -> str:
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        allowed = ", ".join(_fields_at(problem["loc"][:-1]))
        return f"{path}: no such field (given {problem['input']!r}); allowed are {allowed}"
    if problem["type"] == "missing":
        return f"{path}: missing; {'.'.join(map(str, problem['loc'][:-1]))} cannot do without it"
    message = problem["msg"].removeprefix("Value error, ")
    given = re.sub(r"://[^/@\s]*@", "://***@", repr(problem["input"]))  # a password in a URL is nobody's business
    return f"{path}: {given} is not allowed: {message[0].lower()}{message[1:]}"


def _fields_at(place: tuple[Any, ...]) -> list[str]:
    model: Any = Recipe
    for part in place:
        kind = model.model_fields[part].annotation
        options = [kind, *getattr(kind, "__args__", ())]
        model = next(option for option in options if isinstance(option, type) and issubclass(option, BaseModel))
    return list(model.model_fields)
