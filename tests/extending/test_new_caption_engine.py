"""What a new caption engine takes: its file, and its line in ENGINES."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.extending.checkout import Checkout

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
    reasons: ClassVar[tuple[Reason, ...]] = (Reason("no_name", "the source list gives no name", "give one"),)

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


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    checkout = Checkout(tmp_path_factory.mktemp("checkout"))
    checkout.add_file("stages/captioning/engines/echo.py", ECHO)
    checkout.add_line("stages/captioning/engines/__init__.py", LINE, after="ENGINES = {\n")
    return checkout


def test_its_captions_are_the_outcomes_of_the_stage_and_its_reason_is_declared(checkout: Checkout) -> None:
    captioned = checkout.run("-c", CAPTION).stdout
    assert captioned == '["hello chair", ["echo: the source list gives no name"], 2, false, []]\n'


def test_help_and_refusals_name_it(checkout: Checkout) -> None:
    shown = " ".join(checkout.command("build", "--help").stdout.split())
    assert "`echo`: the name of the object, after a word; `metadata`: words of the source list" in shown
    print_config = ("build", "cpu", "--print-config")
    refused = checkout.command(*print_config, "--caption.engine", "unknown", code=2).stderr
    assert "caption.engine: 'unknown' is not allowed: expected echo, metadata, vlm or served" in refused
    refused = checkout.command(*print_config, "--caption.engine", "echo", code=2).stderr
    assert "caption.model: missing; the engine echo needs a word to echo" in refused
    checkout.command(*print_config, "--caption.engine", "echo", "--caption.model", "hello")


def test_without_its_line_it_is_refused(tmp_path: Path) -> None:
    without = Checkout(tmp_path)
    without.add_file("stages/captioning/engines/echo.py", ECHO)
    refused = without.command("build", "cpu", "--print-config", "--caption.engine", "echo", code=2).stderr
    assert "caption.engine: 'echo' is not allowed: expected metadata, vlm or served" in refused
