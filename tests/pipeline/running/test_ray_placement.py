"""The Ray placement: on a Ray of its own, and as a job submitted to a head that the test starts on its own ports."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.building import (
    BLOCKS,
    ROOT,
    SMALL,
    call,
    command,
    dataset_files,
    ids_in_dataset,
    start,
    write_meshes,
)
from tests.pipeline.processes import command_of, descendants_of, is_alive, wait_for_files, wait_until

RAY = Path(sys.executable).parent / "ray"
TROUBLE = """
from pathlib import Path
import os, sys
from pipeline.running.ray_placement import RayPlacement
from pipeline.step import Step
from tests.pipeline.run_steps import QUICK, make_rows, run_steps
from tests.pipeline.tiny_stages import Finish, Start, Trouble

rows = make_rows(raises="raise", exits="exit", crashes="segfault", hangs="hang", fails="fail", a="", b="", c="")
trouble = Step(Trouble(), QUICK.model_copy(update={"timeout_seconds": 3.0, "attempts": 1}))
ran = run_steps(Path(sys.argv[1]), rows, [Step(Start(), QUICK), trouble, Step(Finish(), QUICK)], RayPlacement())
bad = ("raises", "exits", "crashes", "hangs", "fails")
print(sorted(ran.ok("finish")), {name: ran.reason("trouble", name) for name in bad}, flush=True)
os._exit(0)  # as the command line does: Arrow's threads may abort an interpreter that is torn down
"""


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="module")
def head() -> Iterator[dict[str, str]]:
    """A Ray head with two CPUs: the environment that leads to it."""
    gcs, dashboard, client, agent = free_ports(4)
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # sockets in it need a short path
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    process = subprocess.Popen(
        [
            RAY, "start", "--head", "--block", "--num-cpus=2", "--num-gpus=0", "--disable-usage-stats",
            "--node-ip-address=127.0.0.1", f"--port={gcs}", f"--dashboard-port={dashboard}",
            f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}",
            "--min-worker-port=0", "--max-worker-port=0", "--object-store-memory=100000000", f"--temp-dir={folder}",
        ],
        env={**os.environ, **secret},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    environment = {
        "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}",
        "RAY_ADDRESS": f"127.0.0.1:{gcs}",
        **secret,
    }
    try:
        jobs = [RAY, "job", "list", "--address", environment["RAY_API_SERVER_ADDRESS"]]
        asked = {"env": {**os.environ, **secret}, "capture_output": True, "check": False}
        wait_until(lambda: subprocess.run(jobs, **asked).returncode == 0, "the Ray head answers", process)
        yield environment
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def submit(head: dict[str, str], *words: str | Path) -> subprocess.CompletedProcess[str]:
    return ray_job(head, "submit", "--working-dir", ROOT, "--", sys.executable, *words)


def ray_job(head: dict[str, str], verb: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    address = head["RAY_API_SERVER_ADDRESS"]
    secret = {name: head[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}
    return call([str(word) for word in (RAY, "job", verb, "--address", address, *words)], code=None, **secret)


def test_trouble_on_ray_costs_its_own_row_only(head: dict[str, str], tmp_path: Path) -> None:
    done = call([sys.executable, "-c", TROUBLE, str(tmp_path)], **head)
    expected = (
        "{'raises': 'exception', 'exits': 'exited', 'crashes': 'crashed', 'hangs': 'timeout', 'fails': 'made_to_fail'}"
    )
    assert f"['a', 'b', 'c'] {expected}" in done.stdout


def test_a_submitted_job_makes_the_dataset_a_local_build_makes(head: dict[str, str], tmp_path: Path) -> None:
    source = write_meshes(tmp_path / "source", count=3)
    words = ["-m", "pipeline", "build", "cpu", "--source", source, *SMALL, *BLOCKS]
    done = submit(head, *words, "--run", tmp_path / "job")
    assert done.returncode == 0, done.stdout + done.stderr
    call([sys.executable, *map(str, words), "--engine", "local", "--run", str(tmp_path / "local")])
    assert len(ids_in_dataset(tmp_path / "job")) == 3
    assert dataset_files(tmp_path / "job") == dataset_files(tmp_path / "local")


def test_a_ray_that_cannot_be_had_is_told_in_one_line(tmp_path: Path) -> None:
    source = write_meshes(tmp_path / "source", count=1)
    words = [sys.executable, "-m", "pipeline", "build", "cpu", "--source", str(source), "--run", str(tmp_path / "run")]
    nobody = f"127.0.0.1:{free_ports(1)[0]}"
    for environment, error in (
        ({"RAY_ADDRESS": nobody}, f"no Ray cluster answers at {nobody} (RAY_ADDRESS): "),
        ({"RAY_ADDRESS": "nowhere"}, "cannot connect to the Ray cluster nowhere: "),
        ({"RAY_TMPDIR": str(tmp_path / "missing")}, "cannot start Ray: "),
    ):
        *plan, last = call(words, code=2, **environment).stderr.splitlines()
        assert last.startswith(f"error: {error}") and not any("rror" in line for line in plan)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("process", "reason"),
    [("/raylet/raylet ", "the Ray node of this process"), ("/gcs/gcs_server ", "the head of the Ray cluster")],
)
def test_a_build_stops_with_a_reason_when_its_ray_has_ended(tmp_path: Path, process: str, reason: str) -> None:
    source = write_meshes(tmp_path / "source", count=12)
    words = [*command("build", "cpu", "--source", source, "--run", tmp_path / "run"), *SMALL, *BLOCKS]
    driver = start([*words, "--fit.steps", "2000"])
    wait_for_files(tmp_path / "run" / "artifacts" / "render", "*.json", 4, driver)
    started = {pid: command_of(pid) for pid in descendants_of(driver.pid)}
    workers = [pid for pid, words in started.items() if "ray::WorkerActor" in words or "running.worker" in words]
    os.kill(next(pid for pid, words in started.items() if process in words), signal.SIGKILL)
    _, error = driver.communicate()
    wait_until(lambda: not any(is_alive(pid) for pid in workers), "all actors and workers have ended")
    assert driver.returncode == 2
    assert f"error: {reason}" in error.decode() and "to resume" in error.decode()


@pytest.mark.slow
def test_the_jobs_exit_code_tells_failure(head: dict[str, str], tmp_path: Path) -> None:
    source = write_meshes(tmp_path / "source", count=1)
    (source / "empty.glb").write_bytes(b"")
    words = ["-m", "pipeline", "build", "cpu", "--source", source, "--only", "ingest", "--run", tmp_path / "run"]
    assert submit(head, *words, "--max-failed", "0").returncode == 1
    assert submit(head, *words, "--max-failed", "1").returncode == 0
    relative = submit(head, *words[:-1], "runs/here")
    assert relative.returncode == 1
    assert "--run runs/here: relative" in relative.stdout + relative.stderr


@pytest.mark.slow
def test_stopping_a_job_keeps_what_is_done(head: dict[str, str], tmp_path: Path) -> None:
    source = write_meshes(tmp_path / "source", count=12)
    words = [
        "-m",
        "pipeline",
        "build",
        "cpu",
        "--source",
        source,
        "--run",
        tmp_path / "run",
        *BLOCKS,
        "--render.size",
        "64",
    ]
    ray_job(
        head, "submit", "--no-wait", "--submission-id", "stopped", "--working-dir", ROOT, "--", sys.executable, *words
    )
    fitted = tmp_path / "run" / "artifacts" / "fit"
    wait_for_files(fitted, "*.ply", 2)
    ray_job(head, "stop", "stopped")
    holder = sorted((tmp_path / "run" / "manifest" / "lease").glob("*-beat.json"))[-1]
    assert '"released": true' in holder.read_text()
    made = {path.name for path in fitted.rglob("*.ply")}
    done = submit(head, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(ids_in_dataset(tmp_path / "run")) == 12
    assert made <= {path.name for path in fitted.rglob("*.ply")}
