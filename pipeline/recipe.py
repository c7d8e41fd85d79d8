"""The recipe of a build: every setting in one typed model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, create_model, model_validator

from manifests.splits import Splits
from manifests.text import published
from manifests.web import Web
from pipeline.settings import OF_BUILD, RecipeError, load, parse, to_yaml
from pipeline.step import Step
from stages.align import Align
from stages.caption import Caption
from stages.common.models import ModelError
from stages.contract.schedule import Schedule
from stages.contract.stage import Stage
from stages.corpus.corpus import Corpus
from stages.embed import Embed
from stages.fit import Fit
from stages.ingest import Ingest
from stages.pack import Pack
from stages.packing.rows import RowStage
from stages.render import Render


class Stages(BaseModel):
    """A row walks through the stages in this order: a new stage is a line here.

    A stage that may be null is left out where it is null, and so is a stage that needs it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    corpus: Corpus | None = None
    ingest: Ingest = Ingest()
    render: Render = Render()
    fit: Fit = Fit()
    embed: Embed | None = None
    caption: Caption | None = Caption()
    align: Align | None = Align()
    pack: Pack = Pack()


def _kind_of(annotation: Any) -> type[Stage] | None:
    options = (annotation, *get_args(annotation))
    return next((kind for kind in options if isinstance(kind, type) and issubclass(kind, Stage)), None)


KINDS: dict[str, type[Stage]] = {
    name: kind for name, field in Stages.model_fields.items() if (kind := _kind_of(field.annotation))
}
# No row enters the dataset without the stages that cannot be null.
ROW_STAGES = tuple(
    RowStage(name, kind, required=type(None) not in get_args(Stages.model_fields[name].annotation))
    for name, kind in KINDS.items()
    if not kind.of_blocks
)
DECLARED = {stage.name: stage.kind.columns for stage in ROW_STAGES}  # columns of the dataset by stage

_SCHEDULES: dict[str, Any] = {name: (Schedule, kind.default_schedule) for name, kind in KINDS.items()}
Schedules: Any = create_model(
    "Schedules",
    __config__=ConfigDict(frozen=True, extra="forbid"),
    __doc__="How each stage is scheduled; it changes nothing of what the stages make.",
    **_SCHEDULES,
)


def _lower(given: Any) -> Any:
    return given.lower() if isinstance(given, str) else given


class Recipe(Stages):
    """All settings of a build."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    up: Annotated[Literal["y", "z", "auto"], BeforeValidator(_lower)] = "y"
    """The axis that points up in the meshes of the source, for rows that do not say: y, z, or auto, which decides by
    each mesh alone."""
    splits: Splits = Splits()
    schedule: Schedules = Schedules()

    @model_validator(mode="before")
    @classmethod
    def _complete_schedules(cls, given: Any) -> Any:
        """What is given of a stage's schedule changes the default that this stage has with its settings."""
        if not isinstance(given, dict) or not isinstance(given.get("schedule"), dict | None):
            return given  # which is refused
        complete = dict(given.get("schedule") or {})
        for name, kind in KINDS.items():
            default, change = kind.schedule_for(given.get(name)), complete.get(name, {})
            complete[name] = default.model_dump() | change if isinstance(change, dict) else change
        return given | {"schedule": complete}

    def steps(self, only: str = "") -> list[Step]:
        """The stages that rows walk through, in order; with `only`, that one and what it needs."""
        present: dict[str, Stage] = {}
        for name in DECLARED:
            stage = getattr(self, name)
            if stage is not None and set(stage.needs) <= present.keys():
                present[name] = stage
        names = frozenset(present)
        steps = [Step(stage, getattr(self.schedule, name), names) for name, stage in present.items()]
        if only and only != self.block_step().name:
            wanted = {only}
            for step in reversed(steps):
                if step.name in wanted:
                    wanted.update(step.needs)
            steps = [step for step in steps if step.name in wanted]
        return steps

    def block_step(self) -> Step:
        """The step over blocks: it packs what the stages of rows declare, also those that this recipe leaves out."""
        return Step(self.pack.over(ROW_STAGES), getattr(self.schedule, self.pack.name))

    @property
    def web(self) -> Web:
        """What may be fetched from web servers."""
        return self.ingest.web

    @property
    def weak_percent(self) -> float:
        """So many percent of each kind of caption are marked as weak in the dataset's index."""
        return self.pack.weak_percent

    def resolve(self, gpus: float, before: Recipe | None = None) -> Recipe:
        """Make every `auto` definite, so that all keys are known before the work; `before` is the run's last recipe."""
        self._refuse_optional()
        last = {step.name: step.stage for step in before.steps()} if before else {}
        resolved: dict[str, Stage] = {}
        for step in (*self.steps(), self.block_step()):
            resolved[step.name] = _resolve(step, gpus, last.get(step.name), resolved)
        recipe = self.model_copy(update=resolved)
        for step in recipe.steps():
            if step.stage.on_gpu and not 0 < step.gpus <= gpus:
                field = step.stage.gpu_field
                raise RecipeError(
                    f"{step.name}.{field}: {getattr(step.stage, field)} takes {step.gpus:g} GPUs a worker "
                    f"(schedule.{step.name}.gpus), and there are {gpus:g}: set it to cpu, or use machines that have one"
                )
        return recipe

    def _refuse_optional(self) -> None:
        for stage in ROW_STAGES:
            if stage.required and getattr(self.schedule, stage.name).optional:
                others = ", ".join(other.name for other in ROW_STAGES if not other.required)
                raise RecipeError(
                    f"schedule.{stage.name}.optional: true, but no row can be packed without {stage.name}: "
                    f"set it to false; only these can be optional: {others}"
                )

    def provenance(self) -> dict[str, Any]:
        """The settings that decide what the dataset contains: those of the stages that ran, without their schedules."""
        stages = [step.stage for step in (*self.steps(), self.block_step())]
        settings: dict[str, Any] = {stage.name: stage.settings() for stage in stages}
        settings["splits"] = self.splits.model_dump(mode="json")
        return published(settings if self.up == "y" else settings | {"up": self.up})

    def to_yaml(self) -> str:
        return to_yaml(self)


def _resolve(step: Step, gpus: float, before: Stage | None, earlier: Mapping[str, Stage]) -> Stage:
    try:
        return step.stage.resolve(gpus if step.schedule.gpus else 0.0, before, earlier)
    except ModelError as error:
        raise RecipeError(f"{step.name}.model: {error}") from error


def load_recipe(name: str, overrides: dict[str, Any] | None = None) -> Recipe:
    """A preset's name or a YAML file, with dotted overrides: {"fit.steps": 300}."""
    return load(Recipe, name, overrides, OF_BUILD)


def parse_recipe(settings: dict[str, Any]) -> Recipe:
    return parse(Recipe, settings)
