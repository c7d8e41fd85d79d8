"""The lease of a run: only the driver (the process of a build or of `clean`) that holds it may write to the run.

Each lease has an epoch, a number that grows by one with every driver. The holder renews its lease with a heartbeat. A
driver whose heartbeat stops loses the run to the next one, and what it writes after that does not count.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from manifests.forms import check_form
from manifests.log import list_parts
from manifests.store import Store

FOLDER = "manifest/lease"
BEAT_SECONDS = 3.0
PATIENCE_SECONDS = 15.0  # a holder without a heartbeat for this long is taken for dead


class RunBusy(Exception):
    """Another driver holds the lease of this run."""


class LeaseLost(Exception):
    """A later driver has taken over this run."""


def _name(epoch: int) -> str:
    return f"{FOLDER}/{epoch:08d}.json"


def _beat_name(epoch: int) -> str:
    return f"{FOLDER}/{epoch:08d}-beat.json"


class Claim(TypedDict):
    """The file of a lease. Earlier versions wrote less."""

    host: str
    pid: int
    place: NotRequired[str]
    process: NotRequired[str]


class Beat(TypedDict):
    """The file of a lease's heartbeat."""

    count: int
    time: Annotated[float, Field(gt=-1e11, lt=1e11)]  # below 0 where a clock says before 1970
    released: bool
    bounds: NotRequired[dict[Annotated[str, Field(pattern=r"^\d{1,18}$")], int]]  # by epoch
    status: NotRequired[dict[str, Any]]


def _read(store: Store, name: str, form: Any) -> dict[str, Any]:
    """The content of a file; empty if there is no such file, or if it is damaged."""
    try:
        content = json.loads(store.read(name))
        check_form(form, content)
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return content


def damaged_files(store: Store) -> list[str]:
    """The files of the newest lease that are missing or damaged."""
    epoch = newest_epoch(store)
    forms = {_name(epoch): Claim, _beat_name(epoch): Beat} if epoch else {}
    return [name for name, form in forms.items() if not _read(store, name, form)]


def _epochs(store: Store) -> list[int]:
    found = (re.search(r"/(\d{8,18})\.json$", name) for name in store.list(FOLDER))
    return sorted(int(match[1]) for match in found if match)


def newest_epoch(store: Store) -> int:
    return max(_epochs(store), default=0)


def pid_space() -> str:
    """An identifier of this boot of this machine and of this container: process ids are unique within it."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return f"{file.read().strip()} {os.stat('/proc/self/ns/pid').st_ino}"


def _process_start(pid: int) -> str:
    """The start time of a process, which tells it from a later one with the same id; "" if there is none."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[19]
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return ""


@dataclass(frozen=True)
class Holder:
    """The driver that holds a run, and its last heartbeat."""

    epoch: int
    host: str = ""
    pid: int = 0
    place: str = ""
    process: str = ""
    beat: dict[str, Any] = field(default_factory=dict)

    @property
    def here(self) -> bool:
        return self.place == pid_space()

    @property
    def gone(self) -> bool:
        """Whether the holder is known to have ended. Of one on another host only the heartbeat tells."""
        if self.epoch == 0 or self.beat.get("released"):
            return True
        return self.here and _process_start(self.pid) != self.process

    @property
    def at_work(self) -> bool:
        return not self.gone and time.time() - self.beat.get("time", 0) < PATIENCE_SECONDS


def find_holder(store: Store) -> Holder:
    epoch = newest_epoch(store)
    if epoch == 0:
        return Holder(0)
    claim = _read(store, _name(epoch), Claim)
    fields = {name: claim[name] for name in ("host", "pid", "place", "process") if name in claim}
    return Holder(epoch, **fields, beat=_read(store, _beat_name(epoch), Beat))


def read_bounds(store: Store) -> dict[int, int]:
    """By epoch, for all but the newest: the sequence number of the last part of the log that counts."""
    for epoch in reversed(_epochs(store)):
        bounds = _read(store, _beat_name(epoch), Beat).get("bounds")
        if bounds is not None:
            return {int(key): value for key, value in bounds.items()}
    return {}


class Lease:
    """The right to write to a run, held from `acquire` to `release`. A thread sends the heartbeat."""

    def __init__(self, store: Store, epoch: int):
        self.store = store
        self.epoch = epoch
        self.bounds = self._bound_earlier_epochs()
        self.status: dict[str, Any] = {}  # what `status` shows while the build runs
        self._count = 0
        self._stop = threading.Event()
        self._beat()
        self._thread = threading.Thread(target=self._beat_until_stopped, name="lease", daemon=True)
        self._thread.start()

    @classmethod
    def acquire(cls, store: Store, wait_seconds: float = PATIENCE_SECONDS) -> Lease:
        """Take the lease: at once if its last holder has ended, else after `wait_seconds` without its heartbeat."""
        _probe(store)
        while True:
            holder = find_holder(store)
            if not holder.gone:
                _wait_until_silent(store, holder, wait_seconds)
            claim = {
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "place": pid_space(),
                "process": _process_start(os.getpid()),
            }
            if store.create(_name(holder.epoch + 1), json.dumps(claim).encode()):
                return cls(store, holder.epoch + 1)

    def _bound_earlier_epochs(self) -> dict[int, int]:
        bounds = read_bounds(self.store)
        last: dict[int, int] = {}
        for part in list_parts(self.store):
            last[part.epoch] = max(part.sequence, last.get(part.epoch, 0))
        for epoch in {*_epochs(self.store), *last}:
            if epoch < self.epoch:
                bounds.setdefault(epoch, last.get(epoch, 0))
        return bounds

    def _beat(self, released: bool = False) -> None:
        self._count += 1
        beat = {
            "count": self._count,
            "time": time.time(),
            "released": released,
            "bounds": self.bounds,
            "status": self.status,
        }
        self.store.replace(_beat_name(self.epoch), json.dumps(beat).encode())

    def _beat_until_stopped(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            try:
                self._beat()
            except OSError:
                continue  # a full disk or a lost connection: the next heartbeat may succeed

    def check(self) -> None:
        """Raise LeaseLost if a later driver has taken over. Call this before writing anything that others read."""
        if self.store.exists(_name(self.epoch + 1)):
            raise LeaseLost(
                f"{self.store.root}: this build sent no heartbeat, was taken for dead, and another build has taken over"
            )

    def release(self) -> None:
        self._stop.set()
        self._thread.join()
        self._beat(released=True)


def _probe(store: Store) -> None:
    """Raise OSError if `create` replaces an existing file in this store: no lease would be safe there."""
    name = f"{FOLDER}/probe-{uuid.uuid4().hex}"
    try:
        if not store.create(name, b"1") or store.create(name, b"2"):
            raise OSError(
                f"{store.root}: this store cannot create a file only if there is none, as a run needs; use another"
            )
    finally:
        store.delete(name)


def _wait_until_silent(store: Store, holder: Holder, wait_seconds: float) -> None:
    """Return after `wait_seconds` without a heartbeat; raise RunBusy at the first heartbeat."""
    busy = RunBusy(
        f"{store.root}: another build is at work on this run (host {holder.host}, process {holder.pid}); "
        "wait for it to end, or stop it, then run the same command again"
    )
    if holder.here:
        raise busy
    deadline = time.monotonic() + wait_seconds
    while time.monotonic() < deadline:
        time.sleep(min(1.0, wait_seconds))
        if find_holder(store).beat.get("count") != holder.beat.get("count"):
            raise busy
