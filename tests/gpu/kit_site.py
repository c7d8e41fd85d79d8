"""The packages that a bare GPU machine lacks, installed for its Python and packed into one archive.

gsplat comes with its kernels compiled for the machine's torch and GPU, and without the sources that it would compile.
The archive is checked where it counts: the machine's Python imports every package from it, with all symbols of the
kernels resolved at once.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

from tests.gpu.machine import DIGEST, run

ROOT = Path(__file__).resolve().parents[2]
ARCHITECTURE = "9.0"  # H100 and H200
_PACKAGES = {  # and the name under which each is imported
    "datasets": "datasets",
    "dill": "dill",
    "DracoPy": "DracoPy",
    "freetype-py": "freetype",
    "gsplat": "gsplat",
    "meshopt": "meshopt",
    "multiprocess": "multiprocess",
    "opengl_basisu": "opengl_basisu",
    "pydantic": "pydantic",
    "pydantic_core": "pydantic_core",
    "pyglet": "pyglet",
    "PyOpenGL": "OpenGL",
    "pyrender": "",  # cannot be imported without EGL
    "trimesh": "trimesh",
    "typing-inspection": "typing_inspection",
    "zlib-ng": "zlib_ng",
}
_NOT_NEEDED = ("bin", "include", "lib", "lib64", "share", "gsplat/cuda/csrc", "gsplat/cuda/include")


def pack_site(python: Path, work: Path, archive: Path, kernels: bool) -> list[str]:
    """Make the archive where it is missing; returns names and versions of what is in it."""
    site = work / "site"
    complete = work / "site-complete"
    if not complete.exists():
        shutil.rmtree(site, ignore_errors=True)
        archive.unlink(missing_ok=True)
        run(
            python, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps",
            "--no-compile", "--target", site, "-c", ROOT / "constraints.txt", *_PACKAGES,
        )  # fmt: skip
        if kernels:
            put_kernels(python, site, work)
        for name in _NOT_NEEDED:
            shutil.rmtree(site / name, ignore_errors=True)
        for folder in [path for path in site.rglob("tests") if path.is_dir()]:
            shutil.rmtree(folder)
        complete.touch()
    if not archive.exists():
        part = archive.with_suffix(".part")
        with tarfile.open(part, "w:xz", preset=9) as packed:
            for path in sorted(site.iterdir()):
                packed.add(path, path.name)
        part.replace(archive)
    check(python, site, kernels)
    return sorted(path.name.removesuffix(".dist-info") for path in site.glob("*.dist-info"))


def put_kernels(python: Path, site: Path, work: Path) -> None:
    """As `make gsplat` does, but for a GPU that is elsewhere; what was compiled once is kept in `work`."""
    kept = work / f"kernels-{next(site.glob('gsplat-*.dist-info')).stem}-{ARCHITECTURE}-{DIGEST}"
    if not kept.exists():
        environment = {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]), "TORCH_CUDA_ARCH_LIST": ARCHITECTURE}
        run(python, "-m", "stages.fitting.kernels", **environment)
        kept.mkdir()
        shutil.copy(next((site / "gsplat").glob("csrc*.so")), kept)
    shutil.copy(next(kept.glob("csrc*.so")), site / "gsplat")


def check(python: Path, site: Path, kernels: bool) -> None:
    """Import all of it as the machine will; a symbol of the kernels that torch's libraries lack is an error here."""
    names = [name for name in _PACKAGES.values() if name] + (["gsplat.csrc"] if kernels else [])
    program = f"import torch, importlib; [importlib.import_module(name) for name in {names}]"
    run(python, "-c", program, PYTHONPATH=str(site), LD_BIND_NOW="1", PYTHONDONTWRITEBYTECODE="1")
