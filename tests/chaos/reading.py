"""Reading a run as users see it: its status, the ids in its shards, the failures in its log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from manifests.log import FOLDER
from tests.pipeline.building import call, command, index


def read_status(run: Path) -> dict[str, Any]:
    return json.loads(call(command("status", "--run", run, "--failed", "--json")).stdout)


def failed_rows(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Stage and reason of every failed row, by id."""
    return {row["id"]: (row["stage"], row["reason"]) for row in status["failed"]}


def read_ids(run: Path) -> list[str]:
    """The ids of all rows in all shards, in order; one that is there twice is in the list twice."""
    shards = [run / "dataset" / shard["shard"] for shard in index(run)["shards"]]
    return sorted(name for shard in shards for name in pq.read_table(shard, columns=["id"]).column("id").to_pylist())


def read_failures(run: Path) -> list[dict[str, Any]]:
    """All failures that the log holds, also those of rows that succeeded later. Damaged parts are left out."""
    found = []
    for part in sorted((run / FOLDER).rglob("*.parquet")):
        try:
            records = pq.read_table(part, columns=["id", "stage", "status", "reason", "error"])
        except (OSError, ValueError):
            continue
        found += [record for record in records.to_pylist() if record["status"] != "ok"]
    return found
