"""How the command line was called, for messages that suggest the next command."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

CONSOLE = "gs-triplets"  # the script that an installation makes


def program() -> str:
    """What to type before a command's arguments: `gs-triplets`, the script's path, or `python -m pipeline`."""
    script = sys.argv[0]
    if Path(script).name != CONSOLE:
        return f"{python()} -m pipeline"
    return CONSOLE if shutil.which(CONSOLE) == script else script


def python() -> str:
    """What to type, in the working folder, to start this Python interpreter."""
    path = Path(sys.executable)
    if path.is_relative_to(Path.cwd()):
        return os.path.relpath(path)
    found = shutil.which("python")
    return "python" if found and Path(found).parent == path.parent else str(path)
