"""Return freed memory to the system: glibc keeps it, so a worker would seem to grow with each object."""

from __future__ import annotations

import ctypes

_TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only glibc has it


def give_back_memory() -> None:
    """Takes about a millisecond; a lower threshold in malloc would cost a quarter of the speed."""
    if _TRIM is not None:
        _TRIM(0)
