"""The artifact of render: a zip of views, depth images and their cameras."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass

import numpy as np
from PIL import Image

from stages.artifacts import bundle


@dataclass(frozen=True)
class Views:
    """V views of one object in the unit sphere. Cameras look along +z with x right and y down (OpenCV)."""

    colors: list[bytes]  # V PNGs, RGBA 8 bit, straight alpha
    depths: list[bytes]  # V PNGs, 16 bit, along the camera's axis; 0 where empty
    intrinsics: np.ndarray  # [V, 3, 3] float32, pixels; pixel centres at +0.5
    camera_to_world: np.ndarray  # [V, 4, 4] float32
    depth_scale: float  # length of one depth step, in sphere radii
    normalization: np.ndarray  # [4, 4] float64, source frame to unit sphere

    def color_pixels(self) -> np.ndarray:
        """[V, H, W, 4] uint8"""
        return np.stack([np.asarray(open_png(png).convert("RGBA")) for png in self.colors])

    def pictures(self) -> list[Image.Image]:
        """V pictures without alpha, on white, for models that were trained on photographs."""
        shown = []
        for png in self.colors:
            picture = open_png(png).convert("RGBA")
            shown.append(Image.new("RGB", picture.size, "white"))
            shown[-1].paste(picture, mask=picture.getchannel("A"))
        return shown

    def depth_pixels(self) -> np.ndarray:
        """[V, H, W] float32, 0 where empty"""
        steps = np.stack([np.asarray(open_png(png)) for png in self.depths])
        return steps.astype(np.float32) * np.float32(self.depth_scale)

    def to_bytes(self) -> bytes:
        cameras = {
            "intrinsics": self.intrinsics.astype(float).tolist(),
            "camera_to_world": self.camera_to_world.astype(float).tolist(),
            "depth_scale": float(self.depth_scale),
            "normalization": self.normalization.astype(float).tolist(),
        }
        colors = {f"color_{index:03d}.png": png for index, png in enumerate(self.colors)}
        depths = {f"depth_{index:03d}.png": png for index, png in enumerate(self.depths)}
        return bundle.pack({**colors, **depths, "cameras.json": json.dumps(cameras).encode()})

    @staticmethod
    def from_bytes(data: bytes) -> Views:
        """Read what `to_bytes` wrote; raise DamagedFile if it is damaged."""
        members = bundle.unpack(data)
        with bundle.damage_of("the views"):
            cameras = json.loads(members["cameras.json"])
            count = len(cameras["intrinsics"])
            return Views(
                colors=[members[f"color_{index:03d}.png"] for index in range(count)],
                depths=[members[f"depth_{index:03d}.png"] for index in range(count)],
                intrinsics=np.array(cameras["intrinsics"], np.float32).reshape(count, 3, 3),
                camera_to_world=np.array(cameras["camera_to_world"], np.float32).reshape(count, 4, 4),
                depth_scale=float(cameras["depth_scale"]),
                normalization=np.array(cameras["normalization"], np.float64).reshape(4, 4),
            )


def open_png(png: bytes) -> Image.Image:
    """Decode a picture; raise DamagedFile if it is damaged."""
    with bundle.damage_of("a picture"):
        picture = Image.open(io.BytesIO(png), formats=("PNG",))
        picture.load()
        return picture
