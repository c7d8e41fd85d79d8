"""A build under way: its driver, its processes and its files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.chaos.clock import Clock
from tests.chaos.disk import Disk
from tests.chaos.driver import Driver, Ended, Failure, send
from tests.chaos.undisturbed import Recipe
from tests.pipeline.building import ROOT, command
from tests.pipeline.processes import command_of, descendants_of, reap_orphans

_STALL_SECONDS = 240.0  # without an outcome: the build hangs
# How long processes may outlive their driver. Those of a Ray without head or raylet look for it for a minute or two.
_END_SECONDS = {"local": 30.0, "ray": 180.0}
_POLL_SECONDS = 0.1
_DISK_MEGABYTES = 64
_KINDS = {  # kinds of processes, by what their command line has
    "worker": "pipeline.running.worker",
    "actor": "ray::WorkerActor",
    "raylet": "/raylet/raylet ",
    "gcs": "/gcs/gcs_server ",
}


class NoTarget(Exception):
    """The driver ended before there was anything to harm."""


@dataclass
class Given:
    """A harm that was given, what it did, and how drivers ended after it."""

    harm: str
    what: str = ""
    ends: list[str] = field(default_factory=list)


@dataclass
class DisturbedBuild:
    recipe: Recipe
    engine: str
    folder: Path  # for what drivers print
    disk: Disk  # has the run
    scratch: Disk
    clock: Clock | None
    drawn: Random
    driver: Driver | None = None
    given: list[Given] = field(default_factory=list)
    damaged: bool = False
    _seen: set[tuple[str, int]] = field(default_factory=set)
    _active_at: float = 0.0

    @classmethod
    def make(cls, recipe: Recipe, engine: str, folder: Path, drawn: Random) -> DisturbedBuild:
        """A build in a folder of its own, on small disks where this machine allows them."""
        disk, scratch = (Disk.mount(folder / name, _DISK_MEGABYTES) for name in ("disk", "tmp"))
        clock = Clock.make(folder) if engine == "local" else None
        return cls(recipe, engine, folder, disk, scratch, clock, drawn)

    def unmount(self) -> None:
        self.disk.unmount()
        self.scratch.unmount()

    @property
    def run(self) -> Path:
        return self.disk.folder / "run"

    # -- the driver ----------------------------------------------------------------------------------------------

    def start(self, engine: str, *before: str) -> Driver:
        """Start a driver, perhaps through another command."""
        outside = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        environment = outside | {"TMPDIR": str(self.scratch.folder)} | (self.clock.environment if self.clock else {})
        return Driver.start([*before, *self.recipe.command(self.run, engine)], environment, self.folder)

    def running(self) -> Driver:
        """The driver; a new one if there is none."""
        if self.driver is None:
            self.driver = self.start(self.engine)
            self._active_at = time.monotonic()
        return self.driver

    def take_end(self) -> Ended:
        """Wait for the driver's end, and for that of all its processes."""
        ended = self.running().end()
        self.driver = None
        if self.given:
            self.given[-1].ends.append(str(ended))
        self.await_ends("worker", "actor")
        return ended

    def await_ends(self, *kinds: str) -> None:
        """Wait until there are no processes of these kinds any more; without kinds, none at all."""
        seconds = _END_SECONDS[self.engine]
        deadline = time.monotonic() + seconds
        while left := [pid for kind in kinds or ("",) for pid in self.processes(kind)]:
            if time.monotonic() > deadline:
                named = ", ".join(f"{pid} {command_of(pid)[:80].strip()}" for pid in left)
                raise Failure(f"processes outlive their driver by {seconds:g} s: {named}")
            time.sleep(_POLL_SECONDS)

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Wait for something that comes with a driver's work; NoTarget if it ends before."""
        driver, before = self.running(), 0
        self._active_at = time.monotonic()
        while not condition():
            if driver.has_ended:
                raise NoTarget(what)
            if (now := self.new_outcomes()) != before:
                before, self._active_at = now, time.monotonic()
            if time.monotonic() - self._active_at > _STALL_SECONDS:
                raise Failure(f"the build hangs: no outcome for {_STALL_SECONDS:g} s; waited for {what}")
            time.sleep(_POLL_SECONDS)

    def wait_for_outcomes(self, count: int) -> None:
        """Wait until so many outcomes were made since the last harm."""
        self.wait(lambda: self.new_outcomes() >= count, f"{count} outcomes")

    def finish(self) -> Ended:
        """Let the driver work until it ends by itself."""
        with suppress(NoTarget):
            self.wait(lambda: False, "its end")
        return self.take_end()

    def hold(self, seconds: float) -> None:
        """Leave a harm in place for a while, or until the driver has ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self.running().has_ended:
            time.sleep(_POLL_SECONDS)

    # -- what can be observed ------------------------------------------------------------------------------------

    def processes(self, kind: str = "") -> list[int]:
        """The processes of the build but for the driver, orphans too: all, or those of a kind."""
        own = self.driver.pid if self.driver else 0
        found = [pid for pid in descendants_of(os.getpid()) if pid != own]
        return [pid for pid in found if not kind or _KINDS[kind] in command_of(pid)]

    def pick(self, kind: str) -> int:
        """A process of this kind, once there is one."""
        self.wait(lambda: self.processes(kind), f"a process of the kind {kind}")
        if not (found := self.processes(kind)):
            raise NoTarget(kind)
        return self.drawn.choice(found)

    def new_outcomes(self) -> int:
        """How many outcomes were made since the last harm."""
        return len(self._outcomes() - self._seen)

    def count_from_now(self) -> None:
        self._seen = self._outcomes()

    def _outcomes(self) -> set[tuple[str, int]]:
        found = set()
        for parent, _, names in os.walk(self.run / "artifacts"):
            for name in names:
                if name.endswith(".json"):
                    path = os.path.join(parent, name)
                    with suppress(FileNotFoundError):
                        found.add((path, os.stat(path).st_ino))
        return found

    # -- what is done to it between drivers ----------------------------------------------------------------------

    def lose_work(self) -> str:
        """Lose the log and all that half of the stages made, so that there is work again."""
        stages = sorted(path.name for path in (self.run / "artifacts").iterdir())
        lost = self.drawn.sample(stages, len(stages) // 2 + 1)
        for stage in lost:
            shutil.rmtree(self.run / "artifacts" / stage)
        shutil.rmtree(self.run / "manifest" / "log", ignore_errors=True)
        return f"deleted manifest/log and artifacts of {', '.join(lost)}"

    def verify(self) -> list[str]:
        """Look for damage and set it back; return the files that are damaged or missing."""
        words = command("verify", "--run", self.run, "--deep", "--json")
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode not in (0, 1) or "Traceback" in done.stderr:
            raise Failure(f"verify: exit code {done.returncode}: {done.stderr.strip()[-300:]}")
        if not done.stdout:  # the recipe is damaged, so that nothing else can be looked at
            return [done.stderr.strip()]
        return [damage["file"] for damage in json.loads(done.stdout)["damaged"]]

    def reclaim_scratch(self) -> None:
        """Do as the next worker does, which removes the scratch of workers that have ended."""
        script = "from pipeline.running.supervisor import _new_scratch; _new_scratch().rmdir()"
        environment = os.environ | {"TMPDIR": str(self.scratch.folder)}
        subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, check=True)

    def settle(self) -> None:
        """Wait until nothing of the build is left. Idle processes of Ray that outlive a killed raylet are ended."""
        if self.engine == "ray":
            self.await_ends("worker", "actor")
            self.end_all()
        self.await_ends()
        reap_orphans()

    def end_all(self) -> None:
        """End what is left."""
        for pid in self.processes():
            send(pid, signal.SIGKILL)
        if self.driver:
            self.driver.kill()
            self.driver.process.wait()
