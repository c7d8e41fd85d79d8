"""The command `train`: killed and gone on with, on several processes, on Ray, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.__main__ import main
from pipeline.settings import PRESETS, RecipeError, load, preset_names, take_overrides
from stages.clip_gs.settings import Training
from stages.clip_gs.trainer import alone
from tests.pipeline.building import ROOT, command
from tests.stages.clip_gs_dataset import things, write

TINY = ["--model.gaussians", "32", "--model.patches", "4", "--model.neighbours", "8", "--model.orders", "[xyz]"]
SMALL = [*TINY, "--data.views", "2", "--batch", "8", "--check_every", "4"]
STILL = ["--augment.scale", "[1, 1]", "--augment.shift", "0", "--augment.rotation", "none", "--augment.color_drop", "0"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    objects = [*things(16, gaussians=32), *things(6, gaussians=32, split="validation")]
    return Path(write(tmp_path_factory.mktemp("train") / "run", objects, gaussians=32))


@pytest.fixture(scope="module")
def one_thread() -> Any:
    """As the processes that are started have: sums of floats depend on it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def words(run: Path, name: str, *more: str) -> list[str]:
    return ["train", "--run", str(run), "--name", name, *SMALL, *more]


def lines(run: Path, name: str) -> list[dict[str, Any]]:
    path = run / "training" / name / "curve.jsonl"
    told = [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in told]


