"""Compile gsplat's CUDA kernels, once per machine (`make gsplat`), and load them in workers.

The compiled kernels become the module `gsplat.csrc` inside the installed package. gsplat imports that module if it
exists and compiles nothing. Without it, every process that imports gsplat starts a compilation of its own, and such
processes delete each other's files. So workers never compile: they use the compiled kernels, or say what to run.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from manifests.text import message

_MODULE = "gsplat.csrc"
_INSTALL = "run pip install 'gs-triplets[gpu]', or make gsplat"


class KernelsError(Exception):
    """Why gsplat cannot be used or compiled here, in one line."""


def rasterization() -> Callable[..., Any]:
    """Return gsplat.rasterization with its kernels loaded; raise KernelsError if something is missing."""
    import torch

    if not torch.cuda.is_available():
        raise KernelsError(
            f"fit.engine gsplat needs a CUDA GPU, and torch {torch.__version__} finds none: set fit.engine to cpu"
        )
    package()
    load()
    import gsplat

    return gsplat.rasterization


def package() -> Path:
    """The folder of the installed package gsplat."""
    found = importlib.util.find_spec("gsplat")
    if found is None or not found.submodule_search_locations:
        raise KernelsError(f"the package gsplat is not installed: {_INSTALL}")
    return Path(found.submodule_search_locations[0])


def load() -> None:
    """Import the compiled kernels."""
    import torch

    if importlib.util.find_spec(_MODULE) is None:
        raise KernelsError("gsplat's kernels are not compiled on this machine: run make gsplat once")
    try:
        importlib.import_module(_MODULE)
    except ImportError as error:
        what = f"gsplat's kernels were compiled for another torch than {torch.__version__}"
        raise KernelsError(f"{what}: run make gsplat again ({message(error, 200)})") from error


def build() -> Path:
    """Compile the kernels for this machine's GPUs, or for TORCH_CUDA_ARCH_LIST, and install them in the package."""
    import torch

    folder = package()
    if torch.version.cuda is None:
        raise KernelsError(f"torch {torch.__version__} is a build without CUDA: install a CUDA build of it")
    os.environ["CUDA_HOME"] = str(toolkit(torch.version.cuda))
    os.environ["TORCH_CUDA_ARCH_LIST"] = _architectures()
    os.environ.setdefault("MAX_JOBS", str(len(os.sched_getaffinity(0))))
    from torch.utils.cpp_extension import load as compile_and_import  # reads CUDA_HOME when it is imported

    cuda = folder / "cuda"
    with tempfile.TemporaryDirectory() as scratch:
        try:
            compile_and_import(
                name="csrc",
                sources=[str(path) for path in [*cuda.glob("csrc/*.cu"), *cuda.glob("csrc/*.cpp"), cuda / "ext.cpp"]],
                extra_include_paths=[str(cuda / "include"), str(cuda / "csrc" / "third_party" / "glm")],
                extra_cflags=["-O3", "-Wno-attributes"],
                extra_cuda_cflags=["-O3", "-use_fast_math"],
                build_directory=scratch,
                verbose="VERBOSE" in os.environ,
            )
        except (RuntimeError, ImportError, OSError) as error:
            raise KernelsError(f"gsplat's kernels did not compile: {_first_error(str(error))}") from error
        return _publish(Path(scratch) / "csrc.so", folder)


def _first_error(printed: str) -> str:
    """The first line of the compilers' output that says what is wrong."""
    lines = [line.strip() for line in printed.splitlines() if re.search(r"\b(error|fatal)\b", line)]
    return (lines or [printed.strip().splitlines()[-1]])[0][:300] + " (VERBOSE=1 make gsplat shows everything)"


def toolkit(version: str) -> Path:
    """The CUDA toolkit to compile with: CUDA_HOME, or the toolkit that nvcc belongs to."""
    named = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    home = Path(named) if named else _home_of_nvcc() or Path("/usr/local/cuda")
    nvcc = home / "bin" / "nvcc"
    if not nvcc.is_file():
        raise KernelsError(
            f"nvcc was not found in {home / 'bin'}: "
            f"install the toolkit of CUDA {version}, or name its folder in CUDA_HOME"
        )
    printed = subprocess.run([str(nvcc), "--version"], capture_output=True, text=True).stdout
    release = re.search(r"release (\d+)\.(\d+)", printed)
    if release is None or release[1] != version.split(".")[0]:
        found = f"CUDA {release[1]}.{release[2]}" if release else "an unknown CUDA"
        raise KernelsError(
            f"torch was built with CUDA {version}, but {nvcc} belongs to {found}: "
            f"name the folder of a toolkit of CUDA {version.split('.')[0]} in CUDA_HOME"
        )
    return home


def _home_of_nvcc() -> Path | None:
    """The toolkit of the nvcc on PATH, which may be a script elsewhere that calls the real one."""
    if shutil.which("nvcc") is None:
        return None
    with tempfile.NamedTemporaryFile(suffix=".cu") as source:
        done = subprocess.run(["nvcc", "--dryrun", "-c", source.name], capture_output=True, text=True)
    top = re.search(r"^#\$ TOP=(.+)$", done.stderr, re.MULTILINE)
    return Path(top[1]).resolve() if top else None


def _architectures() -> str:
    import torch

    if "TORCH_CUDA_ARCH_LIST" in os.environ:
        return os.environ["TORCH_CUDA_ARCH_LIST"]
    if not torch.cuda.is_available():
        raise KernelsError("no GPU was found: set TORCH_CUDA_ARCH_LIST to its compute capability, such as 9.0")
    kinds = {torch.cuda.get_device_capability(device) for device in range(torch.cuda.device_count())}
    return ";".join(f"{major}.{minor}" for major, minor in sorted(kinds))


def _publish(library: Path, folder: Path) -> Path:
    """Move the library into the package in one step, so that no process sees half of it."""
    target = folder / f"csrc{sysconfig.get_config_var('EXT_SUFFIX')}"
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as part:
        part.write(library.read_bytes())
    os.chmod(part.name, 0o755)
    os.replace(part.name, target)
    return target


def main() -> int:
    begun = time.monotonic()
    try:
        library = build()
    except KernelsError as error:
        print(f"gsplat: {error}", file=sys.stderr)
        return 1
    size = library.stat().st_size / 2**20
    print(f"gsplat's kernels are ready in {library} ({size:.0f} MiB, {time.monotonic() - begun:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
