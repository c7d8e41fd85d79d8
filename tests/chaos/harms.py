"""The harms: what each does to a build under way. A harm returns what it did, in a few words."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.chaos.damage import damage_file
from tests.chaos.disturbed import DisturbedBuild, NoTarget
from tests.chaos.driver import Failure, send
from tests.chaos.namespace import NAMESPACE
from tests.pipeline.processes import is_alive

_DAY = 86_400
_JUMPS = {"an hour": 3600, "a day": _DAY, "60 years": 60 * 365 * _DAY}
_NAMES = {"worker": "a worker", "actor": "an actor", "raylet": "the raylet", "gcs": "the GCS"}
_BEYOND_PATIENCE_SECONDS = 18.0  # longer than a lease's


@dataclass(frozen=True)
class Harm:
    give: Callable[[DisturbedBuild], str]
    engines: tuple[str, ...] = ("local", "ray")
    needs: str = ""  # what this machine must offer: a small "disk", a "clock", "namespaces"


# -- processes ---------------------------------------------------------------------------------------------------------


def _kill(kind: str, build: DisturbedBuild) -> str:
    pid = build.pick(kind)
    send(pid, signal.SIGKILL)
    return f"SIGKILL to {_NAMES[kind]}"


def _kill_all_workers(build: DisturbedBuild) -> str:
    build.pick("worker")
    found = build.processes("worker")
    for pid in found:
        send(pid, signal.SIGKILL)
    return f"SIGKILL to {len(found)} workers"


def _pause(kind: str, build: DisturbedBuild) -> str:
    pid, seconds = build.pick(kind), build.drawn.uniform(0.5, 6)
    send(pid, signal.SIGSTOP)
    build.hold(seconds)
    send(pid, signal.SIGCONT)
    return f"{_NAMES[kind]} stopped for {seconds:.1f} s"


def _freeze_worker(build: DisturbedBuild) -> str:
    """Stop a worker for good: the build must notice by itself that nothing comes."""
    pid = build.pick("worker")
    send(pid, signal.SIGSTOP)
    try:
        build.wait(lambda: not is_alive(pid), "the end of a worker that does not answer")
    finally:
        send(pid, signal.SIGCONT)
    return "a worker stopped for good"


def _signal_driver(number: signal.Signals, build: DisturbedBuild) -> str:
    driver = build.running()
    driver.killed = number == signal.SIGKILL
    send(driver.pid, number)
    driver.process.wait()
    return f"{number.name} to the driver"


def _pause_driver(seconds: float, build: DisturbedBuild) -> str:
    driver = build.running()
    send(driver.pid, signal.SIGSTOP)
    build.hold(seconds)
    send(driver.pid, signal.SIGCONT)
    return f"the driver stopped for {seconds:g} s"


def _cut_power(build: DisturbedBuild) -> str:
    """Kill everything at once, and leave the newest files half written, as a power cut does."""
    build.running().kill()
    for pid in build.processes():
        send(pid, signal.SIGKILL)
    written = [path for path in (build.run / "artifacts").rglob("*") if path.is_file()]
    newest = sorted(written, key=lambda path: path.stat().st_mtime_ns)[-build.drawn.randint(1, 4) :]
    for path in newest:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    build.damaged = True
    return f"SIGKILL to all processes; {len(newest)} newest files cut"


# -- drivers -----------------------------------------------------------------------------------------------------------


def _start_second_driver(build: DisturbedBuild) -> str:
    """A second driver on the same machine must be refused as long as the first lives."""
    first = build.running()
    send(first.pid, signal.SIGSTOP)  # so that it does not end before the second has looked
    try:
        second = build.start("local")
        ended = second.end()
    finally:
        send(first.pid, signal.SIGCONT)
    if ended.code != 2 or "another build is at work" not in ended.error:
        raise Failure(f"a second driver was not refused: {ended}")
    return "a second driver, refused"


def _take_over(build: DisturbedBuild) -> str:
    """All of a build stops; a driver of another machine takes over; the first wakes while that is at work."""
    first = build.running()
    stopped = [first.pid, *build.processes()]
    for pid in stopped:
        send(pid, signal.SIGSTOP)
    build.count_from_now()
    before = set(build.scratch.folder.glob("gs-triplets-*"))
    build.driver = build.start("local", *NAMESPACE)
    try:
        with suppress(NoTarget):
            build.wait_for_outcomes(2)
    finally:
        alone, written = build.driver.has_ended, _written(build.run)
        for pid in stopped:
            send(pid, signal.SIGCONT)
    ended = first.end()
    had_ended = alone and written == _written(build.run)  # it was stopped after its last write
    if ended.code != 2 and not had_ended:
        raise Failure(f"a driver that was taken for dead went on: {ended}")
    if build.drawn.random() < 0.5:
        build.finish()
        return "all stopped, another took over and finished, the first woke and gave up"
    build.driver.kill()
    build.take_end()
    for folder in set(build.scratch.folder.glob("gs-triplets-*")) - before:  # they go with that machine
        shutil.rmtree(folder)
    return "all stopped, another took over, the first woke and gave up, the other was killed"


def _written(run: Path) -> dict[Path, int]:
    """When each file was written that a driver writes, but for its heartbeat."""
    found = [path for name in ("dataset", "manifest/log") for path in (run / name).rglob("*") if path.is_file()]
    return {path: path.stat().st_mtime_ns for path in found}


# -- files, disks, clocks ----------------------------------------------------------------------------------------------


def _damage(kind: str, build: DisturbedBuild) -> str:
    done: list[str] = []

    def try_it() -> bool:
        found = damage_file(build.run, kind, build.drawn)
        done.extend([found] if found else [])
        return bool(found)

    build.wait(try_it, f"a file of the kind {kind}")
    build.damaged = True
    return done[0]


def _damage_finished(kind: str, build: DisturbedBuild) -> str:
    """Damage files after the build, when nothing but `verify` looks at them."""
    if build.finish().code == 2:
        raise NoTarget("the end of the build")
    done = [damage_file(build.run, kind, build.drawn) for _ in range(3)]
    build.damaged = True
    return f"after the build: {'; '.join(filter(None, done))}"


def _lose_work(build: DisturbedBuild) -> str:
    build.wait(lambda: (build.run / "artifacts").is_dir(), "artifacts")
    build.running().kill()
    build.take_end()
    return build.lose_work()


def _fill_disk(which: str, build: DisturbedBuild) -> str:
    disk = build.disk if which == "disk" else build.scratch
    spare, seconds = build.drawn.choice([0, 5_000, 100_000]), build.drawn.uniform(1, 8)
    build.running()
    disk.fill(spare)
    build.hold(seconds)
    disk.free()
    return f"the {which} full but for {spare} bytes for {seconds:.1f} s"


def _delete_scratch(build: DisturbedBuild) -> str:
    build.pick("worker")
    for folder in build.scratch.folder.glob("gs-triplets-*"):
        shutil.rmtree(folder, ignore_errors=True)
    return "scratch folders deleted"


def _jump(build: DisturbedBuild) -> str:
    assert build.clock
    build.running()
    named = build.drawn.choice(sorted(_JUMPS))
    sign = build.drawn.choice([1, -1])
    build.clock.jump(sign * _JUMPS[named])
    return f"the clock jumped {named} {'ahead' if sign > 0 else 'back'}"


_FILES = ("artifact", "outcome", "log", "lease", "listing", "dataset")
HARMS: dict[str, Harm] = {
    "worker killed": Harm(partial(_kill, "worker")),
    "all workers killed": Harm(_kill_all_workers),
    "worker stopped, continued": Harm(partial(_pause, "worker")),
    "worker stopped for good": Harm(_freeze_worker),
    "driver killed": Harm(partial(_signal_driver, signal.SIGKILL)),
    "driver terminated": Harm(partial(_signal_driver, signal.SIGTERM)),
    "driver interrupted": Harm(partial(_signal_driver, signal.SIGINT)),
    "driver stopped, continued": Harm(partial(_pause_driver, 3.0)),
    "driver stopped beyond its lease": Harm(partial(_pause_driver, _BEYOND_PATIENCE_SECONDS)),
    "power cut": Harm(_cut_power),
    "second driver": Harm(_start_second_driver),
    "taken over by another machine": Harm(_take_over, needs="namespaces"),
    "actor killed": Harm(partial(_kill, "actor"), engines=("ray",)),
    "actor stopped, continued": Harm(partial(_pause, "actor"), engines=("ray",)),
    "raylet killed": Harm(
        partial(_kill, "raylet"), engines=("ray",), needs="namespaces"
    ),  # Ray's orphans look for init
    "raylet stopped, continued": Harm(partial(_pause, "raylet"), engines=("ray",)),
    "GCS killed": Harm(partial(_kill, "gcs"), engines=("ray",), needs="namespaces"),
    "GCS stopped, continued": Harm(partial(_pause, "gcs"), engines=("ray",)),
    "disk full": Harm(partial(_fill_disk, "disk"), needs="disk"),
    "scratch full": Harm(partial(_fill_disk, "scratch"), needs="disk"),
    "scratch deleted": Harm(_delete_scratch),
    "clock jumped": Harm(_jump, engines=("local",), needs="clock"),  # Ray waits by the system's own clock
    "log and half the stages deleted": Harm(_lose_work),
    **{f"{kind} damaged": Harm(partial(_damage, kind)) for kind in _FILES},
    **{f"{kind} damaged after the build": Harm(partial(_damage_finished, kind)) for kind in _FILES},
}
