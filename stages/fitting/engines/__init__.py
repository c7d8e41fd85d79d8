"""The engines of the stage fit: each is a module here of the same name, and a line in ENGINES.

An engine's module has a function open_engine(device), which returns an Engine (see stages/fitting/problem.py). It is
imported on the worker that opens the stage, so it may import heavy libraries.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stages.fitting.problem import Engine


@dataclass(frozen=True)
class EngineEntry:
    name: str
    meaning: str  # for --help
    on_gpu: bool = False  # whether its workers take the GPUs of their schedule


# `auto` is the first engine that runs on what the workers have.
ENGINES = (
    EngineEntry("cpu", "one object on one core"),
    EngineEntry("gsplat", "many objects at once on a GPU", on_gpu=True),
)
AUTO = "auto"
CHOICES = (AUTO, *(entry.name for entry in ENGINES))


def describe_engines() -> str:
    return "; ".join(f"`{entry.name}`: {entry.meaning}" for entry in ENGINES)


def is_on_gpu(name: str) -> bool:
    return any(entry.on_gpu for entry in ENGINES if entry.name == name)


def first_engine(on_gpu: bool) -> str:
    return next(entry.name for entry in ENGINES if entry.on_gpu == on_gpu)


def open_engine(name: str, device: str) -> Engine:
    return importlib.import_module(f"{__name__}.{name}").open_engine(device)
