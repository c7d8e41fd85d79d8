"""Load typed settings from a preset or a YAML file, apply the command line's changes, and explain what is wrong.

A recipe is all the settings of a build or of a training. Both load it here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from manifests.text import message

PRESETS = Path(__file__).parent / "presets"

Model = TypeVar("Model", bound=BaseModel)


class RecipeError(Exception):
    """The recipe cannot be used. The text names the fields and says why."""


def preset_names(presets: Path = PRESETS) -> list[str]:
    return sorted(path.stem for path in presets.glob("*.yaml"))


def load(model: type[Model], name: str, overrides: dict[str, Any] | None = None, presets: Path = PRESETS) -> Model:
    """Load a preset, by name, or a YAML file, and apply dotted overrides such as {"fit.steps": 300}."""
    names = preset_names(presets)
    path = presets / f"{name}.yaml" if name in names else Path(name)
    if not path.is_file():
        raise RecipeError(f"{name}: no such recipe; pass a YAML file or one of the presets {', '.join(names)}")
    try:
        settings = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise RecipeError(f"{name}: not YAML: {message(error)}") from error
    if not isinstance(settings, dict):
        raise RecipeError(f"{name}: a recipe must be a mapping of names to settings, not {type(settings).__name__}")
    for field, value in (overrides or {}).items():
        _set(settings, field, value)
    return parse(model, settings)


def parse(model: type[Model], settings: dict[str, Any]) -> Model:
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        raise RecipeError("\n".join(_explain(model, problem) for problem in error.errors())) from error


def to_yaml(settings: BaseModel) -> str:
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)


def take_overrides(arguments: Sequence[str], model: type[BaseModel]) -> tuple[list[str], dict[str, Any]]:
    """Split arguments into those that set no field, and the fields that the others set, by name.

    A field is set by --fit.steps 300 or --fit.steps=300; the value is read as YAML.
    """
    rest, overrides = [], {}
    remaining = iter(arguments)
    for argument in remaining:
        name, equals, text = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or name.split(".")[0] not in model.model_fields:
            rest.append(argument)
            continue
        if not equals:
            text = next(remaining, "")
            if not text or text.startswith("--"):
                raise RecipeError(f"{argument}: a value is missing; write {argument} VALUE")
        overrides[name] = _parse_value(argument, text)
    return rest, overrides


def _parse_value(option: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{option}: {text!r} is not a YAML value: {message(error)}") from error


def _set(settings: dict[str, Any], field: str, value: Any) -> None:
    *parents, last = field.split(".")
    node: dict[str, Any] = settings
    for parent in parents:
        if not isinstance(node.get(parent), dict):
            node[parent] = {}
        node = node[parent]
    node[last] = value


def _explain(model: type[BaseModel], problem: Any) -> str:
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        allowed = ", ".join(_fields_at(model, problem["loc"][:-1]))
        return f"{path}: no such field (given {problem['input']!r}); allowed are {allowed}"
    if problem["type"] == "missing":
        return f"{path}: missing; {'.'.join(map(str, problem['loc'][:-1]))} requires it"
    message = problem["msg"].removeprefix("Value error, ")
    if isinstance(problem["input"], dict) and problem["type"] == "value_error":
        return f"{path}.{message}" if path else message  # it concerns several fields, which the message names
    given = re.sub(r"://[^/@\s]*@", "://***@", repr(problem["input"]))  # hide the password of a URL
    return f"{path}: {given} is not allowed: {message[0].lower()}{message[1:]}"


def _fields_at(model: type[BaseModel], path: Iterable[Any]) -> list[str]:
    for part in path:
        kind = model.model_fields[part].annotation
        options = [kind, *getattr(kind, "__args__", ())]
        model = next(option for option in options if isinstance(option, type) and issubclass(option, BaseModel))
    return list(model.model_fields)
