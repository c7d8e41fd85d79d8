"""A copy of a bare GPU machine's Python: a virtual environment with what machine.txt lists, and nothing else.

It is made once and kept in the user's cache folder, under a name that tells what it holds.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from tests.caches import cache_folder

LISTED = Path(__file__).with_name("machine.txt")
VERSION = "3.12"
DIGEST = hashlib.sha256(LISTED.read_bytes()).hexdigest()[:12]  # of what the machine has, torch among it


class MachineError(Exception):
    """Why the environment, or what is made for it, cannot be made."""


def find_python() -> Path:
    """An interpreter of the machine's version: PYTHON312, on PATH, or one that pyenv has installed."""
    pyenv = sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(f"versions/{VERSION}.*/bin/python"))
    candidates = [os.environ.get("PYTHON312"), *map(str, pyenv), shutil.which(f"python{VERSION}")]
    for path in candidates:
        if path and _version(path) == VERSION:
            return Path(path)
    raise MachineError(f"Python {VERSION} was not found: install it, or name it in PYTHON312")


def machine_python() -> Path:
    """The interpreter of the environment, which is made where it is missing."""
    folder = cache_folder() / f"gpu-machine-{DIGEST}"
    python, complete = folder / "bin" / "python", folder / "complete"
    if complete.is_file():
        return python
    interpreter = find_python()
    shutil.rmtree(folder, ignore_errors=True)
    print(f"installing what a bare GPU machine has into {folder} (some minutes and 6 GB, once)", flush=True)
    run(interpreter, "-m", "venv", folder)
    pip = (python, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-cache-dir")
    run(*pip, "--no-deps", "--no-compile", "-r", LISTED)
    complete.touch()
    return python


def _version(python: str) -> str:
    command = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip()


def run(*command: object, **environment: str) -> None:
    """Run a command, and show what it printed only if it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | environment
    )
    if done.returncode:
        raise MachineError(f"{' '.join(words)[:200]} failed:\n{done.stdout[-2000:]}")
