"""Rewrite the parts of CUDA sources that the headers in include/ cannot turn into C++.

A part whose form is not known here stays unchanged, and the compiler refuses it.
"""

from __future__ import annotations

import re

_SHARED = re.compile(r"extern\s+__shared__\s+(?P<type>\w+)\s+(?P<name>\w+)\[\]\s*;")
_CAST = re.compile(r"\((?P<type>u?int32_t)\)(?P<value>\w+)(?P<call>\()?")
_LAUNCH = re.compile(r"(?P<kernel>\w+(?:<[\w\s,]*>)?)\s*<<<(?P<shape>[^<>;]*)>>>\s*\(")


def translate(source: str) -> str:
    source = source.replace(".is_cuda()", ".is_cpu()")  # the checks of a tensor's device
    source = _SHARED.sub(_shared, source)
    source = _casts(source)
    return _launches(source)


def _shared(found: re.Match[str]) -> str:
    """Rewrite `extern __shared__ int s[];`, memory whose size is given at the launch."""
    kind, name = found["type"], found["name"]
    return f"{kind} *{name} = static_cast<{kind} *>(gsplat_on_cpu::Processor::here().shared_memory());"


def _casts(source: str) -> str:
    """Rewrite `(uint32_t)floor(x)`: for numbers out of range it is undefined in C++, but not on a GPU."""
    done = ""
    while found := _CAST.search(source):
        end = _closing(source, found.end()) if found["call"] else found.end()
        value = source[found.start("value") : end]
        done += source[: found.start()] + f"gsplat_on_cpu::converted<{found['type']}>({value})"
        source = source[end:]
    return done + source


def _launches(source: str) -> str:
    """Rewrite `kernel<<<grid, block, bytes, stream>>>(values)`, the only other syntax that C++ does not have."""
    return _LAUNCH.sub(lambda found: f"gsplat_on_cpu::launch({found['shape']}, {found['kernel']}, ", source)


def _closing(source: str, start: int) -> int:
    """The position after the bracket that closes the one opened before `start`."""
    depth = 1
    for position in range(start, len(source)):
        depth += {"(": 1, ")": -1}.get(source[position], 0)
        if depth == 0:
            return position + 1
    raise ValueError("a bracket is not closed")
