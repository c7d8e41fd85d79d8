"""Write the figures of each step to curve.jsonl, and to TensorBoard's event files."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

FILE, EVENTS = "curve.jsonl", "tensorboard"
_FLUSH_SECONDS = 1.0
_TAIL_BYTES = 1 << 16

Line = dict[str, Any]  # step (steps done), seconds, and figures; names of figures of the validation begin with `check/`


class History:
    """Keeps the lines up to step `first`, and appends."""

    def __init__(self, folder: Path, first: int, tensorboard: bool = True):
        path = folder / FILE
        kept = [json.dumps(line) + "\n" for line in read(path) if line["step"] <= first]  # the rest is computed again
        draft = path.with_suffix(".part")
        draft.write_text("".join(kept))
        os.replace(draft, path)
        self._file = path.open("a")
        self._flushed = 0.0
        self._events = _event_writer(folder / EVENTS, first + 1) if tensorboard else None

    def add(self, line: Line) -> None:
        self._file.write(json.dumps(line) + "\n")
        if self._events:
            for name in line.keys() - {"step"}:
                self._events.add_scalar(name if "/" in name else f"train/{name}", line[name], line["step"])
        if time.monotonic() - self._flushed >= _FLUSH_SECONDS:
            self.flush()

    def flush(self, to_disk: bool = False) -> None:
        self._file.flush()
        if to_disk:
            os.fsync(self._file.fileno())
        self._flushed = time.monotonic()

    def close(self) -> None:
        self._file.close()
        if self._events:
            self._events.close()


def _event_writer(folder: Path, first: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=first)


def read(path: Path) -> list[Line]:
    """Return the lines up to one that a kill or a power cut left incomplete."""
    found = []
    for line in path.read_bytes().split(b"\n")[:-1] if path.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found


def newest(path: Path, after: int) -> list[Line]:
    """Return the last lines after step `after`; another process may be writing the file."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        start = max(0, file.seek(0, 2) - _TAIL_BYTES)
        file.seek(start)
        lines = file.read().split(b"\n")
    found = [json.loads(line) for line in lines[1 if start else 0 : -1]]
    return [line for line in found if line["step"] > after]
