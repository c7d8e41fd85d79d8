"""An OpenGL context without a window, through EGL: the first device that gives one, a GPU before Mesa's software."""

from __future__ import annotations

import ctypes
import os
from typing import Any

import numpy as np

_PACKAGES = "libegl1, libgl1, libgles2 and libgl1-mesa-dri"


def open_context(size: int) -> Any:
    """A current pyrender.OffscreenRenderer. EGL_DEVICE_ID names the device, where it is set."""
    os.environ.setdefault("PYGLET_HEADLESS", "true")  # pyrender imports pyglet, which else looks for X11's libraries
    np.infty = np.inf  # pyrender 0.1.45 still uses a name that NumPy 2 has dropped
    try:
        import pyrender
        from pyrender.platforms import egl
    except (ImportError, AttributeError) as error:  # PyOpenGL's own words do not say what is missing
        raise RuntimeError(f"EGL cannot be loaded ({error}); on Debian install {_PACKAGES}") from error
    from OpenGL.error import Error

    _let_ctypes_arguments_through()
    asked = os.environ.get("EGL_DEVICE_ID")
    failures = []
    for number in [int(asked)] if asked else range(len(egl.query_devices())):
        os.environ["EGL_DEVICE_ID"] = str(number)
        try:
            return pyrender.OffscreenRenderer(size, size)
        except (AssertionError, Error) as error:
            failures.append(f"device {number}: {' '.join(str(error).split())[:100] or type(error).__name__}")
    raise RuntimeError(
        f"no EGL device gives an OpenGL 4.1 context ({'; '.join(failures)}); on Debian install {_PACKAGES}"
    )


def _let_ctypes_arguments_through() -> None:
    """PyOpenGL 3.1.0, which pyrender requires, knows what ctypes.byref() returns by a name from before Python 3.12."""
    from OpenGL.plugins import FormatHandler

    kind = type(ctypes.byref(ctypes.c_int()))
    names = FormatHandler.by_name("ctypesparameter").check
    name = f"{kind.__module__}.{kind.__name__}"
    if name not in names:
        names.append(name)
