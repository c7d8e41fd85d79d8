"""Disturb builds in every way that is known, and compare what they make: python -m tests.chaos --seed 0."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.campaign import BuildResult, Campaign, Machine, PlannedBuild, draw, possible_harms
from tests.chaos.harms import HARMS
from tests.chaos.namespace import NAMESPACE, namespaces_allowed
from tests.pipeline.building import ROOT
from tests.pipeline.processes import adopt_orphans


def main() -> int:
    options = _options()
    if os.getpid() != 1 and namespaces_allowed():  # as init does: it adopts all orphans, and they end with it
        os.execvp("unshare", [*NAMESPACE, sys.executable, "-m", "tests.chaos", *sys.argv[1:]])
    adopt_orphans()
    folder = Path(tempfile.mkdtemp(prefix="chaos", dir="/tmp"))  # Ray's sockets need a short path
    machine = Machine.look(folder)
    engines = ["ray", "local"] if options.engine == "both" else [options.engine]
    possible = possible_harms(machine, options.kinds)
    plan = draw(options.seed, options.builds, options.harms, engines, possible, options.demos)
    _print_plan(plan, options.seed)
    for name, harm in HARMS.items():
        if harm.needs not in machine.offers:
            print(f"left out: {name}, since this machine has no {harm.needs} for it")
    campaign = Campaign(folder, options.seed, options.objects)
    again = shlex.join(["python", "-m", "tests.chaos", *sys.argv[1:]])
    results = []
    for planned in plan:
        if options.build in (0, planned.number):
            results.append(campaign.run(planned))
            _print_result(results[-1])
    _print_table(results)
    options.out.mkdir(parents=True, exist_ok=True)
    report = {"seed": options.seed, "command": again, "builds": [asdict(result) for result in results]}
    (options.out / "chaos.json").write_text(json.dumps(report, indent=1) + "\n")
    failed = [result for result in results if result.problems]
    if not failed:
        campaign.remove()
    for result in failed:
        print(f"build {result.number} is kept in {folder}/{result.number:02d}; again: {again} --build {result.number}")
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the harms and their moments are drawn from it")
    parser.add_argument("--builds", type=int, default=12)
    parser.add_argument("--harms", type=int, default=60, help="of all builds together")
    parser.add_argument("--engine", choices=("local", "ray", "both"), default="both")
    parser.add_argument("--objects", type=int, default=6, help="meshes of a build")
    parser.add_argument("--demos", type=int, default=1, help="how many builds run all stages, with models")
    parser.add_argument("--kinds", default="", help="only harms whose names match this regular expression")
    parser.add_argument("--build", type=int, default=0, help="run this one alone")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "chaos", help="folder for chaos.json")
    return parser.parse_args()


def _print_plan(plan: list[PlannedBuild], seed: int) -> None:
    harms = sum(len(planned.harms) for planned in plan)
    print(f"seed {seed}: {harms} harms over {len(plan)} builds, each given after so many outcomes more:")
    for planned in plan:
        drawn = ", ".join(f"{each.harm} ({each.after})" for each in planned.harms)
        print(f"  {planned.number:2} {planned.recipe} on {planned.engine}: {drawn}", flush=True)


def _print_result(result: BuildResult) -> None:
    print(f"build {result.number} ({result.recipe} on {result.engine}), {result.seconds:.0f} s:")
    for given in result.given:
        print(f"  {given.harm}: {given.what}" + "".join(f"; {end}" for end in given.ends))
    if result.failures:
        tries = ", ".join(f"{count} {reason}" for reason, count in sorted(result.failures.items()))
        print(f"  failures in the log: {tries}")
    print("  " + ("\n  ".join(result.problems) or "the same dataset, byte for byte"), flush=True)


def _print_table(results: list[BuildResult]) -> None:
    given = [each for result in results for each in result.given]
    counts = Counter(each.harm for each in given)
    ended = Counter(each.harm for each in given if any(end != "exit code 0" for end in each.ends))
    table = Table("harm", "given", "driver went on", "ended, resumed")
    for name in HARMS:
        if counts[name]:
            table.add_row(name, *map(str, (counts[name], counts[name] - ended[name], ended[name])))
    table.add_row("all", *map(str, (len(given), len(given) - ended.total(), ended.total())), style="bold")
    Console().print(table)
    differing = sum(bool(result.problems) for result in results)
    print(f"{len(results)} builds, {len(results) - differing} the same as undisturbed, {differing} not")


if __name__ == "__main__":
    sys.exit(main())
