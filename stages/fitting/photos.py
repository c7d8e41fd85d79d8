"""Read the views of one object into arrays of pixels, depth and cameras, and check them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from manifests.outcomes import DamagedFile
from stages.artifacts.views import Views
from stages.contract.stage import StageError


@dataclass(frozen=True)
class Photos:
    """V images of one size with their cameras (OpenCV axes, pixel centres at +0.5)."""

    colors: np.ndarray  # [V, H, W, 4] uint8, straight alpha
    depths: np.ndarray  # [V, H, W] float32, along the axis; 0 where unknown
    intrinsics: np.ndarray  # [V, 3, 3] float32
    world_to_camera: np.ndarray  # [V, 4, 4] float32

    def __len__(self) -> int:
        return len(self.colors)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.colors.shape[1], self.colors.shape[2]

    def take(self, indices: Sequence[int]) -> Photos:
        at = np.array(indices, np.int64)
        return Photos(self.colors[at], self.depths[at], self.intrinsics[at], self.world_to_camera[at])


def read_photos(name: str, data: bytes) -> Photos:
    """Read the artifact of render; raise DamagedFile if it is damaged, StageError if it cannot be fitted."""
    return photos_of(Views.from_bytes(data), name)


def photos_of(views: Views, name: str = "the object") -> Photos:
    """The arrays of some views; raise DamagedFile or StageError as `read_photos` does."""
    if not views.colors:
        raise StageError("empty_views", f"{name} has no views: expected at least one")
    try:
        colors, depths = views.color_pixels(), views.depth_pixels()
    except DamagedFile:
        raise
    except ValueError as error:  # numpy cannot stack them
        raise StageError("unequal_views", f"{name} has views of unequal size: expected one size ({error})") from error
    if depths.shape != colors.shape[:3]:
        raise StageError(
            "unequal_views",
            f"{name} has depth images of {_size(depths)} for views of {_size(colors)}: expected the same size",
        )
    cameras = views.camera_to_world.astype(np.float64)
    good = np.isfinite(cameras).all() and np.isfinite(views.intrinsics).all()
    if not good or (abs(np.linalg.det(cameras)) < 1e-6).any() or (views.intrinsics[:, [0, 1], [0, 1]] <= 0).any():
        raise StageError(
            "bad_cameras", f"{name} has a camera that is not a finite, invertible pose with a focal length"
        )
    return Photos(colors, depths, views.intrinsics, np.linalg.inv(cameras).astype(np.float32))


def _size(images: np.ndarray) -> str:
    return f"{images.shape[2]} x {images.shape[1]} pixels"