def started(run: Path, name: str, *more: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command(*words(run, name, *more)), cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_for(run: Path, name: str, steps: int) -> None:
    path = run / "training" / name / "curve.jsonl"
    deadline = time.monotonic() + 600
    while not path.exists() or path.read_bytes().count(b"\n") < steps:
        assert time.monotonic() < deadline, f"{name} makes no step {steps}"
        time.sleep(0.05)


def test_killed_and_started_again_it_is_the_curve_of_one_that_was_not(run: Path, one_thread: None) -> None:
    more = ["--steps", "40", "--ema", "0.9", "--model.drop_path", "0.2"]
    process = started(run, "killed", *more, "--save_seconds", "1e-9")  # so it is killed while it saves, or nearly
    wait_for(run, "killed", 7)
    process.kill()
    process.communicate()
    before = lines(run, "killed")
    assert 7 <= len(before) < 40
    assert main(words(run, "killed", *more)) == 0
    assert main(words(run, "whole", *more)) == 0
    after = lines(run, "killed")
    assert [line["step"] for line in after] == list(range(1, 41))
    assert after == lines(run, "whole")
    assert before == after[: len(before)]


def test_two_processes_learn_what_one_learns(run: Path, one_thread: None, capfd: pytest.CaptureFixture[str]) -> None:
    more = ["--steps", "6", "--precision", "float32", *STILL]
    assert main(words(run, "two", *more, "--workers", "2")) == 0
    assert "6 steps" in capfd.readouterr().out
    assert main(words(run, "one", *more)) == 0
    for one, two in zip(lines(run, "one"), lines(run, "two"), strict=True):
        exact = 1e-5 if one["step"] == 1 else 5e-3  # what differs in the last digit grows from step to step
        assert two == pytest.approx(one, rel=exact, abs=1e-7)
    (run / "training" / "two" / "last.pt").unlink()
    assert main(words(run, "two", *more, "--workers", "3")) == 2
    assert "batch: 8 objects cannot be shared alike by 3 processes" in capfd.readouterr().err


def test_anew_it_forgets_what_was_there_but_not_while_a_training_is_at_work(
    run: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(words(run, "anew", "--steps", "3", "--seed", "5")) == 0
    assert main(words(run, "anew", "--steps", "2")) == 2
    assert "was trained with other settings" in capfd.readouterr().err
    with alone(run / "training" / "anew"):
        assert main(words(run, "anew", "--steps", "2", "--anew")) == 2
    assert "another training is at work" in capfd.readouterr().err and len(lines(run, "anew")) == 3
    assert main(words(run, "anew", "--steps", "2", "--anew")) == 0
    assert [line["step"] for line in lines(run, "anew")] == [1, 2]
    assert len(list((run / "training" / "anew" / "tensorboard").iterdir())) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_saves_and_goes_on_later(
    run: Path, number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    name = number.name
    more = ["--steps", "10000", "--save_seconds", "1000"]

    def ask() -> None:
        wait_for(run, name, 2)
        os.kill(os.getpid(), number)

    asking = threading.Thread(target=ask)
    asking.start()
    assert main(words(run, name, *more)) == 128 + number
    asking.join()
    said = capfd.readouterr()
    done = len(lines(run, name))
    assert f"Stopped after step {done} of 10,000, and saved" in said.out
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--run", "s3://bucket/run"], "--run s3://bucket/run: checkpoints are written to a folder"),
        (["--run", ""], "--run is missing"),
        (["--name", "a/b"], "--name 'a/b': letters, digits"),
        (["--workers", "0"], "--workers 0: at least 1"),
        (["--gpus", "1"], "--gpus 1: is for --engine ray"),
        (["--dataset", "/nowhere"], "/nowhere: no dataset there"),
        (["--model.gaussians", "64"], "model.gaussians: 64, but objects of"),
        (["--model.size", "huge"], "model.size: 'huge' is not allowed: input should be 'mini'"),
        (["--modle.size", "mini"], "--modle.size: no such option of train; a setting is changed by its path"),
        (["--model.sise", "mini"], "model.sise: no such field (given 'mini'); allowed are size"),
        (["--batch"], "--batch: a value is missing"),
        (["--start_from", "/nowhere.pt"], "/nowhere.pt: no such checkpoint"),
        (["--engine", "ray", "--batch", "17"], "fewer than a batch of 17"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(
    run: Path, more: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(words(run, "refused", *more)) == 2
    error = capfd.readouterr().err
    assert error.startswith("error: ") and said in error and error.count("\n") == 1


def test_another_setting_in_the_same_folder_is_refused_by_its_name(
    run: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(words(run, "same", "--steps", "1")) == 0
    assert main(words(run, "same", "--steps", "1", "--save_seconds", "5")) == 0
    assert main(words(run, "same", "--steps", "1", "--optimiser.rate", "1e-2")) == 2
    assert "trained with other settings: optimiser.rate (was 0.001); name another folder" in capfd.readouterr().err


@pytest.mark.parametrize("name", preset_names(PRESETS / "train"))
def test_presets_are_of_their_size(name: str) -> None:
    assert load(Training, name, presets=PRESETS / "train").model.size == {"demo": "mini"}.get(name, name)


def test_words_set_fields_wherever_they_stand(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["train", "--batch", "32", "tiny", "--data.without=[{category: chair}]", "--print-config", "--ema", "0.5"]
    assert main(given) == 0
    shown = capsys.readouterr().out
    assert {"size: tiny", "batch: 32", "- category: chair", "ema: 0.5"} <= {line.strip() for line in shown.splitlines()}


def test_the_shown_settings_can_be_trained_by(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "base", "--seed", "3", "--print-config"]) == 0
    path = tmp_path / "settings.yaml"
    path.write_text(capsys.readouterr().out)
    assert load(Training, str(path)) == load(Training, "base", {"seed": 3}, PRESETS / "train")


def test_words_that_are_no_values_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"--data\.without: '\[\{' is not a value"):
        take_overrides(["--data.without", "[{"], Training)


@pytest.mark.slow
def test_on_ray_it_is_the_same_training(run: Path, one_thread: None, capfd: pytest.CaptureFixture[str]) -> None:
    more = ["--steps", "6", "--precision", "float32", *STILL]
    told = ["--engine", "ray", "--workers", "2"]
    assert main(words(run, "ray", *more, *told)) == 0
    assert "6 steps" in capfd.readouterr().out
    assert main(words(run, "plain", *more)) == 0
    for one, two in zip(lines(run, "plain"), lines(run, "ray"), strict=True):
        assert two == pytest.approx(one, rel=5e-3, abs=1e-7)
    assert main(words(run, "ray", *more, *told)) == 0  # nothing left to do
    assert main(words(run, "ray", *more, "--engine", "ray", "--workers", "64", "--batch", "64")) == 2


@pytest.mark.slow
def test_on_ray_a_signal_saves_and_a_bad_loss_stops(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    done = started(run, "asked", "--steps", "10000", "--engine", "ray")
    wait_for(run, "asked", 2)
    done.send_signal(signal.SIGTERM)
    out, error = done.communicate(timeout=300)
    assert done.returncode == 128 + signal.SIGTERM, error
    assert "Stopped after step" in out and "Traceback" not in error
    wild = ["--steps", "5", "--optimiser.rate", "1e30", "--optimiser.warm_share", "0", "--engine", "ray"]
    assert main(words(run, "wild", *wild)) == 2
    assert "error: step 2: the loss is nan" in capfd.readouterr().err


@pytest.mark.slow
def test_a_killed_parent_leaves_no_children_at_work(run: Path) -> None:
    process = started(run, "orphans", "--steps", "100000", "--workers", "2")
    wait_for(run, "orphans", 3)
    process.kill()
    process.communicate(timeout=60)  # until the children, too, have closed the pipe
    count = len(lines(run, "orphans"))
    time.sleep(1)
    assert len(lines(run, "orphans")) == count
