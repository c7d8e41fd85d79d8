"""A wall clock that jumps: a library in front of the system's, loaded into the processes of a build alone."""

from __future__ import annotations

import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

_SOURCE = Path(__file__).with_name("clock.c")


@dataclass(frozen=True)
class Clock:
    """The clock of a build. Processes started with `environment` follow it, also when it jumps later."""

    shared_object: Path
    shift: Path

    @classmethod
    def make(cls, folder: Path) -> Clock | None:
        """Compile the library; None where there is no C compiler."""
        compiler = shutil.which("cc")
        if compiler is None:
            return None
        clock = cls(folder / "clock.so", folder / "clock-shift")
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", clock.shared_object, _SOURCE], check=True)
        clock.shift.write_bytes(struct.pack("q", 0))
        return clock

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.shared_object), "CLOCK_SHIFT": str(self.shift)}

    def jump(self, seconds: int) -> None:
        with self.shift.open("r+b") as file:  # the same file: processes have mapped it
            file.write(struct.pack("q", seconds))
