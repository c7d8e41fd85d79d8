"""Watching processes through /proc, since a bare machine has no pgrep, and waiting for what they do."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_GENEROUS_SECONDS = 600  # so that a test ends where what it waits for never comes; nothing is measured by it


def _stat(pid: int) -> list[str]:
    """State, parent and so on; empty where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def is_alive(pid: int) -> bool:
    return _stat(pid)[:1] not in ([], ["Z"])


def children_of(pid: int) -> list[int]:
    found = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
    return [child for child in found if is_alive(child) and _stat(child)[1:2] == [str(pid)]]


def descendants_of(pid: int) -> list[int]:
    """Children, their children and so on, with those that have ended but were not waited for left out."""
    children = defaultdict(list)
    for folder in Path("/proc").glob("[0-9]*"):
        state, parent, *_ = _stat(int(folder.name)) or ("Z", "0")
        if state != "Z":
            children[int(parent)].append(int(folder.name))
    found, following = [], [pid]
    while following:
        found += (below := children[following.pop()])
        following += below
    return sorted(found)


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose own parent has ended, so that none is lost sight of."""
    set_child_subreaper = 36
    ctypes.CDLL(None).prctl(set_child_subreaper, 1)


def reap_orphans() -> None:
    """Let go of adopted processes that have ended, as init does; for when no process of one's own is under way."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def wait_until(condition: Callable[[], object], what: str, process: subprocess.Popen | None = None) -> None:
    """Wait until something can be observed; `process` is to do it, so it must not end before."""
    deadline = time.monotonic() + _GENEROUS_SECONDS
    while not condition():
        assert process is None or process.poll() is None or condition(), f"the process ended before {what}"
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


def wait_for_files(folder: Path, pattern: str, count: int = 1, process: subprocess.Popen | None = None) -> None:
    wait_until(lambda: len(list(folder.rglob(pattern))) >= count, f"{folder} has {count} of {pattern}", process)
