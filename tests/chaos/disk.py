"""Small disks that can be filled, for the run and the scratch of a build."""

from __future__ import annotations

import errno
import subprocess
from dataclasses import dataclass
from pathlib import Path

_CHUNK = b"\0" * 2**16


@dataclass(frozen=True)
class Disk:
    """A folder. `small`: it is a file system of its own, which only root can mount."""

    folder: Path
    small: bool

    @classmethod
    def mount(cls, folder: Path, megabytes: int) -> Disk:
        """Mount a small file system at the folder; where that is not allowed, use the folder as it is."""
        folder.mkdir(parents=True)
        options = ["-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs"]
        made = subprocess.run(["mount", *options, folder], capture_output=True, check=False)
        return cls(folder, made.returncode == 0)

    def unmount(self) -> None:
        if self.small:
            subprocess.run(["umount", "-l", self.folder], check=True)

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self, spare: int = 0) -> None:
        """Fill the disk up to `spare` bytes."""
        with self._ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(_CHUNK)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
            file.truncate(max(0, file.tell() - spare))

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)
