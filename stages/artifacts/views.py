"""The artifact of render: an uncompressed zip of PNG views, 16-bit PNG depth, and the cameras they were seen from."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass

import numpy as np
from PIL import Image

_MOMENT = (1980, 1, 1, 0, 0, 0)  # zip members carry a time; a fixed one keeps equal views equal bytes


@dataclass(frozen=True)
class Views:
    """V views of one object in the unit sphere. Cameras look along +z with x right and y down (OpenCV)."""

    colors: list[bytes]  # V PNGs, RGBA 8 bit, straight alpha
    depths: list[bytes]  # V PNGs, 16 bit, along the camera's axis; 0 where empty
    intrinsics: np.ndarray  # [V, 3, 3] float32, pixels; pixel centres at +0.5
    camera_to_world: np.ndarray  # [V, 4, 4] float32
    depth_scale: float  # metres (sphere radii) of one depth step
    normalization: np.ndarray  # [4, 4] float64, source frame to unit sphere

    def color_pixels(self) -> np.ndarray:
        """[V, H, W, 4] uint8"""
        return np.stack([np.asarray(Image.open(io.BytesIO(png)).convert("RGBA")) for png in self.colors])

    def pictures(self) -> list[Image.Image]:
        """V pictures without alpha, on white: what models that were made for photographs are shown."""
        shown = []
        for png in self.colors:
            picture = Image.open(io.BytesIO(png)).convert("RGBA")
            shown.append(Image.new("RGB", picture.size, "white"))
            shown[-1].paste(picture, mask=picture.getchannel("A"))
        return shown

    def depth_pixels(self) -> np.ndarray:
        """[V, H, W] float32, 0 where empty"""
        steps = np.stack([np.asarray(Image.open(io.BytesIO(png))) for png in self.depths])
        return steps.astype(np.float32) * np.float32(self.depth_scale)

    def to_bytes(self) -> bytes:
        cameras = {
            "intrinsics": self.intrinsics.astype(float).tolist(),
            "camera_to_world": self.camera_to_world.astype(float).tolist(),
            "depth_scale": float(self.depth_scale),
            "normalization": self.normalization.astype(float).tolist(),
        }
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for index, png in enumerate(self.colors):
                archive.writestr(zipfile.ZipInfo(f"color_{index:03d}.png", _MOMENT), png)
            for index, png in enumerate(self.depths):
                archive.writestr(zipfile.ZipInfo(f"depth_{index:03d}.png", _MOMENT), png)
            archive.writestr(zipfile.ZipInfo("cameras.json", _MOMENT), json.dumps(cameras))
        return buffer.getvalue()

    @staticmethod
    def from_bytes(data: bytes) -> Views:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            cameras = json.loads(archive.read("cameras.json"))
            count = len(cameras["intrinsics"])
            return Views(
                colors=[archive.read(f"color_{index:03d}.png") for index in range(count)],
                depths=[archive.read(f"depth_{index:03d}.png") for index in range(count)],
                intrinsics=np.array(cameras["intrinsics"], np.float32),
                camera_to_world=np.array(cameras["camera_to_world"], np.float32),
                depth_scale=cameras["depth_scale"],
                normalization=np.array(cameras["normalization"], np.float64),
            )
