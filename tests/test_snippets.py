"""What README, CONTRIBUTING and docs tell users to type is accepted, and prints what they say it prints."""

from __future__ import annotations

import doctest
import importlib.util
import re
from pathlib import Path

import pytest

from pipeline.command_line.arguments import COMMANDS, read_words
from pipeline.recipe import load_recipe
from pipeline.settings import OF_TRAIN, load
from stages.clip_gs.settings import Training
from tests.pipeline.building import say
from tests.snippets import ROOT, blocks, commands

OURS = ("python -m pipeline", "gs-triplets", "torchrun --nproc-per-node 8 -m -- pipeline")
OTHERS = {".", "cd", "docker", "export", "git", "pip", "python3.11", "sudo", "vllm"}  # programs that are not ours
SHELL = [(str(block), words) for block in blocks("sh") for words in commands(block)]
ELSEWHERE = "docs/architecture.md"  # tests/extending builds with the stage that it shows
PYTHON = [block for block in blocks("python") if block.page != ELSEWHERE]


def check(words: list[str]) -> None:
    """Raise if a command of ours is not one, or has an option, a setting or a value that is refused."""
    options, settings = read_words(words)
    if options.command == "build":
        load_recipe(options.recipe, settings)
    elif options.command == "train":
        load(Training, options.recipe, settings, OF_TRAIN)


def our_words(words: list[str]) -> list[str] | None:
    """The arguments of a command of ours, also where another program starts it."""
    for program in OURS:
        start = program.split()
        for place in range(len(words)):
            if words[place : place + len(start)] == start:
                return words[place + len(start) :]
    return None


@pytest.mark.parametrize(("place", "words"), SHELL, ids=[f"{place} {' '.join(words[:4])}" for place, words in SHELL])
def test_a_command_is_one(place: str, words: list[str]) -> None:
    if (ours := our_words(words)) is not None:
        check(ours)
    elif words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert all(word in targets or "=" in word for word in words[1:])
    elif words[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(words[2])
    else:
        assert words[0].rpartition("/")[2] in OTHERS, words


def test_every_command_is_shown_somewhere() -> None:
    shown = {ours[0] for _, words in SHELL if (ours := our_words(words))}
    assert shown >= set(COMMANDS)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the demo was built, under the names that the pages use, with its first objects."""
    folder = tmp_path_factory.mktemp("demo")
    run = folder / "runs" / "demo"
    say("build", "demo", "--run", run, "--engine", "local", "--corpus.count", "4", "--fit.steps", "10")
    (folder / "RUN").symlink_to(run)
    model = ["--checkpoint", str(ROOT / "stages/embedded/clip_gs"), "--dataset", str(run), "--split", "all"]
    say("encode", *model, "--out", folder / "vectors.parquet")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", dict.fromkeys(block.page for block in PYTHON))
def test_python_runs_and_prints_what_its_page_says(demo: Path, monkeypatch: pytest.MonkeyPatch, page: str) -> None:
    monkeypatch.chdir(demo)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", demo / "cache")
    names: dict[str, object] = {}
    for block in (block for block in PYTHON if block.page == page):
        if ">>>" in block.text:
            said: list[str] = []
            doctest.DocTestRunner().run(
                doctest.DocTestParser().get_doctest(block.text, names, page, page, 0), out=said.append
            )
            assert not said, "".join(said)
        else:
            exec(compile(block.text, str(block), "exec"), names)
