"""The supervisor of one worker process: starts it, sends it batches, has it watched, and finds why it ended.

It runs in a thread of the driver (`--engine local`) or in a Ray actor (`--engine ray`). With both, a crash, a hang or
too much memory fails one row, with the true cause.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

from manifests.lease import pid_space
from pipeline.running.environment import without_secrets
from pipeline.running.messages import (
    CRASHED,
    EXITED,
    OPEN_FAILED,
    BatchEnd,
    Message,
    Opened,
    Opening,
    WorkerDied,
    WorkerSpec,
)
from pipeline.running.watch import Watch, kill
from stages.contract.stage import Row

_ROOT = str(Path(__file__).resolve().parents[2])
_STOP_SECONDS = 5.0

logger = logging.getLogger(__name__)


def _new_scratch() -> Path:
    """Make a scratch folder for one worker, and remove those of processes that have ended.

    Its name begins with the id of this process. The folder above it is for this machine and container alone: others may
    share the disk, and there the same id is another process.
    """
    space = hashlib.sha256(pid_space().encode()).hexdigest()[:12]
    ours = Path(tempfile.gettempdir()) / f"gs-triplets-{os.getuid()}-{space}"
    ours.mkdir(mode=0o700, exist_ok=True)
    for folder in ours.iterdir():
        if not Path(f"/proc/{folder.name.partition('-')[0]}").exists():
            shutil.rmtree(folder, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=ours))


@dataclass(frozen=True)
class _Worker:
    """A process that was started, the connection to it, and what watches it."""

    process: subprocess.Popen[bytes]
    connection: Connection
    watch: Watch

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None


class Supervisor:
    def __init__(self, spec: WorkerSpec, environment: Mapping[str, str] | None = None):
        self.spec = spec
        self._environment = dict(environment or {})  # added to the environment of this process
        self._worker: _Worker | None = None
        self._rows_worked = 0
        self._scratch = _new_scratch()
        self._output: IO[bytes] = tempfile.TemporaryFile()  # what the worker prints; the end of it explains a crash

    def run(self, rows: list[Row]) -> Iterator[Message]:
        """Yield the results of a batch as they come, then BatchEnd or, if the worker has ended, WorkerDied.

        Where a worker is started for it, Opening and Opened come first.
        """
        try:
            if self._worker is not None and self._worker.ended:  # between batches: no row is to blame
                self._forget(self._worker)
            worker = self._worker
            if worker is None:
                yield Opening()
                opened = self._open()
                if isinstance(opened, WorkerDied):
                    yield opened
                    return
                worker = opened
                yield Opened()
            yield from self._run(worker, rows)
        except Exception as error:
            yield self._give_up(error)

    def _open(self) -> _Worker | WorkerDied:
        """Start a worker. If it ends before it can work, for whatever reason, no row is to blame: OPEN_FAILED."""
        try:
            worker = self._start()
        except Exception as error:
            worker = self._give_up(error)
        return WorkerDied(OPEN_FAILED, worker.detail) if isinstance(worker, WorkerDied) else worker

    def _give_up(self, error: Exception) -> WorkerDied:
        """End the batch after an exception, such as no process could be started or /tmp is full."""
        self.kill()
        return WorkerDied(EXITED, f"cannot run a worker process: {type(error).__name__}: {error}")

    def _run(self, worker: _Worker, rows: list[Row]) -> Iterator[Message]:
        yield from self._exchange(worker, rows, self.spec.timeout_seconds, "without a result")
        self._rows_worked += len(rows)
        if self._worker is not None and self._rows_worked >= self.spec.renew_rows:
            self.stop()

    def _start(self) -> _Worker | WorkerDied:
        ours, theirs = socket.socketpair()
        path = os.pathsep.join([_ROOT, *[entry for entry in sys.path if entry]])
        threads = str(self.spec.threads)
        spec = self.spec
        schemes = [spec.run.partition("://")[0] if "://" in spec.run else "", *spec.source_schemes]
        environment = {
            **without_secrets(os.environ, schemes, spec.stage.secrets),
            "PYTHONPATH": path,
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "NUMBA_NUM_THREADS": threads,
            **self.spec.stage.environment,
            **self._environment,
        }
        shutil.rmtree(self._scratch, ignore_errors=True)  # files of an earlier worker
        self._scratch.mkdir()
        self._rows_worked = 0
        self._output.seek(0)
        self._output.truncate()
        process = subprocess.Popen(  # -P: the working folder may have packages of these names
            [sys.executable, "-P", "-m", "pipeline.running.worker", str(theirs.fileno()), str(self._scratch)],
            pass_fds=[theirs.fileno()],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            process_group=0,
        )
        theirs.close()
        connection = Connection(os.dup(ours.fileno()))
        worker = self._worker = _Worker(process, connection, Watch(process, ours, self._output, self.spec.memory_gb))
        for message in self._exchange(worker, self.spec, self.spec.open_timeout_seconds, "while opening"):
            if isinstance(message, WorkerDied):
                return message
        return worker

    def _exchange(
        self, worker: _Worker, sent: WorkerSpec | list[Row], timeout_seconds: float, when: str
    ) -> Iterator[Message]:
        """Send the spec or a batch, and yield the messages of the worker until it has finished or ended."""
        try:
            worker.watch.expect_message(timeout_seconds, when)
            worker.connection.send(sent)
            while True:
                worker.watch.expect_message(timeout_seconds, when)
                message = worker.connection.recv()
                worker.watch.expect_nothing()
                if isinstance(message, WorkerDied):
                    self.kill()
                yield message
                if isinstance(message, (WorkerDied, BatchEnd)):
                    return
        except (EOFError, OSError):
            yield self._reap(worker)

    def _reap(self, worker: _Worker) -> WorkerDied:
        """Wait for the ended process, and return why it ended."""
        code = self._end(worker, _STOP_SECONDS)
        if worker.watch.died is not None:
            return worker.watch.died
        if code is None:
            return WorkerDied(EXITED, "closed its connection and did not end; worker killed")
        if code < 0:
            return WorkerDied(CRASHED, f"killed by {signal.Signals(-code).name}{self._last_output()}")
        return WorkerDied(EXITED, f"exited with code {code}{self._last_output()}")

    def _last_output(self) -> str:
        self._output.seek(max(0, self._output.seek(0, os.SEEK_END) - 4000))
        lines = [line.strip() for line in self._output.read().decode(errors="replace").splitlines() if line.strip()]
        last = lines[-1] if lines else ""
        for line, following in itertools.pairwise(lines):
            if line.startswith("Current thread"):  # from faulthandler, the innermost frame first
                last = following
        return f": {last[:300]}" if last else ""

    def _end(self, worker: _Worker, patience_seconds: float) -> int | None:
        """Wait for a worker to end, and kill it if it does not; return its exit code, None if it was killed here."""
        code = None
        try:
            code = worker.process.wait(patience_seconds)
        except subprocess.TimeoutExpired:
            kill(worker.process)
            try:
                worker.process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:  # it hangs in a system call, such as on a disk that does not answer
                logger.warning("worker process %d does not end though it was killed; it is left", worker.process.pid)
        self._forget(worker)
        return code

    def _forget(self, worker: _Worker) -> None:
        worker.connection.close()
        self._worker = None

    def stop(self) -> None:
        """Ask the worker to end; kill it if it does not soon."""
        worker = self._worker
        if worker is not None:
            worker.watch.expect_message(_STOP_SECONDS, "while it was stopped")  # it may not take what is sent
            with contextlib.suppress(OSError):  # it has ended
                worker.connection.send(None)
            self._end(worker, _STOP_SECONDS)

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def interrupt(self) -> None:
        """Kill the worker from another thread. The thread that receives its messages then finds that it has ended."""
        worker = self._worker
        if worker is not None:
            kill(worker.process)

    def kill(self) -> None:
        if self._worker is not None:
            self._end(self._worker, 0.0)
