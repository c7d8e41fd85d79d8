"""What docs/ says of the stages is what the stages declare, and what they declare is what they do."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from pipeline.recipe import KINDS
from tests.docs_blocks import BLOCKS, DOCS, replaced

STAGES = Path(__file__).resolve().parents[1] / "stages"
FOLDERS = {  # what stands behind each stage
    "ingest": ("ingesting", "meshes"),
    "render": ("rendering", "meshes"),
    "fit": ("fitting",),
    "embed": ("embedding",),
    "align": ("embedding",),
    "caption": ("captioning",),
    "pack": ("packing",),
}


@pytest.mark.parametrize(("page", "name"), BLOCKS)
def test_a_block_is_what_the_code_says(page: str, name: str) -> None:
    text = (DOCS / page).read_text()
    assert text == replaced(text, name, BLOCKS[page, name]()), "run make docs"


def test_the_tests_that_security_names_are_there() -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", (DOCS / "security.md").read_text())
    assert len(named) > 20
    tests = STAGES.parent / "tests"
    missing = [f"{file}::{name}" for file, name in named if f"def {name}(" not in (tests / file).read_text()]
    assert not missing


def given_reasons(path: Path) -> set[tuple[str, bool]]:
    """The reasons that a file gives to StageError as plain words, and whether they are transient for certain."""
    found = set()
    for call in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Name)
            and call.func.id == "StageError"
            and call.args
        ):
            word = call.args[0]
            if isinstance(word, ast.Constant):
                transient = {each.arg: each.value for each in call.keywords}.get("transient")
                found.add((word.value, isinstance(transient, ast.Constant) and transient.value is True))
    return found


def test_every_reason_that_is_given_is_declared() -> None:
    declared = {(reason.word, reason.transient) for kind in KINDS.values() for reason in kind.reasons}
    words = {word for word, _ in declared}
    given = {pair for path in STAGES.rglob("*.py") for pair in given_reasons(path)}
    assert {word for word, _ in given} <= words
    assert {pair for pair in given if pair[1]} <= declared


def words_outside_declarations(path: Path) -> set[str]:
    """The plain words of a file, without those that it only declares as reasons."""
    tree = ast.parse(path.read_text())
    declared = {
        id(call.args[0])
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Reason"
    }
    words = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in declared)
    return {word.value for word in words if isinstance(word.value, str)}


@pytest.mark.parametrize("name", KINDS)
def test_a_stage_gives_every_reason_that_it_declares(name: str) -> None:
    files = [STAGES / f"{name}.py", *(path for folder in FOLDERS[name] for path in (STAGES / folder).rglob("*.py"))]
    given = set().union(*(words_outside_declarations(path) for path in files))
    words = [reason.word for reason in KINDS[name].reasons]
    assert len(set(words)) == len(words)
    assert set(words) <= given
