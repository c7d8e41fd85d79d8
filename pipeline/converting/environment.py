"""Find the Python that has Blender, and say how to get one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pipeline.planning.run import RunError

VARIABLE = "GS_TRIPLETS_BLENDER"
_ROOT = Path(__file__).resolve().parents[2]
_MADE = _ROOT / ".converter" / "bin" / "python"  # by `make converter`
_WHAT = "Blender 4.5 as a Python package (bpy, GPL-3, 374 MB, Python 3.11 only)"


def find_blender(named: str) -> str:
    """The path of a Python that has bpy: the one named, that of the environment variable, or that of `.converter`."""
    for option, given in (("--blender", named), (VARIABLE, os.environ.get(VARIABLE, ""))):
        if given:
            if found := shutil.which(os.path.expanduser(given)):
                return os.path.abspath(found)
            raise RunError(f"{option} {given}: not a program; expected a Python that has bpy")
    if not _MADE.exists():
        raise RunError(f"the converter is missing: {_WHAT}; {how_to_get_it()}")
    return str(_MADE)


def how_to_get_it() -> str:
    if (_ROOT / "Makefile").exists():
        return "`make converter` installs it in .converter"
    return (
        "`python3.11 -m venv converter` and `converter/bin/pip install bpy==4.5.15` install it; "
        "then pass --blender converter/bin/python"
    )
