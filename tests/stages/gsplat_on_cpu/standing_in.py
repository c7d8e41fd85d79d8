"""Puts the module built for the CPU in the place of gsplat's compiled part, for this process."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.stages.gsplat_on_cpu import building

_HINDRANCE = "a GPU runs gsplat itself: pytest -m gpu" if torch.cuda.is_available() else building.missing()
MARKS = (pytest.mark.slow, pytest.mark.skipif(_HINDRANCE is not None, reason=str(_HINDRANCE)))


def rasterization() -> Callable[..., Any]:
    """gsplat.rasterization, on tensors of the CPU; the first call on a machine compiles for a minute."""
    library = _library()
    if isinstance(library, building.BuildError):
        raise library
    return _placed(library)


@cache
def _library() -> Path | building.BuildError:
    """Where compiling fails it fails once, and not again in every test."""
    try:
        return building.built()
    except building.BuildError as error:
        return error


@cache
def _placed(library: Path) -> Callable[..., Any]:
    name = f"gsplat.{building.MODULE}"
    found = importlib.util.spec_from_file_location(name, library)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    sys.modules[name] = module
    import gsplat
    from gsplat.cuda import _backend

    setattr(gsplat, building.MODULE, module)
    assert _backend._C is module, "gsplat was imported earlier in this process, with another compiled part or none"
    return gsplat.rasterization
