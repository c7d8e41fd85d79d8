"""--help: every setting with its default and meaning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import pytest
from pydantic import BaseModel

from pipeline.__main__ import main
from pipeline.recipe import Recipe
from stages.clip_gs.settings import Training


def paths(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, str]]:
    """Every setting's path and meaning; schedules count once."""
    for name, field in model.model_fields.items():
        kinds = (field.annotation, *get_args(field.annotation))
        nested = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if field.exclude or name == "schedule":
            continue
        if nested:
            yield from paths(nested, f"{path}{name}.")
        else:
            yield f"{path}{name}", field.description or ""


@pytest.mark.parametrize(("command", "model"), [("build", Recipe), ("train", Training)])
def test_help_lists_every_setting(command: str, model: type[BaseModel], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    shown = capsys.readouterr().out
    words = " ".join(shown.split())
    for path, meaning in paths(model):
        assert f"--{path} " in shown, path
        assert meaning, f"{path} has no description"
        assert " ".join(meaning.split()) in words, path


def test_defaults_are_those_of_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["build", "--help"])
    shown = capsys.readouterr().out
    defaults = Recipe()
    assert f"--fit.steps {defaults.fit.steps}\n" in shown
    assert f'--fit.engine "{defaults.fit.engine}"\n' in shown
    assert "--schedule.STAGE.attempts 2\n" in shown
    assert "embed: Embed an object's views" in shown and "--embed.batch_images 256\n" in shown


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "build | convert | status" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("gs-triplets ")
