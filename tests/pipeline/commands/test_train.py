"""The command `train`: killed and gone on with, on several processes, on Ray, and what it refuses."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest

from pipeline.__main__ import main
from pipeline.settings import OF_TRAIN, RecipeError, load, take_overrides
from pipeline.training.on_ray import cause
from pipeline.training.processes import free_port
from stages.clip_gs.data.shards import DatasetError
from stages.clip_gs.settings import Training
from stages.clip_gs.training import checkpoint
from stages.clip_gs.training.folder import alone
from tests.pipeline.building import ROOT, command
from tests.pipeline.processes import children_of, is_alive, wait_until
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
    records = [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in records]


def started(run: Path, name: str, *more: str, **environment: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        command(*words(run, name, *more)), cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_for(run: Path, name: str, steps: int) -> None:
    path = run / "training" / name / "curve.jsonl"
    wait_until(lambda: path.exists() and path.read_bytes().count(b"\n") >= steps, f"{name} has made {steps} steps")


def holder_of(lock: Path) -> int:
    """The process that has locked the file."""
    locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return next(int(words[4]) for words in locks if words[5].endswith(f":{lock.stat().st_ino}"))


def killed_at(step: int, run: Path, name: str, *more: str) -> None:
    """By kill -9, once it tells of this step or a later one."""
    printed = []
    with started(run, name, *more) as process:
        assert process.stderr
        for line in process.stderr:
            printed.append(line)
            match = re.search(r"step (\d+): text to 3D", line)
            if match and int(match[1]) >= step:
                break
        process.kill()
    assert process.returncode == -signal.SIGKILL, "".join(printed)


def ranks(run: Path, name: str, *more: str, homes: list[Path]) -> list[tuple[int, str]]:
    """Exit codes and errors of a training's processes, started as torchrun does it, each with a home of its own."""
    shared = {"WORLD_SIZE": str(len(homes)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    processes = [
        started(run, name, *more, **shared, RANK=str(rank), LOCAL_RANK=str(rank), HOME=str(home))
        for rank, home in enumerate(homes)
    ]
    errors = [process.communicate()[1] for process in processes]
    return [(process.returncode, error) for process, error in zip(processes, errors, strict=True)]


def test_killed_and_started_again_it_is_the_curve_of_one_that_was_not(run: Path, one_thread: None) -> None:
    drawn = random.Random(1)
    more = ["--steps", "48", "--ema", "0.9", "--model.drop_path", "0.2"]
    last = run / "training" / "killed" / "last.pt"
    killed_at(drawn.randint(1, 6), run, "killed", *more, "--save_seconds", "1000")
    assert not last.exists()
    killed_at(drawn.randint(7, 12), run, "killed", *more, "--save_seconds", "1e-9")  # while it saves, or nearly
    saved = checkpoint.read(last)["step"]
    killed_at(saved + drawn.randint(10, 16), run, "killed", *more, "--save_seconds", "1000")
    assert checkpoint.read(last)["step"] == saved
    before = lines(run, "killed")
    assert saved <= len(before) < 48
    assert main(words(run, "killed", *more)) == 0
    assert main(words(run, "whole", *more)) == 0
    after = lines(run, "killed")
    assert [line["step"] for line in after] == list(range(1, 49))
    assert after == lines(run, "whole")
    assert before == after[: len(before)]


def test_two_processes_learn_what_one_learns(run: Path, one_thread: None, capfd: pytest.CaptureFixture[str]) -> None:
    more = ["--steps", "6", "--precision", "float32", *STILL]
    assert main(words(run, "two", "--steps", "1")) == 0
    assert main(words(run, "two", *more, "--workers", "2", "--anew")) == 0
    assert "6 steps" in capfd.readouterr().out
    assert main(words(run, "one", *more)) == 0
    for one, two in zip(lines(run, "one"), lines(run, "two"), strict=True):
        exact = 1e-5 if one["step"] == 1 else 5e-3  # what differs in the last digit grows from step to step
        assert two == pytest.approx(one, rel=exact, abs=1e-7)
    (run / "training" / "two" / "last.pt").unlink()
    assert main(words(run, "two", *more, "--workers", "3")) == 2
    assert "batch: 8 objects cannot be divided equally among 3 processes" in capfd.readouterr().err


def test_anew_it_forgets_what_was_there_but_not_while_a_training_is_at_work(
    run: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(words(run, "anew", "--steps", "3", "--seed", "5")) == 0
    assert main(words(run, "anew", "--steps", "2")) == 2
    assert "was trained with other settings" in capfd.readouterr().err
    for more, message in (
        (["--batch", "17"], "fewer than a batch of 17"),
        (["--batch", "9", "--workers", "2"], "batch: 9 objects cannot be divided equally"),
        (["--dataset", "/nowhere"], "no dataset there"),
        (["--start_from", "/nowhere.pt"], "no such file"),
        (["--start_from", str(run / "training" / "anew")], "which --anew removes; copy it elsewhere"),
    ):
        assert main(words(run, "anew", "--steps", "2", "--anew", *more)) == 2
        assert message in capfd.readouterr().err and len(lines(run, "anew")) == 3
    with alone(run / "training" / "anew"):
        assert main(words(run, "anew", "--steps", "2", "--anew")) == 2
    assert "another training runs there" in capfd.readouterr().err and len(lines(run, "anew")) == 3
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
    printed = capfd.readouterr()
    done = len(lines(run, name))
    assert f"Stopped after step {done} of 10,000. It is saved" in printed.out
    assert "Traceback" not in printed.err


def test_a_stop_that_cannot_be_saved_is_no_stop_that_was(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def ask() -> None:
        wait_for(run, "unsaved", 2)
        (run / "training" / "unsaved" / "last.pt").mkdir()
        os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=ask)
    asking.start()
    assert main(words(run, "unsaved", "--steps", "10000", "--save_seconds", "1000", "--workers", "2")) == 2
    asking.join()
    printed = capfd.readouterr()
    assert "last.pt" in printed.err and "Is a directory" in printed.err and "saved" not in printed.out


@pytest.mark.parametrize("torchrun", [False, True])
def test_more_processes_than_gpus_are_refused_by_every_command(
    run: Path, torchrun: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    if torchrun:
        environment = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
    count = [] if torchrun else ["2"]
    shared = ["--checkpoint", "any.pt", "--dataset", str(run), *(["--processes", *count] if count else [])]
    for command_line in (
        words(run, "gpus", *(["--workers", *count] if count else [])),
        ["evaluate", *shared],
        ["encode", *shared, "--out", "any.parquet"],
    ):
        assert main(command_line) == 2
        assert (
            capfd.readouterr().err
            == "error: 2 processes: expected at most 1, since each takes one of the GPUs of this machine\n"
        )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--run", "s3://bucket/run"], "--run s3://bucket/run: checkpoints are written to a folder, not to a URI"),
        (["--run", ""], "--run is missing"),
        (["--name", "a/b"], "--name 'a/b': letters, digits"),
        (["--workers", "0"], "--workers 0: must be at least 1"),
        (["--gpus", "1"], "--gpus 1: is for --engine ray"),
        (["--dataset", "/nowhere"], "/nowhere: no dataset there"),
        (["--model.gaussians", "64"], "model.gaussians: 64, but objects in"),
        (["--epochs", "inf"], "epochs: 'inf' is not allowed: expected a finite number"),
        (["--optimiser.betas", "[0.9, 1.0]"], "optimiser.betas.1: 1.0 is not allowed: expected less than 1"),
        (["--seed", str(2**63)], f"seed: {2**63} is not allowed: expected less than {2**63}"),
        (["--model.size", "huge"], "model.size: 'huge' is not allowed: expected 'mini'"),
        (["--modle.size", "mini"], "--modle.size: no such option of train (did you mean --model.size?)"),
        (["--model.sise", "mini"], "model.sise: no such field (given 'mini') (did you mean size?); allowed are size"),
        (["--batch"], "--batch: a value is missing"),
        (["--start_from", "/nowhere.pt"], "/nowhere.pt: no such file"),
        (["--engine", "ray", "--batch", "17"], "fewer than a batch of 17"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(
    run: Path, more: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(words(run, "refused", *more)) == 2
    error = capfd.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1


def test_another_setting_in_the_same_folder_is_refused_by_its_name(
    run: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(words(run, "same", "--steps", "1")) == 0
    assert main(words(run, "same", "--steps", "1", "--save_seconds", "5")) == 0
    assert main(words(run, "same", "--steps", "1", "--optimiser.rate", "1e-2")) == 2
    assert "trained with other settings: optimiser.rate (was 0.001); pass another --name" in capfd.readouterr().err


def test_what_is_left_out_is_told_once(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Though rows are counted before the training, in it, and for validation."""
    rules = "[{id: train-001}, {category: plane}]"
    assert main(words(run, "told", "--steps", "1", "--data.without", rules)) == 0
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "data.without: no row of split 'train' matches {'category': 'plane'}",
        "split 'train': 15 rows to train on; left out: 1 named by data.without",
    ]


@pytest.mark.parametrize("name", OF_TRAIN.names)
def test_presets_are_of_their_size(name: str) -> None:
    assert load(Training, name, None, OF_TRAIN).model.size == {"demo": "mini", "corpus": "mini"}.get(name, name)


def test_words_set_fields_wherever_they_stand(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["train", "--batch", "32", "tiny", "--data.without=[{category: chair}]", "--print-config", "--ema", "0.5"]
    assert main(given) == 0
    shown = capsys.readouterr().out
    assert {"size: tiny", "batch: 32", "- category: chair", "ema: 0.5"} <= {line.strip() for line in shown.splitlines()}


def test_the_shown_settings_can_be_trained_by(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "base", "--seed", "3", "--print-config"]) == 0
    path = tmp_path / "settings.yaml"
    path.write_text(capsys.readouterr().out)
    assert load(Training, str(path), None, OF_TRAIN) == load(Training, "base", {"seed": 3}, OF_TRAIN)


def test_words_that_are_no_values_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"--data\.without: '\[\{' is not a YAML value"):
        take_overrides(["--data.without", "[{"], Training)


def test_of_what_workers_on_ray_complain_of_ours_is_told() -> None:
    from ray.train import WorkerGroupError

    lost = RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:4096")
    odd, ours = ValueError("first\n  what it was\n"), DatasetError("data/1.parquet cannot be read")
    assert cause(WorkerGroupError("...", {0: lost, 1: odd, 2: lost})) == "what it was"
    assert cause(WorkerGroupError("...", {0: lost, 1: odd, 2: ours})) == "data/1.parquet cannot be read"
    assert cause(WorkerGroupError("...", {0: lost})) == str(lost)
    assert cause(ValueError()) == "ValueError"


@pytest.mark.slow
def test_processes_of_torchrun_go_by_what_the_first_of_them_sees(run: Path, tmp_path: Path) -> None:
    assert main(words(run, "begun", "--steps", "2")) == 0
    homes = [tmp_path / "with", tmp_path / "without"]
    for home in homes:
        home.mkdir()
    shutil.copy(run / "training" / "begun" / "last.pt", homes[0] / "start.pt")
    for code, error in ranks(run, "begun", "--anew", "--batch", "18", homes=homes):
        assert code and (not error or "fewer than a batch of 18" in error)
    assert len(lines(run, "begun")) == 2
    more = ["--steps", "3", "--start_from", "~/start.pt"]
    assert [code for code, _ in ranks(run, "begun", "--anew", *more, homes=homes)] == [0, 0]
    assert [line["step"] for line in lines(run, "begun")] == [1, 2, 3]
    (first, told), (second, untold) = ranks(run, "blind", *more, homes=homes[::-1])
    assert (first, second) == (2, 1) and "start.pt: no such file" in told and not untold


@pytest.mark.slow
def test_processes_that_do_not_find_each_other_say_so_in_a_line(
    run: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "nowhere0")
    assert main(words(run, "apart", "--workers", "2")) == 2
    error = capfd.readouterr().err
    assert re.match(r"error: process [01] of 2 cannot reach the others \(MASTER_ADDR 127\.0\.0\.1, ", error)
    assert error.count("\n") == 1


@pytest.mark.slow
def test_on_ray_it_is_the_same_training(run: Path, one_thread: None, capfd: pytest.CaptureFixture[str]) -> None:
    more = ["--steps", "6", "--precision", "float32", *STILL]
    options = ["--engine", "ray", "--workers", "2"]
    assert main(words(run, "ray", *more, *options)) == 0
    assert "6 steps" in capfd.readouterr().out
    assert main(words(run, "plain", *more)) == 0
    for one, two in zip(lines(run, "plain"), lines(run, "ray"), strict=True):
        assert two == pytest.approx(one, rel=5e-3, abs=1e-7)
    assert main(words(run, "ray", *more, *options)) == 0  # nothing left to do
    assert main(words(run, "ray", *more, "--engine", "ray", "--workers", "8", "--anew")) == 2
    assert "the cluster has" in capfd.readouterr().err and len(lines(run, "ray")) == 6


@pytest.mark.slow
def test_on_ray_a_signal_saves_and_a_bad_loss_stops(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    done = started(run, "asked", "--steps", "10000", "--engine", "ray")
    wait_for(run, "asked", 2)
    done.send_signal(signal.SIGTERM)
    out, error = done.communicate()
    assert done.returncode == 128 + signal.SIGTERM, error
    assert "Stopped after step" in out and "Traceback" not in error
    wild = ["--steps", "5", "--optimiser.rate", "1e30", "--optimiser.warm_share", "0", "--engine", "ray"]
    assert main(words(run, "wild", *wild)) == 2
    assert "error: step 2: the loss is nan" in capfd.readouterr().err


@pytest.mark.slow
def test_on_ray_a_lost_worker_is_made_up_for_and_a_new_beginning_made_once(run: Path) -> None:
    assert main(words(run, "lost", "--steps", "2")) == 0
    folder = run / "training" / "lost"
    more = ["--steps", "60", "--save_seconds", "0.2", "--anew", "--engine", "ray", "--workers", "2"]
    process = started(run, "lost", *more)
    wait_for(run, "lost", 10)
    os.kill(holder_of(folder / "lock"), signal.SIGKILL)
    assert process.communicate() and process.returncode == 0
    assert [line["step"] for line in lines(run, "lost")] == list(range(1, 61))
    assert len(list((folder / "tensorboard").iterdir())) == 2


@pytest.mark.slow
def test_on_ray_what_would_go_wrong_again_is_told_at_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = Path(write(tmp_path / "run", things(16, gaussians=32), gaussians=32))
    shard = max((run / "dataset").rglob("*.parquet"))
    with parquet.ParquetFile(shard) as file:
        group = file.metadata.row_group(1)
    columns = [group.column(number) for number in range(group.num_columns)]
    begin = next(column.data_page_offset for column in columns if column.path_in_schema.startswith("means"))
    data = bytearray(shard.read_bytes())
    data[begin : begin + 100] = bytes(byte ^ 0xFF for byte in data[begin : begin + 100])
    shard.write_bytes(data)
    lanes = ["--data.shuffle_rows", "8"]  # two, so that one process alone meets the damage
    assert main(words(run, "damaged", *lanes, "--steps", "9", "--engine", "ray", "--workers", "2")) == 2
    error = capfd.readouterr().err
    assert f"error: {shard} cannot be read: its SHA-256 differs from index.json" in error and "Traceback" not in error
    assert len(list((run / "training" / "damaged" / "tensorboard").iterdir())) == 1
    assert not (run / "training" / "damaged" / "complaint").exists()
    (run / "training" / "odd").mkdir()
    (run / "training" / "odd" / "ray").write_text("where Ray makes a folder\n")
    assert main(words(run, "odd", "--engine", "ray")) == 2
    error = capfd.readouterr().err
    assert "error: Ray failed: FileExistsError: " in error and "Traceback" not in error


@pytest.mark.slow
def test_a_killed_parent_leaves_no_children_at_work(run: Path) -> None:
    process = started(run, "orphans", "--steps", "100000", "--workers", "2")
    wait_for(run, "orphans", 3)
    children = children_of(process.pid)
    process.kill()
    process.communicate()  # until the children, too, have closed the pipe
    assert len(children) >= 2
    wait_until(lambda: not any(is_alive(child) for child in children), "the children have ended")
