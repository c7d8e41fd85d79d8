"""Replace gsplat's compiled module in this process by the one that is compiled for the CPU."""

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

_SKIP_REASON = "a GPU runs gsplat itself: pytest -m gpu" if torch.cuda.is_available() else building.missing()
MARKS = (pytest.mark.slow, pytest.mark.skipif(_SKIP_REASON is not None, reason=str(_SKIP_REASON)))


def rasterization() -> Callable[..., Any]:
    """Return gsplat.rasterization for tensors of the CPU; the first call on a machine compiles for a minute."""
    library = _library()
    if isinstance(library, building.BuildError):
        raise library
    return _installed(library)


@cache
def _library() -> Path | building.BuildError:
    """The compiled module, or the error, so that a failing compilation is not repeated in every test."""
    try:
        return building.built()
    except building.BuildError as error:
        return error


@cache
def _installed(library: Path) -> Callable[..., Any]:
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
