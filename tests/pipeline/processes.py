"""Looking at processes through /proc, since a bare machine has no pgrep."""

from __future__ import annotations

from pathlib import Path


def _stat(pid: int) -> list[str]:
    """State, parent and so on; empty where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def is_alive(pid: int) -> bool:
    return _stat(pid)[:1] not in ([], ["Z"])


def workers_of(pid: int) -> list[int]:
    """The worker processes that a driver started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        stat = _stat(int(folder.name))
        try:
            words = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if stat and stat[0] != "Z" and int(stat[1]) == pid and b"pipeline.running.worker" in words:
            found.append(int(folder.name))
    return found
