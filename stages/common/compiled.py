"""Compile inner loops with numba, and keep the machine code from one process to the next.

Numba looks at a function's own file to decide whether its kept code is still right, not at the files of the functions
that it calls. So the code is kept in a folder named by the content of all files of the function's package.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba

_STAGES = Path(__file__).parents[1]
_CONFIG: Any = numba.config


def _package_of(function: Callable[..., Any]) -> Path:
    """The folder of stages/ that holds the function's file, such as stages/fitting."""
    return _STAGES / function.__module__.split(".")[1]


@cache
def _folder(package: Path) -> Path | None:
    """A folder that can be written: NUMBA_CACHE_DIR, beside the sources, or in the user's cache; None without one."""
    sources = b"".join(path.read_bytes() for path in sorted(package.rglob("*.py")))
    digest = hashlib.blake2b(sources + numba.__version__.encode(), digest_size=8).hexdigest()
    given = os.environ.get("NUMBA_CACHE_DIR")
    user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    for base in [Path(given)] if given else [package / "__pycache__", Path(user) / "gs-triplets"]:
        folder = base / f"numba-{digest}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return None


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as machine code that does not hold the interpreter's lock.

    Sums keep their order, so equal input gives equal bytes.
    """
    folder, before = _folder(_package_of(function)), _CONFIG.CACHE_DIR
    _CONFIG.CACHE_DIR = str(folder or "")
    try:
        return numba.njit(cache=folder is not None, nogil=True, error_model="numpy", fastmath={"contract"})(function)
    finally:
        _CONFIG.CACHE_DIR = before
