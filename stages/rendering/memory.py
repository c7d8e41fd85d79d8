"""Gives freed memory back to the system: glibc keeps it, and a worker would seem to grow with what it has drawn."""

from __future__ import annotations

import ctypes

_TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none, and need none


def give_back_memory() -> None:
    """Takes about a millisecond; a lower threshold for all of malloc costs a quarter of the speed instead."""
    if _TRIM is not None:
        _TRIM(0)
