"""Command lines with a beginner's mistake, and the line that each gets: the table of docs/mistakes.md.

Each runs in this process, in a folder with the files below. None may change that folder or take long: a refusal comes
before workers and heavy libraries.
"""

from __future__ import annotations

import glob
import io
import os
import re
import shlex
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from pipeline.__main__ import main
from pipeline.command_line.called import program

_RUN = Path(__file__).parent / "pipeline" / "stored_run.zip"  # a run of two meshes, and the meshes
_FILES = {
    "photos/front.jpg": "a picture",
    "photos/back.jpg": "a picture",
    "columns.csv": "file,text\nmeshes/box.obj,a box\n",
    "semicolons.csv": "uri;caption\nmeshes/box.obj;a box\n",
    "comma.jsonl": '{"uri": "meshes/box.obj", "caption": "a box",}\n',
    "list.json": '[{"uri": "meshes/box.obj"}]\n',
    "indent.yaml": "fit:\n  steps: 30\n gaussians: 300\n",
    "flat.yaml": "steps: 30\n",
    "notes.txt": "a file",
    "old.pt": "of another program",
}
MISTAKES = (
    "biuld cpu --source meshes --run new",
    "build --source meshes --run new",
    "build cpuu --source meshes --run new",
    "build cpu --source meshes",
    "build cpu --run new",
    "build cpu --source mesh --run new",
    "build cpu --source empty --run new",
    "build cpu --source photos --run new",
    "build cpu --source meshes/*.obj meshes/*.ply --run new",
    "build cpu --source columns.csv --run new",
    "build cpu --source semicolons.csv --run new",
    "build cpu --source comma.jsonl --run new",
    "build cpu --source list.json --run new",
    "build cpu --source run --run new",
    "build cpu --source run/dataset --run new",
    "build cpu --source https://example.org/list.csv --run new",
    "build cpu --source meshes --run notes.txt",
    "build cpu --source meshes --run /proc/new",
    "build indent.yaml --source meshes --run new",
    "build flat.yaml --source meshes --run new",
    "build cpu --source meshes --run new --fit.step 30",
    "build cpu --source meshes --run new --steps 30",
    "build cpu --source meshes --run new -fit.steps 30",
    "build cpu --source meshes --run new --fit.steps",
    "build cpu --source meshes --run new --fit.steps lots",
    "build cpu --source meshes --run new --render.views 0",
    "build cpu --source meshes --run new --splits.test 1.5",
    "build cpu --source meshes --run new --splits.shares 0.8",
    "build cpu --source meshes --run new --splits.shares '{train: 0.8}'",
    "build cpu --source meshes --run new --only fitt",
    "build cpu --source meshes --run new --limit none",
    "build cpu --source meshes --run new --max-failed few",
    "build cpu --source meshes --run new --retry-failed timeot",
    "build cpu --source meshes --run new --caption.engine gpt4",
    "build cpu --source meshes --run new --caption.engine vlm",
    "build cpu --source meshes --run new --embed.model openai/clip-vit-base-patch32",
    "build cpu --source meshes --run new --embed.model models/teachers/clip",
    "convert --source photos --out glbs",
    "status --run meshes",
    "status --run run/dataset",
    "status --run run --fialed",
    "status --run run --worst",
    "sheet --run run --views 0,99",
    "sheet --run run --out sheet.gltf",
    "sheet --run run --id chair",
    "verify --run empty",
    "clean --run nowhere",
    "export --run run --out out --id chair",
    "export --checkpoint old.pt --out out",
    "train mini --dataset run",
    "train mini --dataset meshes --run run",
    "train mini --dataset old.pt --run run",
    "train mini --dataset run --run run --model.size hugee",
    "evaluate --checkpoint old.pt --dataset run",
    "encode --checkpoint old.pt --dataset run --out vectors",
)


@contextmanager
def folder() -> Iterator[Path]:
    """The folder in which the mistakes are made, as the working folder."""
    with tempfile.TemporaryDirectory() as made, chdir(os.path.realpath(made)), zipfile.ZipFile(_RUN) as archive:
        archive.extractall()
        for name, text in _FILES.items():
            Path(name).parent.mkdir(exist_ok=True)
            Path(name).write_text(text)
        Path("empty").mkdir()
        yield Path(made)


def answer(typed: str) -> str:
    """The line of the error that a command line gets, without what depends on the machine."""
    words = [name for word in shlex.split(typed) for name in (sorted(glob.glob(word)) or [word])]  # as a shell does
    before, error = _files(), io.StringIO()
    with redirect_stderr(error), redirect_stdout(io.StringIO()):
        code = main(words)
    printed = error.getvalue()
    lines = re.findall(r"^error: (.*)$", printed, re.MULTILINE)
    if code != 2 or len(lines) != 1 or "Traceback" in printed or _files() != before:
        raise AssertionError(f"{typed}: expected one line and exit code 2, got {code}, {_files() - before}, {printed}")
    return lines[0].replace(program(), "python -m pipeline").replace(f"{Path.cwd()}/", "")


def _files() -> set[Path]:
    return set(Path().rglob("*"))


def mistakes() -> str:
    """The table: what was typed, and what is said."""
    lines = ["| what was typed | what is said |", "|---|---|"]
    with folder():
        for typed in MISTAKES:
            said = answer(typed).replace("|", "\\|").replace("<", "&lt;")
            lines.append(f"| `{typed}` | {said} |")
    return "\n".join(lines)
