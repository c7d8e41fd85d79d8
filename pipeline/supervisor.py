"""A supervisor keeps one worker process: starts it, feeds it, kills it when it hangs, and says what it died of.

The same supervisor stands in a thread of the driver (`--engine local`) and in a Ray actor (`--engine ray`), so a
crash, a hang or a memory hog costs a row and has its true cause in both.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

from manifests.lease import pid_space
from pipeline.messages import CRASHED, EXITED, OPEN_FAILED, OUT_OF_MEMORY, TIMEOUT, BatchEnd, Died, Message, Post
from pipeline.worker import OUT_OF_MEMORY_EXIT
from stages.stage import Row

_ROOT = str(Path(__file__).resolve().parent.parent)


def _new_scratch() -> Path:
    """A folder for one worker, named by this process, so that those of processes long dead can be cleared away.

    It stands among those of this machine and container alone: with others, which may share the place, a process number
    means another process.
    """
    space = hashlib.sha256(pid_space().encode()).hexdigest()[:12]
    ours = Path(tempfile.gettempdir()) / f"gs-triplets-{os.getuid()}-{space}"
    ours.mkdir(mode=0o700, exist_ok=True)
    for folder in ours.iterdir():
        if not Path(f"/proc/{folder.name.partition('-')[0]}").exists():
            shutil.rmtree(folder, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=ours))


class Supervisor:
    def __init__(self, post: Post, environment: Mapping[str, str] | None = None):
        self.post = post
        self._environment = dict(environment or {})  # over this process's own
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._rows_worked = 0
        self._scratch = _new_scratch()
        self._words = tempfile.TemporaryFile()  # what the worker prints; its end explains a crash

    def run(self, rows: list[Row]) -> Iterator[Message]:
        """The batch's results as they come, ended by BatchEnd or, where the worker is lost, by Died."""
        died = None if self._process else self._open()
        if died:
            yield died
            return
        try:
            yield from self._run(rows)
        except Exception as error:
            yield self._give_up(error)

    def _open(self) -> Died | None:
        """Start a worker. Whatever it dies of before it can work, no row is to blame."""
        try:
            died = self._start()
        except Exception as error:
            died = self._give_up(error)
        return Died(OPEN_FAILED, died.detail) if died else None

    def _give_up(self, error: Exception) -> Died:
        """No process to be had, a full /tmp: whatever it is, the batch must have an end."""
        self.kill()
        return Died(EXITED, f"no worker could be kept: {type(error).__name__}: {error}")

    def _run(self, rows: list[Row]) -> Iterator[Message]:
        try:
            self._connection.send(rows)
        except BrokenPipeError:
            yield self._bury()
            return
        yield from self._listen(self.post.timeout_seconds, "no outcome")
        self._rows_worked += len(rows)
        if self._process is not None and self._rows_worked >= self.post.renew_rows:
            self.stop()

    def _start(self) -> Died | None:
        ours, theirs = socket.socketpair()
        path = os.pathsep.join([_ROOT, *[entry for entry in sys.path if entry]])
        threads = str(self.post.threads)
        environment = {
            **os.environ,
            "PYTHONPATH": path,
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "NUMBA_NUM_THREADS": threads,
            **self.post.stage.environment,
            **self._environment,
        }
        shutil.rmtree(self._scratch, ignore_errors=True)  # what a worker before this one left
        self._scratch.mkdir()
        self._rows_worked = 0
        self._words.seek(0)
        self._words.truncate()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.worker", str(theirs.fileno()), str(self._scratch)],
            pass_fds=[theirs.fileno()],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._words,
            stderr=self._words,
        )
        theirs.close()
        self._connection = Connection(ours.detach())
        self._connection.send(self.post)
        for message in self._listen(self.post.open_timeout_seconds, "not open"):
            if isinstance(message, Died):
                return message
        return None

    def _listen(self, patience_seconds: float, lacking: str) -> Iterator[Message]:
        while True:
            if not self._connection.poll(patience_seconds):
                self.kill()
                yield Died(TIMEOUT, f"{lacking} in {patience_seconds:g} seconds: killed")
                return
            try:
                message = self._connection.recv()
            except (EOFError, ConnectionResetError):
                yield self._bury()
                return
            if isinstance(message, Died):
                self.kill()
            yield message
            if isinstance(message, (Died, BatchEnd)):
                return

    def _bury(self) -> Died:
        """Say what the worker died of."""
        code = self._process.wait()
        self._forget()
        if code == OUT_OF_MEMORY_EXIT:
            return Died(OUT_OF_MEMORY, f"took more than {self.post.memory_gb:g} GiB of memory: ended")
        if code < 0:
            return Died(CRASHED, f"killed by {signal.Signals(-code).name}{self._last_words()}")
        return Died(EXITED, f"exited with code {code}{self._last_words()}")

    def _last_words(self) -> str:
        self._words.seek(max(0, self._words.seek(0, os.SEEK_END) - 4000))
        lines = [line.strip() for line in self._words.read().decode(errors="replace").splitlines() if line.strip()]
        said = lines[-1] if lines else ""
        for line, following in itertools.pairwise(lines):
            if line.startswith("Current thread"):  # from faulthandler, the innermost frame first
                said = following
        return f": {said[:300]}" if said else ""

    def _forget(self) -> None:
        self._connection.close()
        self._process = self._connection = None

    def stop(self) -> None:
        """Let the worker end by itself."""
        if self._process is None:
            return
        try:
            self._connection.send(None)
            self._process.wait(timeout=5)
        except (subprocess.TimeoutExpired, OSError):
            self._process.kill()
            self._process.wait()
        self._forget()

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def interrupt(self) -> None:
        """End the worker from another thread; the one that listens to it will find it dead."""
        process = self._process
        if process is not None:
            process.kill()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._forget()
