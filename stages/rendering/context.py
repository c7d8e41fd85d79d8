"""Open an OpenGL context without a window, through EGL: on a GPU if there is one, else on Mesa's software driver."""

from __future__ import annotations

import ctypes
import os
from typing import Any

import numpy as np

from manifests.text import message

_PACKAGES = "libegl1, libgl1, libgles2 and libgl1-mesa-dri"


def open_context(size: int) -> Any:
    """A pyrender.OffscreenRenderer, made current. EGL_DEVICE_ID, if it is set, chooses the device."""
    os.environ.setdefault(
        "PYGLET_HEADLESS", "true"
    )  # for pyglet, which pyrender imports, and which would load X11's libraries
    vars(np)["infty"] = np.inf  # pyrender 0.1.45 uses a name that NumPy 2 has removed
    try:
        import pyrender
        from pyrender.platforms import egl
    except (ImportError, AttributeError) as error:  # PyOpenGL's message does not say what is missing
        raise RuntimeError(f"EGL cannot be loaded ({error}); on Debian install {_PACKAGES}") from error
    from OpenGL.error import Error

    _let_ctypes_arguments_through()
    chosen = os.environ.get("EGL_DEVICE_ID")
    failures = []
    for number in [int(chosen)] if chosen else range(len(egl.query_devices())):
        os.environ["EGL_DEVICE_ID"] = str(number)
        try:
            return pyrender.OffscreenRenderer(size, size)
        except (AssertionError, Error) as error:
            failures.append(f"device {number}: {message(error, 100) or type(error).__name__}")
    raise RuntimeError(
        f"no EGL device gives an OpenGL 4.1 context ({'; '.join(failures)}); on Debian install {_PACKAGES}"
    )


def _let_ctypes_arguments_through() -> None:
    """Register the type of ctypes.byref(), which PyOpenGL 3.1.0 knows only by its name before Python 3.12."""
    from OpenGL.plugins import FormatHandler

    kind = type(ctypes.byref(ctypes.c_int()))
    names = FormatHandler.by_name("ctypesparameter").check
    name = f"{kind.__module__}.{kind.__name__}"
    if name not in names:
        names.append(name)
