"""Fold a log of 6,000,000 records of 1,000,000 rows, as a driver does when it resumes: seconds and peak memory.

python -m tests.benchmarks.manifest [ROWS]
"""

from __future__ import annotations

import hashlib
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
import pyarrow as pa

from manifests.log import STATE_COLUMNS, LogReader, Part, _encode
from manifests.records import SCHEMA
from manifests.store import open_store

STAGES = ("ingest", "render", "fit", "caption", "align")
PER_PART = 50_000


def write_log(root: str, rows: int) -> int:
    """Every row ok at five stages, in a random order, and every row once more at render: a setting was changed."""
    store = open_store(root)
    random = np.random.default_rng(0)
    ids = [f"objaverse/{number:07d}.glb" for number in range(rows)]
    keys = [hashlib.blake2b(name.encode(), digest_size=16).hexdigest() for name in ids]
    sequence = 0
    for stage in (*STAGES, "render"):
        order = random.permutation(rows)
        for start in range(0, rows, PER_PART):
            part = order[start : start + PER_PART].tolist()
            sequence += 1
            name = Part(1, sequence, stage).name
            store.replace(name, _encode(make_table(ids, keys, part, stage)))
    return sequence


def make_table(ids: list[str], keys: list[str], part: list[int], stage: str) -> pa.Table:
    count = len(part)
    columns = {
        "id": [ids[index] for index in part],
        "key": [keys[index] for index in part],
        "status": ["failed" if index % 50 == 0 else "ok" for index in part],
        "reason": ["corrupt_file" if index % 50 == 0 else "" for index in part],
        "transient": [False] * count,
        "error": ["the header claims more than the file holds" if index % 50 == 0 else "" for index in part],
        "attempts": [1] * count,
        "seconds": [0.5] * count,
        "worker": ["local-1"] * count,
        "columns": ['{"views": "artifacts/render/ab/abcdef.zip", "view_count": 24, "warnings": []}'] * count,
        "seen": ['{"uri": "/data/a.glb", "files": [["/data/a.glb", 1000, 1]]}' if stage == "ingest" else ""] * count,
        "content": [keys[index] if stage == "ingest" else "" for index in part],
    }
    return pa.table([pa.array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)


def fold(root: str, rows: int) -> None:
    """In a process of its own, whose memory is the fold's alone."""
    begun = time.perf_counter()
    ids = pa.array([f"objaverse/{number:07d}.glb" for number in range(rows)])
    log = LogReader(open_store(root))
    counted = 0
    for stage in STAGES:
        extra = ("seen", "content") if stage == "ingest" else ()
        counted += len(log.latest_of(stage, ids, STATE_COLUMNS + extra).rows)
    assert counted == len(STAGES) * rows
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{rows:,} rows, {6 * rows:,} records: folded in {seconds:.1f} s, peak memory {peak:.2f} GiB")


def main() -> None:
    if len(sys.argv) == 4:
        fold(sys.argv[2], int(sys.argv[3]))
        return
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as root:
        parts = write_log(root, rows)
        print(f"wrote {parts} parts")
        subprocess.run([sys.executable, "-m", "tests.benchmarks.manifest", "fold", root, str(rows)], check=True)


if __name__ == "__main__":
    main()
