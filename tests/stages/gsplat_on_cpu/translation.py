"""CUDA source text as C++: what the headers in include/ cannot express is rewritten.

What is in a form that is not known here stays as it is, and the compiler refuses it.
"""

from __future__ import annotations

import re

_SHARED = re.compile(r"extern\s+__shared__\s+(?P<type>\w+)\s+(?P<name>\w+)\[\]\s*;")
_CAST = re.compile(r"\((?P<type>u?int32_t)\)(?P<value>\w+)(?P<call>\()?")
_LAUNCH = re.compile(r"(?P<kernel>\w+(?:<[\w\s,]*>)?)\s*<<<(?P<shape>[^<>;]*)>>>\s*\(")


def translate(source: str) -> str:
    source = source.replace(".is_cuda()", ".is_cpu()")  # the checks of where tensors lie
    source = _SHARED.sub(_shared, source)
    source = _casts(source)
    return _launches(source)


def _shared(found: re.Match[str]) -> str:
    """`extern __shared__ int s[];`: memory whose size the launch gives."""
    kind, name = found["type"], found["name"]
    return f"{kind} *{name} = static_cast<{kind} *>(gsplat_on_cpu::Processor::here().shared_memory());"


def _casts(source: str) -> str:
    """`(uint32_t)floor(x)`: C++ leaves undefined what a GPU does with numbers out of range."""
    done = ""
    while found := _CAST.search(source):
        end = _closing(source, found.end()) if found["call"] else found.end()
        value = source[found.start("value") : end]
        done += source[: found.start()] + f"gsplat_on_cpu::converted<{found['type']}>({value})"
        source = source[end:]
    return done + source


def _launches(source: str) -> str:
    """`kernel<<<grid, block, bytes, stream>>>(values)`; no other syntax of CUDA is foreign to C++."""
    return _LAUNCH.sub(lambda found: f"gsplat_on_cpu::launch({found['shape']}, {found['kernel']}, ", source)


def _closing(source: str, start: int) -> int:
    """Where the bracket that was opened before `start` has been closed."""
    depth = 1
    for place in range(start, len(source)):
        depth += {"(": 1, ")": -1}.get(source[place], 0)
        if depth == 0:
            return place + 1
    raise ValueError("a bracket is not closed")
