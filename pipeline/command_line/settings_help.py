"""The part of --help that lists every setting, made from the models that hold them."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipeline.recipe import Schedules
from pipeline.settings import nested
from stages.contract.schedule import Schedule

_WIDTH = 100


def settings_help(model: type[BaseModel]) -> str:
    """Each setting with its path, default and meaning; a stage's schedule is listed once for all stages."""
    head = "Settings. Each can be set here by its path, or in a YAML file that takes the preset's place:"
    return "\n".join([head, *_lines(model, model.model_construct(), "")])


def _lines(model: type[BaseModel], defaults: Any, path: str) -> Iterator[str]:
    fields = sorted(model.model_fields.items(), key=lambda item: nested(item[1]) is not None)  # single settings first
    for name, field in fields:
        if field.exclude:
            continue
        inner, default = nested(field), _default(field, defaults, name)
        if inner is None:
            yield f"  --{path}{name} {json.dumps(default, default=str)}"
            yield from textwrap.wrap(field.description or "", _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
        elif inner is Schedules:
            yield "\nschedule: how each stage is scheduled; every stage has defaults of its own (--print-config)"
            yield from _lines(Schedule, Schedule(), f"{path}{name}.STAGE.")
        else:
            left_out = " (left out unless set)" if default is None else ""
            yield f"\n{path}{name}: {_first_line(inner)}{left_out}"
            yield from _lines(inner, default, f"{path}{name}.")


def _default(field: FieldInfo, defaults: Any, name: str) -> Any:
    """The value if nothing is set; a stage that is left out has the defaults of its fields."""
    value = getattr(defaults, name, None) if defaults is not None else field.get_default(call_default_factory=True)
    return value if isinstance(value, BaseModel) or value is None else json.loads(json.dumps(value, default=str))


def _first_line(model: type[BaseModel]) -> str:
    paragraph = (model.__doc__ or "").strip().split("\n\n")[0]
    return " ".join(paragraph.split("  in:")[0].split())
