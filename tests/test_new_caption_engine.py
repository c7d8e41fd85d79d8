"""What a new caption engine takes: its file, and its line in ENGINES."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ECHO = '''
"""Caption an object with its own name, in the words of `caption.model`."""

from __future__ import annotations

from typing import ClassVar

from stages.captioning.engine import CaptionEngine
from stages.captioning.settings import CaptionSettings
from stages.captioning.texts import caption
from stages.contract.stage import Context, Done, Reason, Row, StageError, Work, each


class Engine(CaptionEngine):
    uses: ClassVar[frozenset[str]] = frozenset({"model"})
    required: ClassVar[dict[str, str]] = {"model": "a word to echo"}
    reasons: ClassVar[tuple[Reason, ...]] = (Reason("no_name", "the source list gives no name"),)

    @classmethod
    def reads(cls, settings: CaptionSettings) -> tuple[str, ...]:
        return ("name",)

    @classmethod
    def open(cls, settings: CaptionSettings, context: Context) -> Work:
        def work(row: Row) -> Done:
            if not row.get("name"):
                raise StageError("no_name", f"{row['id']} has no name")
            return Done(columns={"captions": [caption(f"{settings.model} {row['name']}", "short", "echo")]})

        return each(work)
'''
LINE = '    "echo": "the name of the object, after a word",\n'
CAPTION = """
import json
from pathlib import Path
from manifests.store import LocalStore
from stages.caption import Caption
from stages.contract.stage import Context

stage = Caption(engine="echo", model="hello").resolve(gpus=1)
work = stage.open(Context(LocalStore("."), Path(".")))
named, nameless = (outcome for _, outcome in work([{"id": "a", "name": "chair"}, {"id": "b"}]))
keys = {stage.key({"name": name, "tags": tags}) for name in ("chair", "table") for tags in ("red", "blue")}
keys |= {Caption(engine="echo", model="hello", views=3).key({"name": "chair"})}
declared = [reason.meaning for reason in stage.reasons if reason.word == nameless.reason]
print(json.dumps([named.columns["captions"][0]["text"], declared, len(keys), stage.on_gpu, stage.may_need]))
"""


def copy_of_the_packages(folder: Path, *, with_line: bool) -> Path:
    for name in ("manifests", "stages", "pipeline"):
        ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    engines = folder / "stages" / "captioning" / "engines"
    (engines / "echo.py").write_text(ECHO.lstrip())
    registry = engines / "__init__.py"
    text = registry.read_text()
    assert text.count("ENGINES = {\n") == 1
    if with_line:
        registry.write_text(text.replace("ENGINES = {\n", "ENGINES = {\n" + LINE))
    return folder


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_the_packages(tmp_path_factory.mktemp("with"), with_line=True)


def run(checkout: Path, *words: str, code: int = 0) -> str:
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    done = subprocess.run([sys.executable, *words], cwd=checkout, env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_its_captions_are_the_outcomes_of_the_stage_and_its_reason_is_declared(checkout: Path) -> None:
    assert run(checkout, "-c", CAPTION) == '["hello chair", ["echo: the source list gives no name"], 2, false, []]\n'


def test_help_and_refusals_name_it(checkout: Path) -> None:
    shown = " ".join(run(checkout, "-m", "pipeline", "build", "--help").split())
    assert "`echo`: the name of the object, after a word; `metadata`: words of the source list" in shown
    print_config = ("-m", "pipeline", "build", "cpu", "--print-config")
    refused = run(checkout, *print_config, "--caption.engine", "unknown", code=2)
    assert "caption.engine: 'unknown' is not allowed: expected echo, metadata, vlm or served" in refused
    refused = run(checkout, *print_config, "--caption.engine", "echo", code=2)
    assert "caption.model: missing; the engine echo needs a word to echo" in refused
    run(checkout, *print_config, "--caption.engine", "echo", "--caption.model", "hello")


def test_without_its_line_it_is_refused(tmp_path: Path) -> None:
    without = copy_of_the_packages(tmp_path, with_line=False)
    refused = run(without, "-m", "pipeline", "build", "cpu", "--print-config", "--caption.engine", "echo", code=2)
    assert "caption.engine: 'echo' is not allowed: expected metadata, vlm or served" in refused
