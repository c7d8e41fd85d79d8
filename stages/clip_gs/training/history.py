"""Figures of a training: to the terminal, to curve.jsonl (a line a step), and to TensorBoard's event files."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

FILE, EVENTS = "curve.jsonl", "tensorboard"
_FLUSH_SECONDS = 1.0
_TAIL_BYTES = 1 << 16

Line = dict[str, Any]  # step, seconds, and figures; `check/` begins the names of those of the validation objects


class History:
    """Keeps what was written up to `first` steps and goes on behind it."""

    def __init__(self, folder: Path, first: int):
        from torch.utils.tensorboard import SummaryWriter

        path = folder / FILE
        kept = [json.dumps(line) + "\n" for line in read(path) if line["step"] <= first]  # the rest is worked again
        aside = path.with_suffix(".part")
        aside.write_text("".join(kept))
        os.replace(aside, path)
        self._file = path.open("a")
        self._flushed = 0.0
        self._events = SummaryWriter(str(folder / EVENTS), purge_step=first + 1)

    def add(self, line: Line) -> None:
        self._file.write(json.dumps(line) + "\n")
        for name in line.keys() - {"step"}:
            self._events.add_scalar(name if "/" in name else f"train/{name}", line[name], line["step"])
        if time.monotonic() - self._flushed >= _FLUSH_SECONDS:
            self.flush()

    def flush(self, to_disk: bool = False) -> None:
        self._file.flush()
        if to_disk:
            os.fsync(self._file.fileno())
        self._flushed = time.monotonic()

    def __enter__(self) -> History:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._events.close()


def read(path: Path) -> list[Line]:
    """The whole lines up to one that a kill or a power cut has spoilt."""
    found = []
    for line in path.read_bytes().split(b"\n")[:-1] if path.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found


def newest(path: Path, after: int) -> list[Line]:
    """Lines of later steps among the last of a file that another process may be writing."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        start = max(0, file.seek(0, 2) - _TAIL_BYTES)
        file.seek(start)
        lines = file.read().split(b"\n")
    found = [json.loads(line) for line in lines[1 if start else 0 : -1]]
    return [line for line in found if line["step"] > after]
