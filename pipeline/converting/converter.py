"""Convert files with Blender, each in a process of its own that is watched from outside."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import IO

from manifests.text import message, messages
from pipeline.converting.in_blender import NO_BLENDER, NO_MESH, UNREADABLE, WARNING
from pipeline.running.environment import without_secrets
from pipeline.running.messages import CRASHED, EXITED, OUT_OF_MEMORY, TIMEOUT
from pipeline.running.watch import Watch, kill

_SCRIPT = Path(__file__).with_name("in_blender.py")
_KEPT = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE")  # variables that the process inherits
_END_SECONDS = 5.0
_READ = 1 << 20  # bytes at the end of what the process printed that are looked at


class ConversionError(Exception):
    """A file was not converted."""

    def __init__(self, reason: str, detail: str):
        self.reason, self.detail = reason, message(detail)
        super().__init__(f"{reason}: {self.detail}")


class NoBlender(Exception):
    """The Python that was named cannot import bpy: no file can be converted."""


class Stopped(Exception):
    """The command was stopped before the file was converted."""


class Converter:
    """Converts files, also several at once in threads. `stop` ends those that are being converted, and later ones."""

    def __init__(self, python: str, timeout_seconds: float, memory_gb: float):
        self._python, self._timeout, self._memory_gb = python, timeout_seconds, memory_gb
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.RLock()  # a signal handler may call `stop` at any time
        self._stopped = False

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in self._running:
                kill(process)

    def convert(self, source: Path, out: Path) -> list[str]:
        """Write a GLB file, which appears whole; return warnings. Raise ConversionError if the file cannot be."""
        with (
            tempfile.TemporaryDirectory(prefix="gs-triplets-", ignore_cleanup_errors=True) as scratch,
            tempfile.TemporaryFile() as output,
        ):
            made = Path(scratch) / "made.glb"
            watch, code = self._run(source.absolute(), made, output)
            lines = _lines(output)
            if problem := self._problem(watch, code, lines[-1] if lines else ""):
                raise problem
            if not made.is_file() or made.read_bytes()[:4] != b"glTF":
                raise ConversionError(EXITED, "the process ended without a GLB file")
            _publish(made, out)
        return messages([line.removeprefix(WARNING) for line in lines if line.startswith(WARNING)])

    def _run(self, source: Path, made: Path, output: IO[bytes]) -> tuple[Watch, int | None]:
        ours, theirs = socket.socketpair()
        with theirs:
            with self._lock:
                if self._stopped:
                    raise Stopped
                process = subprocess.Popen(
                    [self._python, "-I", str(_SCRIPT), str(source), str(made)],
                    cwd=made.parent,
                    env=_environment(made.parent),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    process_group=0,
                )
                self._running.add(process)
            watch = Watch(process, ours, output, self._memory_gb)
            watch.expect_message(self._timeout, "")
            theirs.recv(1)  # the watch closes its end when the process has ended or was killed
        code = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(_END_SECONDS)
        with self._lock:
            self._running.discard(process)
            if self._stopped:
                raise Stopped
        return watch, code

    def _problem(self, watch: Watch, code: int | None, last: str) -> Exception | None:
        """Why the process has not converted its file, if it has not."""
        said = f": {last}" if last else ""
        if watch.died is not None:
            limits = {
                OUT_OF_MEMORY: f"used more than {self._memory_gb:g} GiB of memory (--memory-gb)",
                TIMEOUT: f"took more than {self._timeout:g} s (--timeout)",
            }
            return ConversionError(watch.died.reason, limits[watch.died.reason])
        if code == 0:
            return None
        if code == NO_BLENDER:
            return NoBlender(message(f"{self._python}: bpy cannot be imported{said}"))
        if code in (UNREADABLE, NO_MESH):
            return ConversionError("unreadable" if code == UNREADABLE else "no_mesh", last)
        if code is not None and code < 0:
            return ConversionError(CRASHED, f"killed by {signal.Signals(-code).name}{said}")
        return ConversionError(EXITED, f"exited with code {code}{said}")


def _environment(scratch: Path) -> dict[str, str]:
    """The few variables that Blender needs. Its settings, and those of the desktop, are looked for in `scratch`."""
    homes = ("HOME", "TMPDIR", "BLENDER_USER_RESOURCES", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")
    kept = {name: value for name, value in without_secrets(os.environ).items() if name in _KEPT}
    return kept | dict.fromkeys(homes, str(scratch))


def _lines(output: IO[bytes]) -> list[str]:
    """What the process printed at last, without empty lines."""
    output.seek(max(0, output.seek(0, os.SEEK_END) - _READ))
    lines = (message(line) for line in output.read().decode(errors="replace").splitlines())
    return [line for line in lines if line]


def _publish(made: Path, out: Path) -> None:
    """Move a finished file to its place, perhaps on another disk, where it appears whole."""
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{os.getpid()}-{threading.get_ident()}.partial")
    try:
        shutil.copyfile(made, draft)
        os.replace(draft, out)
    finally:
        draft.unlink(missing_ok=True)
