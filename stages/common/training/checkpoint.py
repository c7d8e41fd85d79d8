"""Write and read checkpoints: files of tensors and plain values, which run no code when they are read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from manifests.text import message


class CheckpointError(Exception):
    """A checkpoint cannot be written, read or used. The message is one line that names the file and the reason."""


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write the file beside `path`, then rename it: a reader never sees a part, and a power cut leaves the old one."""
    draft = path.with_suffix(".part")
    try:
        with draft.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError when the disk is full
        draft.unlink(missing_ok=True)
        raise CheckpointError(f"{path}: cannot be written: {message(error, 200)}") from error


def read_checkpoint(path: Path, device: torch.device | str = "cpu", mmap: bool = False) -> Any:
    """Return what `torch.save` wrote."""
    try:
        return torch.load(path, map_location=device, weights_only=True, mmap=mmap)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error
    except Exception as error:  # for bytes that are something else, torch raises nearly any exception
        raise CheckpointError(f"{path}: not a file of tensors, or damaged") from error
