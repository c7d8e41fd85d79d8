"""A training's folder: held by one training at a time, emptied for one that begins anew."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.clip_gs.training.readiness import TrainingError

_LOCK = "lock"


def clear(folder: Path) -> None:
    """All but the lock, which is held meanwhile."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != _LOCK:
            path.unlink()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No other training works in the folder meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingError(
                f"{folder}: another training is at work there; stop it, or give this one another --name"
            ) from None
        yield
