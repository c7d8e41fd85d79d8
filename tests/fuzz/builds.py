"""Real builds of hostile meshes: ingest, render, fit and pack in worker processes, through the command line."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from manifests.log import LogReader
from manifests.records import OK
from manifests.store import open_store
from tests.fuzz.cases import Case
from tests.fuzz.findings import FORBIDDEN, Finding, Results, faults_of_text
from tests.stages.meshes import cube_gltf

ROOT = Path(__file__).resolve().parents[2]
MEMORY_GB = 2.0
_TOLERANCE = 1.25  # of the memory limit, for what is taken between two looks
_SECONDS_PER_ROW = 60.0
_CONTROL = "control"  # a good mesh in every build, which must come through
_STAGES = ("ingest", "render", "fit")
# a batch whose worker died is halved until its row is found: small ones spare time-outs
_SCHEDULE = {"memory_gb": MEMORY_GB, "timeout_seconds": _SECONDS_PER_ROW, "workers": 1, "batch": 4}
LIMITS = {"max_faces": 200_000, "max_vertices": 200_000, "max_texture_pixels": 1 << 24, "max_nodes": 10_000}
RECIPE = {
    "ingest": {"max_bytes": 256 << 20},
    "render": {"views": 2, "size": 32, **LIMITS},
    "fit": {"engine": "cpu", "gaussians": 64, "steps": 1},
    "caption": None,
    "align": None,
    "splits": {"rows_per_shard": 64},
    "schedule": {
        "ingest": _SCHEDULE,
        "render": _SCHEDULE,
        "fit": {**_SCHEDULE, "timeout_seconds": 600},  # its code is compiled when it is first used
    },  # fmt: skip
}


@dataclass(frozen=True)
class _Ended:
    """How a build ended."""

    code: int
    output: str
    peak_bytes: int  # of its largest process
    left: list[str]  # processes and files


def run(cases: list[Case], seed: int, folder: Path) -> Results:
    """Build these cases. Where a fault belongs to no row, build halves of them, down to the case at fault."""
    results, faults = _build(cases, seed, folder)
    if faults and len(cases) > 1:
        half = len(cases) // 2
        parts = [run(part, seed, folder) for part in (cases[:half], cases[half:])]
        found = [finding for part in parts for finding in part.findings if finding not in results.findings]
        results.findings += found
        faults = [] if found else faults
    name = cases[0].name if len(cases) == 1 else f"{len(cases)} cases from {cases[0].name}"
    results.findings += [Finding(name, fault) for fault in faults]
    return results


def _build(cases: list[Case], seed: int, folder: Path) -> tuple[Results, list[str]]:
    """The results of one build, and the faults that no row explains."""
    shutil.rmtree(folder, ignore_errors=True)
    rows = [{"id": case.name, "uri": str(case.write(folder / "meshes", seed))} for case in cases]
    (folder / "meshes" / "control.glb").write_bytes(cube_gltf().glb())
    rows.append({"id": _CONTROL, "uri": str(folder / "meshes" / "control.glb")})
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    ended = _ended(folder, len(cases))
    records = {stage: _records(folder / "run", stage) for stage in _STAGES}
    results = Results(peak_bytes=ended.peak_bytes)
    for case in cases:
        _note(case, {stage: records[stage].get(case.name) for stage in _STAGES}, results)
    faults = [*_lost(records, [row["id"] for row in rows]), *_wrong_dataset(folder / "run", records["fit"])]
    if ended.code:
        faults.append(f"the build ended with {ended.code}: {ended.output[-600:]}")
    if ended.peak_bytes > MEMORY_GB * 2**30 * _TOLERANCE:
        faults.append(f"a worker took {ended.peak_bytes / 2**30:.2f} GiB with a limit of {MEMORY_GB:g}")
    return results, faults + [f"left behind: {name}" for name in ended.left]


def _note(case: Case, records: dict[str, dict[str, Any] | None], results: Results) -> None:
    """Count a case by where it ended, and check the texts that it left."""
    outcome = "lost"
    for stage, record in records.items():
        if record is None:
            break
        reason = record["reason"]
        outcome = "ok" if record["status"] == OK else f"{stage}: {reason}"
        results.findings += faults_of_text(case.name, record["error"], f"the detail of {stage}")
        for warning in json.loads(record["columns"] or "{}").get("warnings") or []:
            results.findings += faults_of_text(case.name, warning, f"a warning of {stage}")
        if reason in FORBIDDEN:
            results.findings.append(Finding(case.name, f"{stage}: {reason}", record["error"]))
    results.note(case, outcome, sum(record["seconds"] for record in records.values() if record))


def _records(run: Path, stage: str) -> dict[str, dict[str, Any]]:
    return {record["id"]: record for record in LogReader(open_store(run)).latest(stage).to_pylist()}


def _lost(records: dict[str, dict[str, dict[str, Any]]], ids: list[str]) -> Iterator[str]:
    """Rows without an outcome at ingest; contents of which not exactly one row went on; a control that failed."""
    missing = [name for name in ids if name not in records["ingest"]]
    if missing:
        yield f"{len(missing)} rows have no outcome at ingest, such as {missing[0]}"
    before = records["ingest"]
    for stage in _STAGES[1:]:
        same = defaultdict(list)
        for name, record in before.items():
            if record["status"] == OK:
                same[record["content"] or name].append(name)
        for names in same.values():
            worked = [name for name in names if name in records[stage]]
            if len(worked) != 1:
                yield f"{len(worked)} rows with the content of {names[0]} have an outcome at {stage}"
        before = records[stage]
    if not all(records[stage].get(_CONTROL, {}).get("status") == OK for stage in _STAGES):
        yield "a good mesh beside them failed"


def _wrong_dataset(run: Path, fitted: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Rows that are in the dataset and should not be, or the reverse, or twice."""
    index = run / "dataset" / "index.json"
    shards = json.loads(index.read_text())["shards"] if index.exists() else []
    paths = [run / "dataset" / shard["shard"] for shard in shards]
    packed = [name for path in paths for name in pq.read_table(path, columns=["id"]).column("id").to_pylist()]
    expected = {name for name, record in fitted.items() if record["status"] == OK}
    if len(packed) != len(set(packed)) or set(packed) != expected:
        yield f"the dataset has {len(packed)} rows, expected {len(expected)}"


