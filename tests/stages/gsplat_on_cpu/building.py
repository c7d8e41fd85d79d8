"""Compile gsplat's CUDA sources with g++ into a Python module, once for each version of its inputs."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import torch
from torch.utils.cpp_extension import include_paths, library_paths

from tests.caches import cache_folder
from tests.stages.gsplat_on_cpu.translation import translate

MODULE = "csrc"  # as gsplat names its compiled part
_HEADERS = Path(__file__).parent / "include"
# No fused multiply-add: it would change the numbers on some machines.
_FLAGS = ("-std=c++20", "-w", "-fPIC", "-ffp-contract=off", f"-DTORCH_EXTENSION_NAME={MODULE}")
_LIBRARIES = ("-lc10", "-ltorch_cpu", "-ltorch", "-ltorch_python")


class BuildError(Exception):
    """g++ failed; the text has its errors."""


def missing() -> str | None:
    """Why the module cannot be built on this machine, or None."""
    if importlib.util.find_spec("gsplat") is None:
        return "the package gsplat is not installed"
    if shutil.which("g++") is None:
        return "g++ is not installed"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return "Python's headers (Python.h) are not installed"
    return None


def built() -> Path:
    """The module's file in the user's cache, which is built if it is not there."""
    sources = _sources()
    library = cache_folder() / f"gsplat-on-cpu-{_digest(sources)}" / f"{MODULE}.so"
    if not library.is_file():
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            os.replace(_compile(sources, Path(folder)), library)
    return library


def _package() -> Path:
    found = importlib.util.find_spec("gsplat")
    assert found is not None and found.origin is not None
    return Path(found.origin).parent / "cuda"


def _sources() -> dict[str, str]:
    """gsplat's translated sources by file name; the library glm is used unchanged."""
    package = _package()
    files = [package / "ext.cpp", *(package / "include").iterdir(), *(package / "csrc").iterdir()]
    return {path.name: translate(path.read_text()) for path in sorted(files) if path.is_file()}


def _digest(sources: dict[str, str]) -> str:
    compiler = subprocess.run(["g++", "--version"], capture_output=True, check=True).stdout
    parts = [repr((torch.__version__, sys.version, _FLAGS, sources)).encode(), compiler]
    parts += [path.read_bytes() for path in sorted(_HEADERS.rglob("*")) if path.is_file()]
    return hashlib.blake2b(b"".join(parts), digest_size=8).hexdigest()


def _compile(sources: dict[str, str], folder: Path) -> Path:
    """Compile the kernels as one file and the rest as another: reading torch's headers takes most of the time."""
    for name, text in sources.items():
        (folder / name).write_text(text)
    glm = _package() / "csrc" / "third_party" / "glm"
    includes = [_HEADERS, folder, glm, *include_paths(), sysconfig.get_path("include")]
    started = []
    for suffix, optimized in ((".cu", "-O1"), (".cpp", "-O0")):
        whole = folder / f"{suffix[1:]}.cc"
        names = ["cuda_runtime.h", *(name for name in sources if name.endswith(suffix))]
        whole.write_text("".join(f'#include "{name}"\n' for name in names))
        command = ["g++", *_FLAGS, optimized, *(f"-I{path}" for path in includes), "-c", whole.name]
        started.append(subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True))
    errors_of = [process.communicate()[1] for process in started]
    if any(process.returncode for process in started):
        errors = [line for line in "".join(errors_of).splitlines() if "error" in line]
        raise BuildError("\n".join(["g++ cannot compile gsplat's sources:", *errors[:20]]))
    command = ["g++", "-shared", "cu.o", "cpp.o", "-o", f"{MODULE}.so"]
    command += [f"-L{path}" for path in library_paths()]
    done = subprocess.run([*command, *_LIBRARIES], cwd=folder, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise BuildError(f"g++ cannot link gsplat's sources:\n{done.stderr[-4000:]}")
    return folder / f"{MODULE}.so"
