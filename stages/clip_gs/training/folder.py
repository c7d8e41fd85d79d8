"""Lock the folder of a training, and empty it for a new start."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.clip_gs.training.readiness import TrainingError

_LOCK = "lock"


def clear(folder: Path) -> None:
    """Delete everything except the lock file."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != _LOCK:
            path.unlink()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of the folder, so that no other training runs there."""
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingError(f"{folder}: another training runs there; stop it, or pass another --name") from None
        try:
            yield
        finally:
            if made and [path.name for path in folder.iterdir()] == [_LOCK]:  # a refused training leaves nothing
                shutil.rmtree(folder)
