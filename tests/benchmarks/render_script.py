"""The script that people write to render a mesh: trimesh loads, pyrender draws, every view becomes a PNG file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

_FOV = np.radians(40)
_DISTANCE = 3.0


def draw_as_people_do(path: Path, out: Path, directions: np.ndarray, size: int) -> None:
    """directions: [V, 3] where the cameras stand"""
    np.infty = np.inf  # pyrender 0.1.45 still uses a name that NumPy 2 has dropped
    import pyrender
    import trimesh
    from PIL import Image

    loaded = trimesh.load(path, force="scene")
    loaded.apply_translation(-loaded.bounds.mean(0))
    loaded.apply_scale(1 / np.linalg.norm(loaded.extents / 2))
    scene = pyrender.Scene.from_trimesh_scene(loaded, bg_color=(1.0, 1.0, 1.0, 0.0), ambient_light=(0.4, 0.4, 0.4))
    camera = scene.add(pyrender.PerspectiveCamera(yfov=_FOV))
    light = scene.add(pyrender.DirectionalLight(intensity=3.0))
    renderer = pyrender.OffscreenRenderer(size, size)
    try:
        for number, direction in enumerate(directions):
            pose = _pose(direction)
            scene.set_pose(camera, pose)
            scene.set_pose(light, pose)
            color, _ = renderer.render(scene, flags=pyrender.RenderFlags.RGBA)
            Image.fromarray(color).save(out / f"{number:03}.png")
    finally:
        renderer.delete()


def _pose(direction: np.ndarray) -> np.ndarray:
    """[4, 4] camera-to-world with OpenGL's axes, looking at the origin"""
    right = np.cross((0.0, 1.0, 0.0), direction)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(direction, right), direction], 1)
    pose[:3, 3] = direction * _DISTANCE
    return pose
