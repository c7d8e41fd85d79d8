"""A driver that was started, and how it ended."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.pipeline.building import ROOT

_STOPPED = {-signal.SIGINT, -signal.SIGTERM}  # before it had begun; a shell shows both as 130 and 143
_KNOWN_CODES = {0, 1, 2, 128 + signal.SIGINT, 128 + signal.SIGTERM, *_STOPPED}  # of docs/operations.md


class Failure(Exception):
    """A build did something that it must not do."""


@dataclass(frozen=True)
class Ended:
    """How a driver ended."""

    code: int
    error: str  # the last line that it wrote to stderr

    def __str__(self) -> str:
        named = f"signal {-self.code}" if self.code < 0 else f"exit code {self.code}"
        return f"{named} ({self.error})" if self.code in (1, 2) else named


@dataclass
class Driver:
    process: subprocess.Popen[bytes]
    stderr: Path
    killed: bool = False  # by a harm

    @classmethod
    def start(cls, words: list[str], environment: dict[str, str], folder: Path) -> Driver:
        """Start a command; what it prints goes to files in this folder."""
        number = len(list(folder.glob("*.stderr"))) + 1
        outputs = [folder / f"{number:02d}.{name}" for name in ("stdout", "stderr")]
        with outputs[0].open("wb") as out, outputs[1].open("wb") as error:
            process = subprocess.Popen(
                words, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=error
            )
        return cls(process, outputs[1])

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def kill(self) -> None:
        self.killed = True
        send(self.pid, signal.SIGKILL)

    def end(self) -> Ended:
        """Wait for its end; Failure if it may not end so."""
        code = self.process.wait()
        text = self.stderr.read_text(errors="replace")
        ended = Ended(code, (text.strip().splitlines() or [""])[-1][:300])
        if "Traceback" in text and code not in _STOPPED:
            raise Failure(f"a traceback in {self.stderr}: {ended.error}")
        if code not in _KNOWN_CODES and not self.killed:
            raise Failure(f"a driver ended with {ended}, which docs/operations.md does not list: {ended.error}")
        if code == 2 and not ended.error.startswith("error: "):
            raise Failure(f"a driver stopped without a reason: {ended}")
        return ended


def send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
