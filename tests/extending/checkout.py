"""A copy of the packages for a test that extends them: it adds a file and a line, and changes nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Checkout:
    def __init__(self, folder: Path):
        self.folder = folder
        for name in ("manifests", "stages", "pipeline"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))

    def add_file(self, path: str, text: str) -> None:
        (self.folder / path).write_text(text.lstrip())

    def add_line(self, path: str, line: str, *, after: str) -> None:
        file = self.folder / path
        text = file.read_text()
        assert text.count(after) == 1, f"{path} has {text.count(after)} times {after!r}"
        file.write_text(text.replace(after, after + line))

    def run(self, *words: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run Python in the copy; `code` is the exit code that is expected."""
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(self.folder)} | environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def command(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run `gs-triplets` of the copy."""
        return self.run("-m", "pipeline", *words, code=code)
