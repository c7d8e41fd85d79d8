"""Faults of the whole: killed drivers and workers, full disks, two drivers, damaged files. The same command mends."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from manifests.log import LogReader
from manifests.outcomes import Outcomes
from manifests.store import LocalStore
from stages.artifacts.splat import Splat
from tests.pipeline.building import (
    build,
    build_command,
    call,
    command,
    dataset_files,
    ids_in_dataset,
    index,
    reasons,
    start,
    status,
    write_meshes,
)
from tests.pipeline.processes import children_of, is_alive, wait_for_files, wait_until


def test_sigterm_ends_a_build_and_keeps_what_is_done(tmp_path: Path) -> None:
    source = write_meshes(tmp_path / "source")
    words = build_command(source, tmp_path / "run", "--fit.steps", "100")
    driver = start(words)
    wait_for_files(tmp_path / "run" / "artifacts" / "fit", "*.json", process=driver)
    workers = children_of(driver.pid)
    driver.send_signal(signal.SIGTERM)
    assert driver.wait() == 128 + signal.SIGTERM
    assert workers and not any(is_alive(pid) for pid in workers)
    assert status(tmp_path / "run")["building"] is False
    assert status(tmp_path / "run")["stages"]["fit"]["ok"] >= 1
    call(words)
    assert len(ids_in_dataset(tmp_path / "run")) == 5


def test_ctrl_c_before_there_is_work_is_an_exit_code_without_a_traceback(tmp_path: Path) -> None:
    driver = start(command("build", "demo", "--corpus.count", "100000", "--run", tmp_path, "--engine", "local"))
    wait_for_files(tmp_path / "corpus", "*.glb", process=driver)
    driver.send_signal(signal.SIGINT)
    _, error = driver.communicate()
    assert driver.returncode == 128 + signal.SIGINT
    assert b"Traceback" not in error


@pytest.mark.slow
def test_workers_die_with_a_killed_driver_and_the_run_is_free_at_once(tmp_path: Path) -> None:
    source = write_meshes(tmp_path / "source")
    words = build_command(source, tmp_path / "run", "--fit.steps", "100")
    driver = start(words)
    wait_for_files(tmp_path / "run" / "artifacts" / "render", "*.zip", process=driver)
    workers = children_of(driver.pid)
    driver.kill()
    driver.wait()
    wait_until(lambda: not any(is_alive(pid) for pid in workers), "all workers have ended")
    call(words)
    assert len(ids_in_dataset(tmp_path / "run")) == 5


def test_a_second_driver_is_refused_while_the_first_is_at_work(tmp_path: Path) -> None:
    source = write_meshes(tmp_path / "source", count=2)
    words = build_command(source, tmp_path / "run")
    driver = start(words)
    try:
        wait_for_files(tmp_path / "run" / "artifacts" / "ingest", "*.zip", process=driver)
        driver.send_signal(signal.SIGSTOP)  # so that it is not through before
        second = call(words, code=2)
        assert "another build is at work on this run" in second.stderr
        assert str(driver.pid) in second.stderr
        assert status(tmp_path / "run")["building"] is True
    finally:
        driver.send_signal(signal.SIGCONT)
        assert driver.wait() == 0
    assert len(ids_in_dataset(tmp_path / "run")) == 2


@pytest.mark.slow
def test_a_driver_that_was_taken_for_dead_cannot_write_behind(tmp_path: Path) -> None:
    source = write_meshes(tmp_path / "source")
    words = build_command(source, tmp_path / "run", "--fit.steps", "200")
    first = start(words)
    wait_for_files(tmp_path / "run" / "artifacts" / "render", "*.zip", process=first)
    first.send_signal(signal.SIGSTOP)
    workers = children_of(first.pid)
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    claim = next((tmp_path / "run" / "manifest" / "lease").glob("*1.json"))
    claim.write_text(json.dumps(json.loads(claim.read_text()) | {"place": "another host"}))  # its silence alone tells
    call(words)
    after = dataset_files(tmp_path / "run")
    for pid in [*workers, first.pid]:
        os.kill(pid, signal.SIGCONT)
    _, error = first.communicate()
    assert first.returncode == 2 and b"taken for dead" in error
    assert dataset_files(tmp_path / "run") == after


def test_damaged_parts_of_the_log_are_left_out_and_mended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = write_meshes(tmp_path / "source", count=4)
    build(source, tmp_path / "run")
    before = dataset_files(tmp_path / "run")
    parts = sorted((tmp_path / "run" / "manifest" / "log").rglob("*.parquet"))
    for part, damage in zip(parts, [b"", b"PAR1", parts[0].read_bytes()[:-20], b"\0" * 900], strict=False):
        part.write_bytes(damage)
    for listing in (tmp_path / "run" / "manifest" / "rows").iterdir():
        listing.write_bytes(listing.read_bytes()[:100])
    build(source, tmp_path / "run")
    assert "is damaged" in caplog.text
    assert dataset_files(tmp_path / "run") == before
    assert reasons(tmp_path / "run") == {}


ONE_SPLIT = ["--splits.shares", "{train: 1.0}", "--splits.rows_per_shard"]


def spoil(run: Path, name: str) -> None:
    """Make a row's splat one that pack refuses."""
    records = LogReader(LocalStore(str(run))).latest("fit").to_pylist()
    key = next(record["key"] for record in records if record["id"] == name)
    outcomes = Outcomes(LocalStore(str(run)))
    stored = outcomes.read("fit", key)
    splat = Splat.from_ply(outcomes.read_artifact(stored))
    splat.means[0] = np.nan
    outcomes.withdraw("fit", key)
    outcomes.publish("fit", key, stored.columns, splat.to_ply(), "splat", ".ply")


