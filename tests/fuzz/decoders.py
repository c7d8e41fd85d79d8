"""Hostile bytes through each decoder in one process, which is much faster than a build and sees what it asks for.

`python -m tests.fuzz.decoders SEED` reads names of cases, one a line, and writes the outcome of each.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from stages.artifacts import bundle, vectors
from stages.artifacts.bundle import DamagedFile
from stages.artifacts.splat import Splat
from stages.artifacts.views import Views
from stages.contract.stage import StageError
from stages.ingest import _collect
from stages.ingesting.origins import Origin
from stages.meshes.formats import read_mesh
from stages.meshes.model import Limits
from tests.fuzz.builds import LIMITS, MEMORY_GB, ROOT
from tests.fuzz.cases import Case
from tests.fuzz.findings import Finding, Results
from tests.fuzz.seeds import Files

_SECONDS = 60.0  # for one case
_TEXTURE_SIDE = 2048
# what no decoder may do; see https://docs.python.org/3/library/audit_events.html
_FORBIDDEN_EVENTS = (
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "os.remove", "os.rename",
    "os.mkdir", "socket.connect", "socket.getaddrinfo", "socket.sendto", "urllib.Request", "pickle.find_class",
)  # fmt: skip


class Reached(BaseException):
    """A decoder has reached for what it must not: a process, the network, a file to write."""


class _InMemory(Origin):
    def __init__(self, files: Files):
        super().__init__(next(iter(files)), 256 << 20)
        self._files = files

    def main(self) -> bytes:
        return self._files[self.name]

    def companion(self, name: str) -> bytes | None:
        return self._files.get(name)


def _mesh(files: Files) -> None:
    done = _collect(_InMemory(files))
    read_mesh(done.artifact or b"", done.columns["mesh_name"], done.columns["format"], Limits(**LIMITS), _TEXTURE_SIDE)


# by kind: how an artifact is read, and the exception that says that it is damaged
_ARTIFACTS: dict[str, tuple[Callable[[bytes], Any], type[Exception]]] = {
    "zip": (bundle.unpack, DamagedFile),
    "views": (Views.from_bytes, DamagedFile),
    "vectors": (vectors.from_bytes, DamagedFile),
    "splat": (Splat.from_ply, ValueError),
}


def outcome_of(files: Files) -> str:
    """What became of the files: ok, damaged, the reason of a refusal, or EXCEPTION with what was raised."""
    kind = next(iter(files))
    read, damaged = _ARTIFACTS.get(kind, (None, StageError))
    try:
        if read is not None:
            read(files[kind])
        else:
            _mesh(files)
    except damaged as error:
        return error.reason if isinstance(error, StageError) else "damaged"
    except (Exception, Reached) as error:
        return f"EXCEPTION: {type(error).__name__}: {str(error)[:300]}"
    return "ok"


def _watch(event: str, values: tuple[Any, ...]) -> None:
    if event in _FORBIDDEN_EVENTS or event == "open" and isinstance(values[1], str) and set(values[1]) & set("wax+"):
        raise Reached(f"{event} {str(values)[:200]}")


def _child() -> None:
    seed = int(sys.argv[1])
    faulthandler.enable()
    names = sys.stdin.read().splitlines()
    outcome_of(Case("gltf", "aimed", "asset-is-deep").files(seed))  # what is imported when it is first needed
    for name in names:
        case = Case.parse(name)
        files = case.files(seed)
        _limit(MEMORY_GB)
        begun = time.perf_counter()
        outcome = outcome_of(files)
        seconds = time.perf_counter() - begun
        _limit(None)
        print(json.dumps([name, outcome, seconds]), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(["", "", peak]), flush=True)


def _limit(gib: float | None) -> None:
    """Limit the memory that the process may take, so that a decoder that takes more raises MemoryError."""
    most = resource.RLIM_INFINITY if gib is None else int(gib * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (most, resource.RLIM_INFINITY))


def run(cases: list[Case], seed: int) -> Results:
    """Decode these cases; a case that ends the process, or takes too long, is a finding, and the rest goes on."""
    results, left = Results(), list(cases)
    while left:
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.decoders", str(seed)],
                cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output,
            )  # fmt: skip
            assert process.stdin and process.stdout
            process.stdin.write("".join(f"{case.name}\n" for case in left).encode())
            process.stdin.close()
            ended = False
            for line in _lines(process.stdout.fileno()):
                ended = line is None
                left = left if line is None else _take(json.loads(line), left, results)
            process.kill()
            process.wait()
            if left:
                output.seek(0)
                said = output.read()[-600:].decode(errors="replace")
                what = f"the process ended: {said}" if ended else f"took over {_SECONDS:g} s"
                results.note(left[0], "process ended" if ended else "timeout", _SECONDS)
                results.findings.append(Finding(left.pop(0).name, "decoder", what))
    return results


def _lines(stream: int) -> Iterator[bytes | None]:
    """The lines of a stream as they come, then None at its end; nothing more where no line comes in time."""
    rest = b""
    while select.select([stream], [], [], _SECONDS)[0]:
        data = os.read(stream, 1 << 16)
        if not data:
            yield None
            return
        *lines, rest = (rest + data).split(b"\n")
        yield from lines


def _take(line: list[Any], left: list[Case], results: Results) -> list[Case]:
    name, outcome, figure = line
    if not name:
        results.peak_bytes = max(results.peak_bytes, figure)
        return left
    results.note(left[0], outcome.partition(":")[0], figure)
    if outcome.startswith("EXCEPTION"):
        results.findings.append(Finding(name, "decoder", outcome))
    return left[1:]


if __name__ == "__main__":
    sys.addaudithook(_watch)
    _child()
