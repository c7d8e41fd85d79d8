"""The command `verify`: find damaged and missing files of a run, and set them back so that a build makes them again."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from typing import Any, cast

from rich.table import Table

from manifests.addresses import is_uri
from manifests.lease import Lease
from manifests.listing import mend_listing
from manifests.log import FOLDER as LOG
from manifests.log import Log, read_object
from manifests.records import FAILED, Record, Seen
from pipeline.command_line.called import program
from pipeline.command_line.console import plain_console
from pipeline.planning.damage import MANIFEST, Damage, Findings, find_damage, manifest_damage
from pipeline.planning.run import RECIPE, DamagedRecipe, Run, open_run
from pipeline.planning.tasks import RowTask
from stages.common.progress_bar import progress_bar
from stages.contract.stage import DAMAGED

_SHOWN = 20


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "verify",
        parents=[common],
        help="find damaged files, so that a build makes them again",
        description="Find the damaged and missing files of a run, and set them back: the next build makes them again. "
        "The exit code is 1 if there are any.",
    )
    parser.add_argument("--run", required=True, help="the run folder: a path or a URI")
    parser.add_argument("--deep", action="store_true", help="read every file and compare its checksum")
    parser.add_argument("--dry-run", action="store_true", help="only report; take no lease and change nothing")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace, overrides: dict[str, Any]) -> int:
    try:
        findings = verify(options.run, deep=options.deep, dry_run=options.dry_run)
    except DamagedRecipe as error:
        print(error, file=sys.stderr)
        return 1
    if options.json:
        _print_json(options.run, findings)
    else:
        _print(options.run, findings, options.dry_run)
    return 1 if findings.damages else 0


def verify(root: str, *, deep: bool = False, dry_run: bool = False) -> Findings:
    """Check a run; unless `dry_run`, set back what is damaged, so that the next build makes it again."""
    store = open_run(root).store
    findings = manifest_damage(store)
    if dry_run:
        return _checked(open_run(root), findings, deep)
    lease = Lease.acquire(store)
    try:
        opened = open_run(root)
        findings = _checked(opened, findings, deep)
        lease.check()
        _set_back(opened, lease, findings.damages)
        return findings
    finally:
        lease.release()


def _checked(opened: Run, manifest: Findings, deep: bool) -> Findings:
    with progress_bar("Verifying") as report:
        found = find_damage(opened, deep, report)
    return Findings(manifest.checked + found.checked, manifest.damages + found.damages)


def _set_back(opened: Run, lease: Lease, damages: list[Damage]) -> None:
    """Withdraw damaged outcomes and record that their rows and blocks have to be worked again."""
    store, log = opened.store, Log(opened.store, lease.epoch)
    for damage in damages:
        if damage.key:
            opened.plan.outcomes.withdraw(damage.part, damage.key)
        for record in _records(opened, damage):
            log.add(record)
    log.flush()
    for damage in damages:
        if damage.file.startswith(f"{LOG}/"):
            store.delete(damage.file)  # a build skips it, and finds the outcomes of its records again
    if any(damage.part == MANIFEST and "/rows/" in damage.file for damage in damages):
        mend_listing(store, lease.epoch)


def _records(opened: Run, damage: Damage) -> list[Record]:
    common: dict[str, Any] = {
        "stage": damage.part, "status": FAILED, "reason": DAMAGED, "transient": True, "error": damage.why, "attempts": 0
    }  # fmt: skip
    plan = opened.plan
    if damage.block and plan.blocks and damage.key:
        return [Record(damage.block, key=damage.key, columns=plan.blocks.last_shard(damage.block), **common)]
    items = plan.items([RowTask(damage.part, row) for row in damage.rows]) if damage.rows else []
    seen = _seen(opened, damage.rows) if damage.part == plan.root else {}
    return [Record(item["id"], key=item["failure_key"], seen=seen.get(item["id"], Seen()), **common) for item in items]


def _seen(opened: Run, rows: tuple[int, ...]) -> dict[str, Seen]:
    """By id, what the ingest of these rows saw of their sources."""
    ids = opened.listing.ids.take(list(rows))
    latest = opened.log.latest_of(opened.plan.root, ids, ("seen",))
    seen = latest.records.column("seen").to_pylist()
    return {
        ids[row].as_py(): cast(Seen, read_object(text)) for row, text in zip(latest.rows.tolist(), seen, strict=True)
    }


# -- what is printed -----------------------------------------------------------------------------------------------


def _print_json(root: str, findings: Findings) -> None:
    damaged = [
        {"part": damage.part, "file": damage.file, "missing": damage.missing, "why": damage.why}
        for damage in findings.damages
    ]
    json.dump({"run": root, "checked": findings.checked, "damaged": damaged}, sys.stdout, indent=1, ensure_ascii=False)
    print()


def _print(root: str, findings: Findings, dry_run: bool) -> None:
    console = plain_console()
    damaged = Counter(damage.part for damage in findings.damages if not damage.missing)
    missing = Counter(damage.part for damage in findings.damages if damage.missing)
    table = Table(header_style="bold", pad_edge=False)
    for column in ("part", "checked", "damaged", "missing"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for part in sorted({*findings.checked, *damaged, *missing}, key=[*findings.checked, *damaged, *missing].index):
        table.add_row(part, str(findings.checked[part]), str(damaged[part]), str(missing[part]))
    console.print(table)
    for damage in findings.damages[:_SHOWN]:
        console.print(damage.why if damage.file in damage.why else f"{damage.file}: {damage.why}", soft_wrap=True)
    if len(findings.damages) > _SHOWN:
        console.print(f"and {len(findings.damages) - _SHOWN} more; --json lists all")
    if not findings.damages:
        console.print("No damage was found.")
    elif dry_run:
        console.print("Nothing was changed. Without --dry-run, it is set back, so that the next build makes it again.")
    else:
        recipe = "RECIPE" if is_uri(root) else f"{root}/{RECIPE}"
        console.print(
            f"What is damaged is set back. To make it again, run the build command of this run, or: "
            f"{program()} build {recipe} --run {root}",
            soft_wrap=True,
        )
