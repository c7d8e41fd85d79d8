"""The scripts for shells; that of bash completes in a real bash."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.commands.completion import SHELLS
from tests.pipeline.building import say

COMPLETE = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
function=$(complete -p gs-triplets | sed -E 's/.*-F ([^ ]+).*/\\1/')
"$function" gs-triplets "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "gs-triplets.bash"
    path.write_text(say("completion", "bash").stdout)
    return path


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("", {"build", "status", "train", "completion"}),
        ("bu", {"build"}),
        ("build ", {"demo", "cpu", "full", "mine.yaml"}),
        ("build cpu --run runs --sou", {"--source"}),
        ("build cpu --fit.st", {"--fit.steps"}),
        ("build cpu --engine ", {"ray", "local"}),
        ("build cpu --source me", {"meshes"}),
        ("train --model.si", {"--model.size"}),
        ("status --run ", {"meshes", "mine.yaml"}),
    ],
)
def test_bash_completes_commands_options_settings_presets_and_files(
    script: Path, tmp_path: Path, words: str, offered: set[str]
) -> None:
    (tmp_path / "meshes").mkdir()
    (tmp_path / "mine.yaml").touch()
    command = ["bash", "-c", COMPLETE, "bash", str(script), "gs-triplets", *words.split(" ")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert offered <= {line.strip().rstrip("/") for line in done.stdout.splitlines()}, done.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_a_script_without_syntax_errors(shell: str) -> None:
    script = say("completion", shell).stdout
    assert "gs-triplets" in script and "fit.steps" in script
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=script, text=True, check=True)
