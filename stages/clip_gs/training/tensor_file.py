"""A file of tensors, read without running anything in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


class TensorFileError(Exception):
    """Why it cannot be read, without its name."""


def read_tensors(path: Path, device: torch.device | str = "cpu", mmap: bool = False) -> Any:
    """What torch.save was given. A file that is missing is a FileNotFoundError."""
    try:
        return torch.load(path, map_location=device, weights_only=True, mmap=mmap)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise TensorFileError(f"cannot be read: {error}") from error
    except Exception as error:  # bytes that are something else make torch raise nearly anything
        raise TensorFileError("not a file of tensors alone, or damaged") from error
