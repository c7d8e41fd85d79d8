"""The runner's own cost: rows a second through five stages that do nothing, and the driver's memory, by number of rows.

python -m tests.benchmarks.runner [ROWS ...] [--root FOLDER]

The run lies in memory (/dev/shm) where that is there, so that the disk is not what is measured.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline.planning.counting import count_rows
from pipeline.running.placement import Placement
from pipeline.step import Step
from stages.contract.schedule import Schedule
from tests.benchmarks.noop import Five, Four, One, Three, Two
from tests.pipeline.run_steps import run_steps


def resident_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def measure(engine: str, count: int, folder: str | None) -> None:
    placement: Placement
    if engine == "ray":
        from pipeline.running.ray_placement import RayPlacement

        placement = RayPlacement()
    else:
        from pipeline.running.local_placement import LocalPlacement

        placement = LocalPlacement()
    schedule = Schedule(cpus=0.2, batch=256, workers=1)
    rows = [{"id": f"row-{number:07d}", "uri": "/nowhere"} for number in range(count)]
    steps = [Step(stage(), schedule) for stage in (One, Two, Three, Four, Five)]
    before = resident_mb()
    with tempfile.TemporaryDirectory(dir=folder) as root:
        begun = time.perf_counter()
        ran = run_steps(Path(root), rows, steps, placement)
        seconds = time.perf_counter() - begun
        assert count_rows(ran.plan)["five"]["ok"] == count
        begun = time.perf_counter()
        again = run_steps(Path(root), rows, steps)
        assert count_rows(again.plan)["five"]["ok"] == count
        resumed = time.perf_counter() - begun
    print(
        f"{engine:6} {count:8,} rows: {count / seconds:6.0f} rows/s, {seconds:6.1f} s; driver memory "
        f"{before:.0f} -> {resident_mb():.0f} MiB; found done in {resumed:.1f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="*", type=int, default=[1_000, 10_000, 100_000])
    parser.add_argument("--engine", choices=["local", "ray"])
    parser.add_argument("--root", default="/dev/shm" if Path("/dev/shm").is_dir() else None)
    options = parser.parse_args()
    if options.engine:
        measure(options.engine, options.rows[0], options.root)
        return
    for engine in ("local", "ray"):
        for count in options.rows:
            command = [sys.executable, "-m", "tests.benchmarks.runner", str(count), "--engine", engine]
            subprocess.run([*command, *(["--root", options.root] if options.root else [])], check=True)


if __name__ == "__main__":
    main()
