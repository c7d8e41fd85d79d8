"""Watch a worker process from outside, and kill it at its memory limit or deadline, whatever it is doing."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import signal
import socket
import subprocess
import threading
import time
from typing import IO

from pipeline.running.messages import OUT_OF_MEMORY, TIMEOUT, WorkerDied

_SECONDS = 0.05  # between two looks; a process may touch some 100 MB in this time
_OUTPUT_BYTES = 64 << 20  # of what the worker prints; its beginning is then dropped
_CHILDREN_EVERY = 20  # looks; to find the children takes longer


class Watch:
    """A thread beside the one that receives the worker's messages, since that one may be waiting for half a message.

    `died` says why the watch has killed the process, if it has. The worker's socket is shut when the process has ended
    or was killed, so that nobody waits for it: a child of the worker may hold the other end, and a process that hangs
    in a system call does not end at once.
    """

    def __init__(self, process: subprocess.Popen[bytes], connected: socket.socket, output: IO[bytes], memory_gb: float):
        self.died: WorkerDied | None = None
        self._process = process
        self._socket = connected
        self._output = output.fileno()
        self._memory_gb = memory_gb
        self._deadline, self._overdue = math.inf, ""
        threading.Thread(target=self._run, name=f"watch-{process.pid}", daemon=True).start()

    def expect_message(self, seconds: float, when: str) -> None:
        """Set the deadline for the next message."""
        self._overdue = f"timed out after {seconds:g} s {when}; worker killed"
        self._deadline = time.monotonic() + seconds

    def expect_nothing(self) -> None:
        self._deadline = math.inf

    def _run(self) -> None:
        with self._socket:
            for look in itertools.count():
                if self._process.poll() is not None:
                    break
                self.died = self._fault(with_children=look % _CHILDREN_EVERY == 0)
                if self.died is not None:
                    kill(self._process)
                    break
                self._limit_output()
                time.sleep(_SECONDS)
            self._socket.shutdown(socket.SHUT_RDWR)  # what has been sent can still be received

    def _fault(self, with_children: bool) -> WorkerDied | None:
        if memory_of(self._process.pid, with_children) > self._memory_gb * 2**30:
            return WorkerDied(
                OUT_OF_MEMORY, f"used more than {self._memory_gb:g} GiB of memory (memory_gb); worker ended"
            )
        return WorkerDied(TIMEOUT, self._overdue) if time.monotonic() > self._deadline else None

    def _limit_output(self) -> None:
        if os.fstat(self._output).st_size > _OUTPUT_BYTES:
            os.ftruncate(self._output, 0)
            os.lseek(self._output, 0, os.SEEK_SET)  # the worker writes at the same position


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its children, which are in its process group."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            os.killpg(process.pid, signal.SIGKILL)


def memory_of(pid: int, with_children: bool = False) -> int:
    """Bytes of memory and swap that a process uses; of its children only what they do not share with files."""
    names = (b"VmRSS:", b"VmSwap:")
    used = _memory(pid, *names)
    if with_children:
        used += sum(_memory(child, b"RssAnon:", b"VmSwap:") for child in _descendants(pid))
    return used


def _memory(pid: int, *names: bytes) -> int:
    """The sum of these lines of /proc/PID/status, in bytes; 0 for a process that has ended."""
    lines = _read(f"/proc/{pid}/status").splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(names))


def _descendants(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    children = [int(child) for thread in threads for child in _read(f"/proc/{pid}/task/{thread}/children").split()]
    return [*children, *(each for child in children for each in _descendants(child))]


def _read(name: str) -> bytes:
    """A file of /proc; empty if its process or thread has ended."""
    try:
        with open(name, "rb") as file:
            return file.read()
    except OSError:
        return b""
