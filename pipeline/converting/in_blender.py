"""Convert one file to GLB with Blender: PYTHON -I in_blender.py SOURCE OUT, in a process of its own.

PYTHON is one that has `bpy`. This script imports nothing of the project. Where the kernel has Landlock, it confines
itself before it loads Blender: from then on it can read the source's folder and the libraries that it needs, write
where OUT is, start no program and, from Linux 6.7 on, open no TCP connection.
"""

from __future__ import annotations

import ctypes
import json
import os
import struct
import sys
from functools import cache
from types import ModuleType
from typing import NoReturn

NO_BLENDER, UNREADABLE, NO_MESH = 64, 65, 66  # exit codes
WARNING = "warning: "  # how a line begins that is a warning for the user

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # system calls of Landlock, on every architecture
_WRITE_FILE, _READ_FILE, _READ_FOLDER, _TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 14
_NO_NEW_PRIVILEGES = 38
_SYSTEM = (
    "/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/fonts", "/etc/localtime", "/proc/self", "/proc/cpuinfo",
    "/proc/meminfo", "/sys/devices/system", "/dev/urandom",
)  # fmt: skip
_FROM_FILES = ("FILE", "SEQUENCE", "MOVIE", "TILED")  # kinds of images; others are computed


def main(source: str, out: str) -> None:
    folder = os.path.dirname(os.path.realpath(source))
    listed = os.path.dirname(os.path.abspath(source))  # differs where the source is a link
    if not _confine([folder, listed, sys.prefix, sys.base_prefix, *sys.path, *_SYSTEM], os.path.dirname(out)):
        _warn("this kernel has no Landlock, so Blender can read every file that you can read")
    try:
        import bpy
    except ImportError as error:
        _leave(NO_BLENDER, error)
    try:
        _read(bpy, source)
    except RuntimeError as error:  # what an operator reports
        _leave(UNREADABLE, error)
    _keep_textures_inside(bpy, listed)
    bpy.ops.export_scene.gltf(
        filepath=out, export_format="GLB", export_yup=True, export_apply=True, use_renderable=True,
        use_active_scene=True, export_cameras=False, export_lights=False, export_animations=False, export_skins=False,
        export_morph=False,
    )  # fmt: skip
    if not _has_mesh(out):
        _leave(NO_MESH, "no mesh with faces")
    _leave(0, "")


def _confine(readable: list[str], writable: str) -> bool:
    """Give up all rights to files and connections but these, for good; return whether the kernel can do that."""
    system = ctypes.CDLL(None, use_errno=True)
    version = system.syscall(_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return False
    all_rights = (1 << 13) - 1 | (1 << 13 if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    handled = _bytes(all_rights, 8) + (_bytes(3, 8) if version >= 4 else b"")  # 3: TCP bind and connect
    rules = system.syscall(_CREATE_RULESET, handled, len(handled), 0)
    allowed = dict.fromkeys(readable, _READ_FILE | _READ_FOLDER) | {
        "/dev/null": _READ_FILE | _WRITE_FILE, writable: all_rights & ~1
    }  # fmt: skip
    for path, rights in allowed.items():
        if not os.path.exists(path):
            continue
        if not os.path.isdir(path):
            rights &= _READ_FILE | _WRITE_FILE
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        system.syscall(_ADD_RULE, rules, 1, _bytes(rights, 8) + _bytes(place, 4), 0)
        os.close(place)
    system.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    return bool(system.syscall(_RESTRICT_SELF, rules, 0) == 0)


def _bytes(number: int, length: int) -> bytes:
    return number.to_bytes(length, sys.byteorder)


def _read(bpy: ModuleType, source: str) -> None:
    ending = os.path.splitext(source)[1].lower()
    if ending == ".blend":
        done = bpy.ops.wm.open_mainfile(filepath=source, load_ui=False, use_scripts=False)
    else:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        if ending == ".fbx":
            done = bpy.ops.import_scene.fbx(filepath=source, use_anim=False, use_image_search=False)
        elif ending == ".dae":
            done = bpy.ops.wm.collada_import(filepath=source)
            _remove_animations(bpy)
        else:
            done = bpy.ops.wm.usd_import(filepath=source, import_cameras=False, import_lights=False)
    if "FINISHED" not in done:
        raise RuntimeError(f"Blender cannot read this {ending} file")


def _remove_animations(bpy: ModuleType) -> None:
    """Leave objects as they are without animations, and skins in the pose in which they were bound."""
    for thing in bpy.data.objects:
        thing.animation_data_clear()
        if thing.type == "ARMATURE":
            thing.data.pose_position = "REST"


def _keep_textures_inside(bpy: ModuleType, folder: str) -> None:
    """Take images from the source's folder alone: elsewhere or missing, one of the same name there, or none."""
    for image in list(bpy.data.images):
        if image.source not in _FROM_FILES or image.packed_files or not image.filepath:
            continue
        path = image.filepath_from_user().replace("<UDIM>", "1001")
        if _is_inside(path, folder):
            continue
        name = path.replace("\\", "/").rpartition("/")[2]
        found = _files_below(folder).get(name.lower())
        if found:
            image.filepath = found
            image.reload()
            _warn(f"texture {name}: not found at its path; {os.path.relpath(found, folder)} is used")
        else:
            bpy.data.images.remove(image)
            _warn(f"texture {name}: not in the folder of the file; left out")


def _is_inside(path: str, folder: str) -> bool:
    return os.path.isfile(path) and os.path.realpath(path).startswith(os.path.realpath(folder).rstrip("/") + "/")


@cache
def _files_below(folder: str) -> dict[str, str]:
    """By name in lower case, the first file of that name in the folder or below."""
    found: dict[str, str] = {}
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if _is_inside(path := os.path.join(parent, name), folder):
                found.setdefault(name.lower(), path)
    return found


def _has_mesh(path: str) -> bool:
    with open(path, "rb") as file:
        length = struct.unpack("<12xI4x", file.read(20))[0]
        return bool(json.loads(file.read(length)).get("meshes"))


def _warn(text: str) -> None:
    print(WARNING + " ".join(text.split()), flush=True)


def _leave(code: int, why: object) -> NoReturn:
    """End without tearing Blender down, which takes time and may crash. The last line says why."""
    print(" ".join(str(why).split()), flush=True)
    os._exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