def rows_in_index(run: Path) -> int:
    return sum(index(run)["rows"].values())


def test_a_block_that_cannot_be_packed_brings_no_row_twice(tmp_path: Path) -> None:
    source = write_meshes(tmp_path / "source", count=4)
    names = sorted(path.name for path in source.iterdir())
    build(source, tmp_path / "run", *ONE_SPLIT, "4")
    spoil(tmp_path / "run", names[0])
    build(source, tmp_path / "run", *ONE_SPLIT, "2", code=1)
    assert reasons(tmp_path / "run") == {"train-00000": "not_finite"}
    assert ids_in_dataset(tmp_path / "run") == set(names)
    assert rows_in_index(tmp_path / "run") == 4


@pytest.mark.slow
def test_a_block_that_cannot_be_packed_keeps_its_shard_as_long_as_it_fits(tmp_path: Path) -> None:
    source, run = write_meshes(tmp_path / "source", count=7), tmp_path / "run"
    names = sorted(path.name for path in source.iterdir())
    build(source, run, *ONE_SPLIT, "2", "--limit", "3")
    build(source, run, "--only", "fit", "--limit", "4")
    spoil(run, names[3])
    build(source, run, *ONE_SPLIT, "2", "--limit", "6", code=1)
    assert reasons(run) == {"train-00001": "not_finite"}
    assert ids_in_dataset(run) == {*names[:3], *names[4:6]}
    build(source, run, *ONE_SPLIT, "2", "--limit", "7", code=1)
    assert ids_in_dataset(run) == {*names[:3], *names[4:7]}


@pytest.mark.slow
def test_a_shard_of_another_shape_stands_for_no_block(tmp_path: Path) -> None:
    source, run = write_meshes(tmp_path / "source", count=6), tmp_path / "run"
    names = sorted(path.name for path in source.iterdir())
    build(source, run, *ONE_SPLIT, "2", "--limit", "3")
    build(source, run, "--render.views", "5", "--only", "fit", "--limit", "1")
    spoil(run, names[0])
    ended = build(source, run, "--render.views", "5", *ONE_SPLIT, "2", code=1)
    assert "Traceback" not in ended.stderr
    assert ids_in_dataset(run) == set(names[2:])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes; only root can make one."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True, check=False)
    if made.returncode != 0:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=False)


