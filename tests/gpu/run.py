"""Run the parts one after the other, the most important first, each within its budget of seconds.

python3 -m tests.gpu.run [first|second|all] [--kit runs/gpu-kit] [--out runs/gpu] [--only PART ...] [--device cpu]

A part that fails, or that is cut because its budget is spent, keeps the figures that it has written, and the next part
begins. All is kept in OUT/results.json and OUT/log.txt while it runs. The same command again runs what is not done yet;
`--anew` runs everything. `--device cpu` is a rehearsal with tiny sizes, which measures nothing.

This file and what it imports need the standard library alone: packages that the machine lacks come with the kit.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from tests.gpu import egl
from tests.gpu.results import show_table

ROOT = Path(__file__).resolve().parents[2]
_POLL_SECONDS = 0.2
_GRACE_SECONDS = 3.0  # that a part is given to end by itself


@dataclass(frozen=True)
class Step:
    part: str  # a file of tests/gpu/parts
    budget: int  # seconds
    script: str  # first: at most nine minutes; second: at most three
    package: str = "tests.gpu.parts"


STEPS = (
    Step("versions", 20, "first"),
    Step("engine_tests", 60, "first"),
    Step("fit_512", 120, "first"),
    Step("fit_512_alone", 60, "first"),
    Step("fit_256", 60, "first"),
    Step("train", 120, "first"),
    Step("models", 60, "first"),
    Step("render", 40, "first"),
    Step("curve", 60, "second"),
    Step("build", 120, "second"),
)


class Results:
    """OUT/results.json: for each part its state, seconds and figures; always whole."""

    def __init__(self, path: Path, anew: bool):
        self.path = path
        self.parts: dict[str, dict[str, Any]] = {}
        if path.exists() and not anew:
            self.parts = json.loads(path.read_text())["parts"]

    def is_done(self, part: str, device: str) -> bool:
        """A rehearsal on a CPU leaves everything to be done on a GPU."""
        found = self.parts.get(part, {})
        return (found.get("state"), found.get("device")) == ("ok", device)

    def put(self, part: str, **found: Any) -> None:
        self.parts.setdefault(part, {}).update(found)
        text = json.dumps({"parts": self.parts}, indent=1)
        scratch = self.path.with_suffix(".part")
        scratch.write_text(text)
        scratch.replace(self.path)


class Runner:
    def __init__(self, options: argparse.Namespace, scratch: Path, log: TextIO):
        self.device, self.kit, self.scratch, self.log = options.device, options.kit.absolute(), scratch, log
        self.patience = options.patience
        self.results = Results(options.out / "results.json", options.anew)
        paths = [str(self._unpacked()), str(ROOT), os.environ.get("PYTHONPATH", "")]
        self.environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "PYTHONUNBUFFERED": "1",
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
        }
        if self.device == "cpu":
            self.environment["OMP_NUM_THREADS"] = "1"  # tiny tensors: a second thread only waits
        detail, more = egl.prepare(self.kit / "egl", scratch / "egl")
        self.environment |= more
        self.say(detail)

    def say(self, text: str) -> None:
        print(text, flush=True)
        print(text, file=self.log, flush=True)

    def _unpacked(self) -> Path:
        """The packages that the kit brings, in a folder of their own; none where there is no such archive."""
        site, archive = self.scratch / "site", self.kit / "site.tar.xz"
        site.mkdir()
        if archive.exists():
            with tarfile.open(archive) as packed:
                packed.extractall(site, filter="data")
        return site

    def run(self, step: Step) -> bool:
        """Run a part; return whether it ended well and within its budget."""
        budget = step.budget * self.patience
        self.say(f"-- {step.part} (at most {budget:.0f} s)")
        own = self.scratch / step.part
        own.mkdir()
        figures = own / "figures.json"
        words = ["--device", self.device, "--kit", self.kit, "--scratch", own, "--figures", figures]
        command = [sys.executable, "-m", f"{step.package}.{step.part}", *map(str, words)]
        self.results.put(step.part, state="running", budget=budget, device=self.device, figures={})
        begun = time.monotonic()
        with (own / "log.txt").open("w") as output:
            process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
            try:
                code = self._wait(process, step.part, begun + budget, figures)
            finally:
                _end(process)  # and all that it has started
        state = "cut" if code is None else "failed" if code else "ok"
        self._take_figures(step.part, figures)
        printed = (own / "log.txt").read_text(errors="replace")
        print(printed, file=self.log, flush=True)
        seconds = round(time.monotonic() - begun, 1)
        last = "" if state == "ok" else " ".join(printed.split("\n")[-3:])[-300:].strip()
        self.results.put(step.part, state=state, seconds=seconds, error=last)
        self.say(f"   {state} after {seconds} s{': ' if last else ''}{last}")
        shutil.rmtree(own, ignore_errors=True)  # checkpoints of some GB
        return state == "ok"

    def _wait(self, process: subprocess.Popen, part: str, deadline: float, figures: Path) -> int | None:
        """The exit code; None where the deadline comes first."""
        known = 0.0
        while time.monotonic() < deadline:
            try:
                return process.wait(_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                changed = figures.stat().st_mtime if figures.exists() else 0.0
                if changed != known:
                    known = changed
                    self._take_figures(part, figures)
        return None

    def _take_figures(self, part: str, figures: Path) -> None:
        if figures.exists():
            self.results.put(part, figures=json.loads(figures.read_text()))


def _end(process: subprocess.Popen) -> None:
    """End a part and its children: asked first, then killed."""
    for number, patience in ((signal.SIGTERM, _GRACE_SECONDS), (signal.SIGKILL, None)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("script", nargs="?", choices=("first", "second", "all"), default="all")
    parser.add_argument("--kit", type=Path, default=Path("runs/gpu-kit"), help="the folder that make gpu-kit made")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="where results.json and log.txt are kept")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a rehearsal with tiny sizes")
    parser.add_argument("--only", nargs="+", choices=[step.part for step in STEPS], default=[], metavar="PART")
    parser.add_argument("--patience", type=float, default=1.0, help="multiplies every budget, for a slow machine")
    parser.add_argument("--anew", action="store_true", help="run again what is done already")
    options = parser.parse_args()
    if not (options.kit / "kit.json").exists():
        parser.error(f"--kit {options.kit}: no kit.json there: run make gpu-kit, here or on another machine")
    options.out.mkdir(parents=True, exist_ok=True)
    chosen = [step for step in STEPS if options.script in (step.script, "all")]
    chosen = [step for step in chosen if not options.only or step.part in options.only]
    with tempfile.TemporaryDirectory() as scratch, (options.out / "log.txt").open("a") as log:
        runner = Runner(options, Path(scratch), log)
        left = [step for step in chosen if options.anew or not runner.results.is_done(step.part, options.device)]
        if len(left) < len(chosen):
            runner.say(f"{len(chosen) - len(left)} parts are done already; --anew runs them again")
        good = [runner.run(step) for step in left]
    print(show_table(runner.results.parts))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
