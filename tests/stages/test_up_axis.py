"""`up: auto` decides by the file alone, says why, and says when it is a guess."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.meshes.model import Material, Model, make_part
from stages.rendering.up_axis import find_up
from tests.stages import meshes

TURNS = {
    "y": np.eye(3),
    "z": np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "x": np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]]),
}


def boxes(*spans: tuple[tuple[float, float, float], tuple[float, float, float]], up: str = "y") -> Model:
    corners, _, _, faces = meshes.cube()
    parts = []
    for low, high in spans:
        unit = (corners - corners.min(0)) / np.ptp(corners, axis=0)
        points = (np.array(low) + unit * np.subtract(high, low)) @ TURNS[up].T
        parts.append(make_part(points, faces, Material()))
    return Model(parts)


def chair(up: str) -> Model:
    """A seat on legs, with a back."""
    legs = [((x, 0.0, z), (x + 0.1, 0.5, z + 0.1)) for x in (-0.3, 0.2) for z in (-0.3, 0.2)]
    return boxes(*legs, ((-0.3, 0.5, -0.3), (0.3, 0.6, 0.3)), ((-0.3, 0.6, -0.3), (0.3, 1.2, -0.2)), up=up)


@pytest.mark.parametrize("form", ["stl", "obj", "ply", "off"])
@pytest.mark.parametrize("up", ["y", "z"])
def test_what_stands_on_the_ground_is_known_whatever_its_format(form: str, up: str) -> None:
    found = find_up(chair(up), form)
    assert (found.axis, found.sure) == (up, True)
    assert f"its lowest points have {up} = 0" in found.reason


def test_the_answer_depends_on_neither_scale_nor_order() -> None:
    model = chair("z")
    small = Model([make_part(part.positions * 1e-12, part.faces, Material()) for part in reversed(model.parts)])
    assert find_up(small, "ply") == find_up(model, "ply") == find_up(chair("z"), "ply")


def test_a_cube_is_a_guess_by_its_format() -> None:
    cube = boxes(((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0)))
    assert [(find_up(cube, form).axis, find_up(cube, form).sure) for form in ("stl", "obj")] == [
        ("z", False),
        ("y", False),
    ]


def test_a_poster_in_the_air_is_a_guess() -> None:
    """A plane has two equal halves, and as wide a base on each side."""
    assert not find_up(boxes(((-1.0, -1.0, 0.0), (1.0, 1.0, 0.0))), "ply").sure


def test_what_stands_on_x_is_never_sure() -> None:
    found = find_up(chair("x"), "ply")
    assert not found.sure and "x" in found.reason


@pytest.mark.parametrize(
    ("remark", "axis"),
    [
        ("Z-up", "z"), ("up axis: Y", "y"), ("upAxis=Z_UP", "z"), ("Y is up", "y"), ("z_up", "z"), ("up = +z", "z"),
        ("a setup y", ""), ("Zup2 y-upper", ""), ("updated: yesterday", ""),
    ],
)  # fmt: skip
def test_a_comment_that_names_the_axis_decides(remark: str, axis: str) -> None:
    model = chair("z" if axis == "y" else "y")
    model.remarks = remark
    assert find_up(model, "ply").axis == (axis or "y")
    assert (find_up(model, "ply").reason == "a comment in the file says so") == bool(axis)


def test_comments_come_from_the_file_and_its_libraries(tmp_path: Path) -> None:
    assert "y up" in meshes.model_of(b"# y up\n" + meshes.obj_cube(), tmp_path, "a.obj").remarks
    (tmp_path / "a.mtl").write_bytes(b"# Blender 3.6 MTL File\nnewmtl m\n")
    assert "Blender" in meshes.model_of(meshes.obj_cube("mtllib a.mtl\n"), tmp_path, "b.obj").remarks
    ply = meshes.ply_cube().replace(b"\nelement vertex", b"\ncomment z up\nelement vertex", 1)
    assert "z up" in meshes.model_of(ply, tmp_path, "a.ply").remarks
    assert "z up" in meshes.model_of(b"# z up\n" + meshes.off_cube(), tmp_path, "a.off").remarks
    stl = b"OpenSCAD_Model".ljust(80) + meshes.stl_cube()[80:]
    assert "OpenSCAD" in meshes.model_of(stl, tmp_path, "a.stl").remarks
    assert find_up(meshes.model_of(meshes.cube_gltf().glb(), tmp_path), "glb").sure
