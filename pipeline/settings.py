"""Load typed settings from a preset or a YAML file, apply the command line's changes, and explain what is wrong.

A recipe is all the settings of a build or of a training. Both load it here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from manifests.text import masked, message
from pipeline.command_line.suggestions import did_you_mean

Model = TypeVar("Model", bound=BaseModel)


class RecipeError(Exception):
    """The recipe cannot be used. The text names the fields and says why."""


@dataclass(frozen=True)
class Presets:
    """A folder of presets, and the one whose settings hold where a YAML file names none."""

    folder: Path
    default: str

    @property
    def names(self) -> list[str]:
        return sorted(path.stem for path in self.folder.glob("*.yaml"))

    def read(self, name: str) -> dict[str, Any]:
        return _read(self.folder / f"{name}.yaml")


_FOLDER = Path(__file__).parent / "presets"
OF_BUILD = Presets(_FOLDER, "cpu")
OF_TRAIN = Presets(_FOLDER / "train", "mini")
_EXPECTED = {  # by pydantic's type of error
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "expected a whole number"),
    **dict.fromkeys(("float_parsing", "float_type"), "expected a number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "expected true or false"),
    **dict.fromkeys(("list_type", "tuple_type"), "expected a list, such as [a, b]"),
    "finite_number": "expected a finite number",
    "string_type": "expected text",
    "dict_type": "expected a mapping, such as {{a: 0.8, b: 0.2}}",
    "model_type": "expected a mapping of names to settings",
    "literal_error": "expected {expected}",
    "greater_than_equal": "expected at least {ge}",
    "greater_than": "expected more than {gt}",
    "less_than_equal": "expected at most {le}",
    "less_than": "expected less than {lt}",
}
_BASE = "preset"  # the field of a YAML file that names the preset it changes


def load(model: type[Model], name: str, overrides: dict[str, Any] | None, presets: Presets) -> Model:
    """Load a preset, by name, or a YAML file, and apply dotted overrides such as {"fit.steps": 300}."""
    return parse(model, _given(model, name, overrides, presets)[1])


def describe(model: type[BaseModel], name: str, overrides: dict[str, Any] | None, presets: Presets) -> str:
    """One line: the preset, and each setting that differs from it with the preset's value."""
    base, settings = _given(model, name, overrides, presets)
    preset = parse(model, presets.read(base)).model_dump(mode="json")
    changed = [
        f"{path} {_shown(value)} ({base}: {_shown(_at(preset, path))})"
        for path, value in _leaves(model, settings)
        if value != _at(preset, path)
    ]
    head = f"Recipe {name}" if name == base else f"Recipe {name}, on the preset {base}"
    return message(f"{head}; changed: {', '.join(changed)}") if changed else head


def _given(
    model: type[BaseModel], name: str, overrides: dict[str, Any] | None, presets: Presets
) -> tuple[str, dict[str, Any]]:
    """The preset, and its settings with those of the file and the overrides."""
    base, own = _of_file(name, presets)
    settings = _merged(model, presets.read(base), own)
    for field, value in (overrides or {}).items():
        _set(settings, field, value)
    return base, settings


def _of_file(name: str, presets: Presets) -> tuple[str, dict[str, Any]]:
    """The preset that a name means, and what a YAML file of this name changes."""
    if name in presets.names:
        return name, {}
    if not Path(name).is_file():
        known = f"pass a YAML file or one of the presets {', '.join(presets.names)}"
        raise RecipeError(f"{name}: no such recipe{did_you_mean(name, presets.names)}; {known}")
    own = _read(Path(name))
    base = own.pop(_BASE, presets.default)
    if base not in presets.names:
        hint = did_you_mean(str(base), presets.names)
        raise RecipeError(f"{name}: preset: {base!r} is not a preset{hint}; expected one of {', '.join(presets.names)}")
    return base, own


def _read(path: Path) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(path.read_bytes()) or {}
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: not YAML: {_yaml_problem(error)}") from error
    if not isinstance(settings, dict):
        raise RecipeError(f"{path}: a recipe must be a mapping of names to settings, not {type(settings).__name__}")
    return settings


def _yaml_problem(error: yaml.YAMLError) -> str:
    """What is wrong, and in which line."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return message(error)
    line = f"line {error.problem_mark.line + 1}: {error.problem}"
    hint = "; fields of one level start in the same column, after spaces" if "block" in line or "\\t" in line else ""
    return message(line + hint)


def _merged(model: type[BaseModel], below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Change single settings; a value that is itself a mapping, such as `splits.shares`, is replaced."""
    merged = dict(below)
    for name, value in above.items():
        inner = nested(model.model_fields[name]) if name in model.model_fields else None
        if inner and isinstance(value, dict) and isinstance(below.get(name), dict):
            value = _merged(inner, below[name], value)
        merged[name] = value
    return merged


def nested(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a field that groups settings, also where it may be null; None for a single setting."""
    kinds = (field.annotation, *get_args(field.annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def setting_paths(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """The path of every single setting, such as fit.steps."""
    for name, field in model.model_fields.items():
        inner = nested(field)
        if inner:
            yield from setting_paths(inner, f"{path}{name}.")
        else:
            yield f"{path}{name}"


def _leaves(model: type[BaseModel], settings: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        inner = nested(model.model_fields[name]) if name in model.model_fields else None
        if inner and isinstance(value, dict):
            yield from _leaves(inner, value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def _at(settings: Any, path: str) -> Any:
    for part in path.split("."):
        settings = settings.get(part) if isinstance(settings, dict) else None
    return settings


def _shown(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False).strip('"')


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
        allowed = _fields_at(model, problem["loc"][:-1])
        hint = did_you_mean(str(problem["loc"][-1]), allowed) or did_you_mean(path, setting_paths(model))
        return f"{path}: no such field (given {problem['input']!r}){hint}; allowed are {', '.join(allowed)}"
    if problem["type"] == "missing":
        return f"{path}: missing; {'.'.join(map(str, problem['loc'][:-1]))} requires it"
    message = problem["msg"].removeprefix("Value error, ")
    if isinstance(problem["input"], dict) and problem["type"] == "value_error":  # the message names the fields
        outer, _, last = path.rpartition(".")
        above = outer if path and message.startswith(f"{last} ") else path  # it may name the last field itself
        return f"{above}.{message}" if above else message
    if problem["type"] in _EXPECTED:
        message = _EXPECTED[problem["type"]].format_map(problem.get("ctx", {}))
    return f"{path}: {masked(repr(problem['input']))} is not allowed: {message[0].lower()}{message[1:]}"


def _fields_at(model: type[BaseModel], path: Iterable[Any]) -> list[str]:
    for part in path:
        model = nested(model.model_fields[part]) or model
    return list(model.model_fields)
