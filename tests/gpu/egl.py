"""EGL for a machine that has a GPU's driver and nothing to find it with: the loaders that the kit brings."""

from __future__ import annotations

import ctypes.util
import os
import subprocess
from pathlib import Path

_VENDORS = ("/usr/share/glvnd/egl_vendor.d/10_nvidia.json", "/etc/glvnd/egl_vendor.d/10_nvidia.json")
_ELSEWHERE = "/usr/local/nvidia/share/glvnd/egl_vendor.d/10_nvidia.json"  # where containers are given the driver


def prepare(debs: Path, folder: Path) -> tuple[str, dict[str, str]]:
    """Return a line that says what was done, and the environment that drawing processes need.

    Loaders are unpacked into a folder of their own, which is added to the system's cache of libraries; no file of the
    system is replaced.
    """
    environment = {}
    if not any(Path(vendor).exists() for vendor in _VENDORS) and Path(_ELSEWHERE).exists():
        environment["__EGL_VENDOR_LIBRARY_FILENAMES"] = _ELSEWHERE
    if ctypes.util.find_library("EGL") and ctypes.util.find_library("GL"):
        return "EGL is installed", environment
    packages = sorted(debs.glob("*.deb"))
    if not packages:
        return "EGL is missing, and the kit brings none", environment
    for package in packages:
        subprocess.run(["dpkg", "-x", str(package), str(folder)], check=True)
    libraries = sorted({str(path.parent) for path in folder.rglob("*.so*")})
    environment["LD_LIBRARY_PATH"] = ":".join([*libraries, os.environ.get("LD_LIBRARY_PATH", "")]).rstrip(":")
    if os.geteuid() == 0:
        subprocess.run(["ldconfig", *libraries], check=True)
        return "EGL comes from the kit", environment
    return "EGL comes from the kit; without root it may not be found", environment
