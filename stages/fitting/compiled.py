"""How the fit's inner loops are compiled, and where machine code is kept between processes.

Numba looks at a function's own file to tell whether its kept code is still right, not at the files it calls into. So
the code is kept in a folder named by the content of all of them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

_HERE = Path(__file__).parent


def _digest() -> str:
    sources = b"".join(path.read_bytes() for path in sorted(_HERE.glob("*.py")))
    return hashlib.blake2b(sources + numba.__version__.encode(), digest_size=8).hexdigest()


def _kept_in() -> Path | None:
    """A folder that can be written: NUMBA_CACHE_DIR, beside the sources, or in the user's cache; None without one."""
    asked = os.environ.get("NUMBA_CACHE_DIR")
    user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    for base in [Path(asked)] if asked else [_HERE / "__pycache__", Path(user) / "gs-triplets"]:
        folder = base / f"numba-{_digest()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return None


_FOLDER = _kept_in()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as machine code without the interpreter's lock. Sums keep their order: equal input, equal bytes."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(_FOLDER or "")
    try:
        return numba.njit(cache=_FOLDER is not None, nogil=True, error_model="numpy", fastmath={"contract"})(function)
    finally:
        numba.config.CACHE_DIR = before
