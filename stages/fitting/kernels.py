"""gsplat's CUDA kernels: built once on a machine (`make gsplat`), before workers need them.

Processes that import gsplat while its kernels are missing all build them at once and destroy each other's work. So
workers only take what is there.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_LIBRARY = "gsplat_cuda"
_INSTALL = "pip install 'gs-triplets[gpu]', or make gsplat"


class KernelsError(Exception):
    """Why gsplat cannot be used here, in one line."""


def rasterization() -> Callable[..., Any]:
    """gsplat's, ready to use; KernelsError says what is missing."""
    import torch

    if not torch.cuda.is_available():
        raise KernelsError(
            f"fit.engine gsplat needs a CUDA GPU, and torch {torch.__version__} sees none: set it to cpu"
        )
    if importlib.util.find_spec("gsplat") is None:
        raise KernelsError(f"fit.engine gsplat needs the package gsplat: {_INSTALL}")
    if importlib.util.find_spec("gsplat.csrc") is None and not _library().is_file():
        raise KernelsError(f"gsplat's kernels are not built on this machine ({_library()}): run make gsplat once")
    import gsplat

    return gsplat.rasterization


def build() -> Path:
    """Build the kernels for this machine's GPUs, or for TORCH_CUDA_ARCH_LIST; returns where they lie."""
    import torch
    from torch.utils.cpp_extension import CUDA_HOME

    if importlib.util.find_spec("gsplat") is None:
        raise KernelsError(f"the package gsplat is missing: {_INSTALL}")
    if torch.version.cuda is None:
        raise KernelsError(f"torch {torch.__version__} is built without CUDA: install a CUDA build of it")
    if CUDA_HOME is None or not (Path(CUDA_HOME) / "bin" / "nvcc").is_file():
        raise KernelsError(
            f"nvcc is missing: install the toolkit of CUDA {torch.version.cuda}, or name it in CUDA_HOME"
        )
    if "TORCH_CUDA_ARCH_LIST" not in os.environ:
        if not torch.cuda.is_available():
            raise KernelsError("no GPU is seen: name the kind to build for, such as TORCH_CUDA_ARCH_LIST=9.0")
        kinds = {torch.cuda.get_device_capability(device) for device in range(torch.cuda.device_count())}
        os.environ["TORCH_CUDA_ARCH_LIST"] = ";".join(f"{major}.{minor}" for major, minor in sorted(kinds))
    os.environ.setdefault("MAX_JOBS", str(len(os.sched_getaffinity(0))))
    from gsplat.cuda._backend import _C

    if _C is None:
        raise KernelsError("gsplat did not build its kernels; VERBOSE=1 make gsplat shows the compiler's words")
    return _library()


def _library() -> Path:
    from torch.utils.cpp_extension import _get_build_directory

    return Path(_get_build_directory(_LIBRARY, verbose=False)) / f"{_LIBRARY}.so"


def main() -> int:
    begun = time.monotonic()
    try:
        library = build()
    except KernelsError as error:
        print(f"gsplat: {error}", file=sys.stderr)
        return 1
    size = library.stat().st_size / 2**20 if library.is_file() else 0.0
    print(f"gsplat's kernels are ready in {library} ({size:.0f} MiB, {time.monotonic() - begun:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