def _ended(folder: Path, count: int) -> _Ended:
    """Run the command, with its own folder for temporary files and a program in place of Ghostscript that tells."""
    scratch, programs, started = folder / "tmp", folder / "bin", folder / "started"
    for path in (scratch, programs):
        path.mkdir()
    (programs / "gs").write_text(f'#!/bin/sh\necho "$0 $@" >> {started}\n')
    (programs / "gs").chmod(0o755)
    environment = {
        **os.environ, "TMPDIR": str(scratch), "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    words = ["build", str(folder / "recipe.yaml"), "--source", str(folder / "rows.jsonl"), "--run", str(folder / "run")]
    with open(folder / "output.txt", "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *words, "--engine", "local"],
            cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
        try:
            code, peak = _wait(process, 120 + 10.0 * count)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    left = [f"process {name}" for name in _session(process.pid)]
    left += [f"file {path.relative_to(scratch)}" for path in scratch.rglob("*") if not path.is_dir()]
    left += [
        f"a program was started: {line}" for line in (started.read_text().splitlines() if started.exists() else ())
    ]
    return _Ended(code, (folder / "output.txt").read_text(errors="replace"), peak, left)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _wait(process: subprocess.Popen[bytes], seconds: float) -> tuple[int, int]:
    """The exit code, and the most memory that the process or one of its children took, in bytes."""
    end = time.monotonic() + seconds
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage.ru_maxrss * 1024
        if time.monotonic() > end:
            os.killpg(process.pid, signal.SIGKILL)
            end = float("inf")
        time.sleep(0.1)


def _session(session: int) -> list[str]:
    """The processes of a session that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                name, _, fields = (entry / "stat").read_text().rpartition(")")
                if int(fields.split()[3]) == session:
                    found.append(name.partition("(")[2])
    return found