def test_a_full_disk_is_a_passing_failure_and_nothing_is_half_written(tmp_path: Path, small_disk: Path) -> None:
    source = write_meshes(tmp_path / "source", count=4)
    run = small_disk / "run"
    (run / "artifacts").mkdir(parents=True)
    (small_disk / "ballast").write_bytes(b"\0" * 2_830_000)
    done = call(build_command(source, run), code=None)
    assert done.returncode in (1, 2), done.stdout + done.stderr
    assert "no space left" in done.stderr.lower() or set(reasons(run).values()) == {"disk_full"}
    (small_disk / "ballast").unlink()
    build(source, run)
    fresh = tmp_path / "fresh"
    build(source, fresh)
    assert dataset_files(run) == dataset_files(fresh)


@pytest.mark.slow
def test_kill_9_of_the_driver_at_ten_moments_changes_no_byte(tmp_path: Path) -> None:
    """At so many outcomes each, of four for each object and one for each shard."""
    source = write_meshes(tmp_path / "source", count=16)
    more = ["--fit.steps", "100", "--fit.gaussians", "500"]
    build(source, tmp_path / "whole", *more)
    words = build_command(source, tmp_path / "run", *more)
    for count in sorted(random.Random(1).sample(range(1, 60), 10)):
        driver = start(words)
        wait_for_files(tmp_path / "run" / "artifacts", "*.json", count, driver)
        driver.kill()
        driver.communicate()
        assert driver.returncode == -signal.SIGKILL
    call(words)
    assert dataset_files(tmp_path / "run") == dataset_files(tmp_path / "whole")


@pytest.mark.slow
def test_kill_9_of_workers_changes_no_byte(tmp_path: Path) -> None:
    """One of them at so many splats each: a stage's worker that dies three times in a row while it opens is a stop."""
    source = write_meshes(tmp_path / "source", count=12)
    attempts = [f"--schedule.{stage}.attempts=20" for stage in ("render", "fit")]
    more = ["--fit.steps", "100", "--fit.gaussians", "500", *attempts]
    build(source, tmp_path / "whole", *more)
    driver = start(build_command(source, tmp_path / "run", *more))
    drawn = random.Random(1)
    for count in sorted(drawn.sample(range(1, 12), 6)):
        wait_for_files(tmp_path / "run" / "artifacts" / "fit", "*.json", count, driver)
        os.kill(drawn.choice(sorted(children_of(driver.pid))), signal.SIGKILL)
    driver.communicate()
    assert driver.returncode == 0
    assert dataset_files(tmp_path / "run") == dataset_files(tmp_path / "whole")


@pytest.mark.slow
def test_a_build_on_s3_is_the_same_and_resumes(tmp_path: Path, bucket: str) -> None:
    import s3fs

    source = write_meshes(tmp_path / "source", count=4)
    build(source, tmp_path / "local", "--fit.steps", "100")
    files = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
    files.put(f"{source}/", f"{bucket}/meshes/", recursive=True)
    run = f"{bucket}/run"
    words = build_command(f"{bucket}/meshes", run, "--fit.steps", "100")
    driver = start(words)
    rendered = f"{run}/artifacts/render"
    wait_until(lambda: files.exists(rendered) and files.find(rendered), "a row is rendered", driver)
    driver.kill()
    driver.communicate()
    done = call(words)
    assert "4 triplets" in done.stdout
    again = call(words)
    assert "Nothing to do" in again.stdout
    call(command("verify", "--run", run, "--deep"))
    files.pipe(min(files.find(f"{run}/artifacts/fit")), b"")
    call(command("verify", "--run", run), 1)
    call(words)
    call(command("verify", "--run", run, "--deep"))
    files.get(f"{run}/dataset", str(tmp_path / "copied" / "dataset"), recursive=True)
    assert dataset_files(tmp_path / "copied") == dataset_files(tmp_path / "local")


@pytest.mark.slow
def test_a_build_mends_what_was_cut_short_on_disk(tmp_path: Path) -> None:
    """As a power cut leaves files: whole by name, and half of what they were."""
    source, run = write_meshes(tmp_path / "source", count=3), tmp_path / "run"
    for stage in ("ingest", "render"):
        build(source, run, "--only", stage)
        made = min((run / "artifacts" / stage).rglob("*.zip"))
        made.write_bytes(made.read_bytes()[: made.stat().st_size // 2])
    build(source, run)
    assert len(ids_in_dataset(run)) == 3 and not reasons(run)
