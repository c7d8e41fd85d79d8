"""Typed settings: a preset or a YAML file, the command line's words on top, and what to say where they are wrong.

Builds and trainings share this; a recipe is all settings of one of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

PRESETS = Path(__file__).parent / "presets"

Model = TypeVar("Model", bound=BaseModel)


class RecipeError(Exception):
    """A recipe that cannot be used; the text names the fields."""


def preset_names(presets: Path = PRESETS) -> list[str]:
    return sorted(path.stem for path in presets.glob("*.yaml"))


def load(model: type[Model], name: str, overrides: dict[str, Any] | None = None, presets: Path = PRESETS) -> Model:
    """A preset's name or a YAML file, with dotted overrides: {"fit.steps": 300}."""
    names = preset_names(presets)
    path = presets / f"{name}.yaml" if name in names else Path(name)
    if not path.is_file():
        raise RecipeError(f"{name}: no such recipe; name a YAML file or one of the presets {', '.join(names)}")
    try:
        told = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise RecipeError(f"{name}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(told, dict):
        raise RecipeError(f"{name}: a recipe is a mapping of names to settings, not {type(told).__name__}")
    for field, value in (overrides or {}).items():
        _put(told, field, value)
    return parse(model, told)


def parse(model: type[Model], told: dict[str, Any]) -> Model:
    try:
        return model.model_validate(told)
    except ValidationError as error:
        raise RecipeError("\n".join(_explain(model, problem) for problem in error.errors())) from error


def to_yaml(settings: BaseModel) -> str:
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)


def take_overrides(words: Sequence[str], model: type[BaseModel]) -> tuple[list[str], dict[str, Any]]:
    """The words that set no field, and the fields: --fit.steps 300 or --fit.steps=300, the value read as YAML."""
    left, told = [], {}
    waiting = iter(words)
    for word in waiting:
        name, equals, text = word.removeprefix("--").partition("=")
        if not word.startswith("--") or name.split(".")[0] not in model.model_fields:
            left.append(word)
            continue
        if not equals:
            text = next(waiting, "")
            if not text or text.startswith("--"):
                raise RecipeError(f"{word}: a value is missing: {word} VALUE")
        told[name] = _parse_value(word, text)
    return left, told


def _parse_value(word: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{word}: {text!r} is not a value: {' '.join(str(error).split())}") from error


def _put(told: dict[str, Any], field: str, value: Any) -> None:
    *parents, last = field.split(".")
    place = told
    for parent in parents:
        if not isinstance(place.get(parent), dict):
            place[parent] = {}
        place = place[parent]
    place[last] = value


def _explain(model: type[BaseModel], problem: Any) -> str:
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        allowed = ", ".join(_fields_at(model, problem["loc"][:-1]))
        return f"{path}: no such field (given {problem['input']!r}); allowed are {allowed}"
    if problem["type"] == "missing":
        return f"{path}: missing; {'.'.join(map(str, problem['loc'][:-1]))} cannot do without it"
    message = problem["msg"].removeprefix("Value error, ")
    if isinstance(problem["input"], dict) and problem["type"] == "value_error":
        return f"{path}.{message}" if path else message  # of several fields, which the message names
    given = re.sub(r"://[^/@\s]*@", "://***@", repr(problem["input"]))  # a password in a URL is nobody's business
    return f"{path}: {given} is not allowed: {message[0].lower()}{message[1:]}"


def _fields_at(model: type[BaseModel], place: Iterable[Any]) -> list[str]:
    for part in place:
        kind = model.model_fields[part].annotation
        options = [kind, *getattr(kind, "__args__", ())]
        model = next(option for option in options if isinstance(option, type) and issubclass(option, BaseModel))
    return list(model.model_fields)
