"""The fuzz campaign. `python -m tests.fuzz --help`"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from tests.fuzz import builds, decoders
from tests.fuzz.cases import GENERATORS, MESHES, Case, chosen
from tests.fuzz.findings import Finding, Results

_BATCH = 1000  # cases of one build
_PARTS = ("builds", "decoders")


def main() -> int:
    options = _arguments()
    folder = Path(options.out or tempfile.mkdtemp(prefix="fuzz-")).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    begun, parts = time.monotonic(), {}
    if "builds" in options.parts:
        parts["builds"] = _builds(options, folder)
    if "decoders" in options.parts:
        parts["decoders"] = decoders.run(_to_decode(options), options.seed)
    for name, results in parts.items():
        print(f"\n{name}: {results.peak_bytes / 2**30:.2f} GiB at most\n{results.table()}")
    findings = [finding for results in parts.values() for finding in results.findings]
    _show(findings, options.seed)
    report = {"seed": options.seed, "seconds": round(time.monotonic() - begun)}
    report |= {name: results.as_json() for name, results in parts.items()}
    (folder / "results.json").write_text(json.dumps(report, indent=1))
    print(f"\n{len(findings)} findings in {report['seconds']} s; {folder / 'results.json'}")
    _keep(findings, options, folder)
    return 1 if findings else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fuzz", description="Hostile meshes through builds and decoders.")
    parser.add_argument("--count", type=int, default=10_000, help="meshes to build; twice as many are decoded")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--formats", default="", help=f"of {', '.join(GENERATORS)}; all by default")
    parser.add_argument("--parts", default=",".join(_PARTS), help=f"of {', '.join(_PARTS)}; both by default")
    parser.add_argument("--case", default="", metavar="NAME", help="write and run only this case")
    parser.add_argument("--out", default="", metavar="FOLDER", help="for results, and files of cases with findings")
    parser.add_argument("--keep", action="store_true", help="keep the last build")
    options = parser.parse_args()
    options.formats = tuple(filter(None, options.formats.split(",")))
    options.parts = options.parts.split(",")
    return options


def _builds(options: argparse.Namespace, folder: Path) -> Results:
    results, cases = Results(), _to_build(options)
    for start in range(0, len(cases), _BATCH):
        results.add(builds.run(cases[start : start + _BATCH], options.seed, folder / "build"))
        done = min(start + _BATCH, len(cases))
        print(f"{done:,} of {len(cases):,} meshes built, {len(results.findings)} findings", file=sys.stderr, flush=True)
    return results


def _to_build(options: argparse.Namespace) -> list[Case]:
    if options.case:
        return [case] if (case := Case.parse(options.case)).format in MESHES else []
    formats = tuple(form for form in options.formats or MESHES if form in MESHES)
    return chosen(options.count, formats) if formats else []


def _to_decode(options: argparse.Namespace) -> list[Case]:
    if options.case:
        return [Case.parse(options.case)]
    return chosen(2 * options.count, options.formats or tuple(GENERATORS))


def _show(findings: list[Finding], seed: int) -> None:
    """Print one finding of each kind, and the names of the others."""
    kinds = defaultdict(list)
    for finding in findings:
        kinds[finding.what, re.sub(r"[0-9]+", "N", finding.detail)[:80]].append(finding)
    for (what, _), same in kinds.items():
        print(f"\n{what}: {same[0].detail}\n    python -m tests.fuzz --seed {seed} --case {shlex.quote(same[0].name)}")
        if len(same) > 1:
            print(f"    and {len(same) - 1} others, such as {', '.join(other.name for other in same[1:6])}")


def _keep(findings: list[Finding], options: argparse.Namespace, folder: Path) -> None:
    """Keep the files of the cases with findings."""
    for name in {finding.name for finding in findings} | {options.case} - {""}:
        try:
            Case.parse(name).write(folder / "cases", options.seed)
        except ValueError:  # a finding of a whole build
            continue
    if not options.keep:
        shutil.rmtree(folder / "build", ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
