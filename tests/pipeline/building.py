"""Builds with the real stages on small meshes, through the command line.

`build` and `status` run it in this process, which spares them seconds of imports each; `call` in one of its own, as
users do.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.__main__ import main
from pipeline.recipe import KINDS
from stages.corpus.corpus import Corpus

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--render.size", "48", "--render.views", "6", "--fit.steps", "20", "--fit.gaussians", "200"]
# Most of the time of so small a build is that of starting workers.
ONE_WORKER = [word for stage in KINDS for word in (f"--schedule.{stage}.workers", "1")]
SMALL += ONE_WORKER
BLOCKS = ["--splits.rows_per_shard", "3"]


def write_meshes(folder: Path, count: int = 5, seed: int = 1) -> Path:
    """Some demo objects as plain files, without the corpus's list."""
    corpus = Corpus(count=count, seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        row, data = corpus.make(number)
        (folder / Path(row["uri"]).name).write_bytes(data)
    return folder


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "pipeline", *map(str, words)]


def build_words(source: Path | str, run: Path | str, *more: str) -> list[str]:
    return ["build", "cpu", "--source", str(source), "--run", str(run), "--engine", "local", *SMALL, *BLOCKS, *more]


def build_command(source: Path | str, run: Path | str, *more: str) -> list[str]:
    return command(*build_words(source, run, *more))


def call(words: list[str], code: int | None = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        words, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=600
    )
    if code is not None:
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def start(words: list[str], **environment: str) -> subprocess.Popen[bytes]:
    """Start a command that the test is to disturb."""
    quiet, environment = subprocess.DEVNULL, {**os.environ, **environment}
    return subprocess.Popen(words, cwd=ROOT, env=environment, stdout=quiet, stderr=subprocess.PIPE)


@dataclass(frozen=True)
class Said:
    stdout: str
    stderr: str


def say(*words: str | Path, code: int = 0) -> Said:
    """Run a command in this process. What it logs, other than what it prints, is for `caplog`."""
    out, error = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(error):
        ended = main([str(word) for word in words])
    assert ended == code, f"{ended}\n{out.getvalue()}\n{error.getvalue()}"
    return Said(out.getvalue(), error.getvalue())


def build(source: Path, run: Path | str, *more: str, code: int = 0) -> Said:
    return say(*build_words(source, run, *more), code=code)


def status(run: Path | str) -> dict[str, Any]:
    return json.loads(say("status", "--run", run, "--failed", "--json").stdout)


def reasons(run: Path | str) -> dict[str, str]:
    return {row["id"]: row["reason"] for row in status(run)["failed"]}


def dataset_files(run: Path) -> dict[str, bytes]:
    folder = run / "dataset"
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def index(run: Path) -> dict[str, Any]:
    return json.loads((run / "dataset" / "index.json").read_text())


def ids_in_dataset(run: Path) -> set[str]:
    import pyarrow.parquet as pq

    shards = [run / "dataset" / shard["shard"] for shard in index(run)["shards"]]
    return {name for shard in shards for name in pq.read_table(shard, columns=["id"]).column("id").to_pylist()}
