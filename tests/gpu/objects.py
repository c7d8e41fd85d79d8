"""Objects that are ready to be fitted, in a compact form: views, cameras and a start, without depth.

Views are AVIF: lossy for the views that a fit trains on, finer for those that it is measured on. A start is stored as
points, normals and colours in few bits each; the Gaussians are made from them when the object is read.
"""

from __future__ import annotations

import io
import lzma
import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from stages.artifacts.splat import SH_ZERO, Splat
from stages.artifacts.views import Views
from stages.fitting.photos import Photos
from stages.fitting.sampling import farthest_first
from stages.fitting.start import gaussians_at

SUFFIX = ".object.zip"
_TRAINING_QUALITY, _HELD_OUT_QUALITY = 65, 85
_SPEED = 6  # of the AVIF encoder: 0.25 s a view at 512²
_MEAN_STEPS, _NORMAL_STEPS, _COLOR_STEPS = 8191, 127, 63  # 13, 7 and 6 bits
_BOUND = 1.1  # means lie within this distance of the centre along each axis


@dataclass(frozen=True)
class FitObject:
    name: str
    training: Photos
    held_out: Photos
    start: Splat


def write_object(path: Path, training: Photos, held_out: Photos, start: Splat) -> None:
    """Write one object, whole or not at all."""
    part = path.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("start.xz", _start_to_bytes(start))
        for title, photos, quality in (
            ("training", training, _TRAINING_QUALITY),
            ("held_out", held_out, _HELD_OUT_QUALITY),
        ):
            cameras = {"intrinsics": photos.intrinsics, "world_to_camera": photos.world_to_camera}
            archive.writestr(f"{title}.xz", _arrays_to_bytes(cameras))
            for index, colors in enumerate(photos.colors):
                archive.writestr(f"{title}_{index:03d}.avif", _avif(colors, quality))
    part.replace(path)


def read_object(path: Path) -> FitObject:
    with zipfile.ZipFile(path) as archive:
        sets = []
        for title in ("training", "held_out"):
            cameras = _arrays_from_bytes(archive.read(f"{title}.xz"))
            names = [f"{title}_{index:03d}.avif" for index in range(len(cameras["intrinsics"]))]
            colors = np.stack(
                [np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGBA")) for name in names]
            )
            sets.append(Photos(colors, np.zeros(colors.shape[:3], np.float32), **cameras))
        return FitObject(path.name.removesuffix(SUFFIX), *sets, _start_from_bytes(archive.read("start.xz")))


def read_objects(paths: Iterable[Path], threads: int) -> list[FitObject]:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(read_object, paths))


def halved(whole: FitObject, views: int, gaussians: int) -> FitObject:
    """The object at half the size, from about so many of its views: pixels are means of four."""
    share = views / (len(whole.training) + len(whole.held_out))
    chosen = farthest_first(
        np.concatenate([whole.start.means, 0.3 * whole.start.sh[:, 0] * SH_ZERO], axis=1), gaussians
    )
    start = whole.start.take(chosen)
    known = start.opacity_logits[:, None] > 0
    return FitObject(
        whole.name,
        _half_as_large(whole.training, share),
        _half_as_large(whole.held_out, share),
        gaussians_at(start.means, normals_of(start) * known, start.sh[:, 0] * SH_ZERO + 0.5),
    )


def _half_as_large(photos: Photos, share: float) -> Photos:
    count = max(1, round(len(photos) * share))
    kept = photos.take(np.linspace(0, len(photos) - 1, count).round().astype(int))
    height, width = kept.colors.shape[1:3]
    premultiplied = kept.colors.astype(np.float32)
    premultiplied[..., :3] *= premultiplied[..., 3:] / 255
    small = premultiplied.reshape(count, height // 2, 2, width // 2, 2, 4).mean((2, 4))
    small[..., :3] *= 255 / np.maximum(small[..., 3:], 1e-3)
    intrinsics = kept.intrinsics.copy()
    intrinsics[:, :2] /= 2
    colors = np.clip(np.round(small), 0, 255).astype(np.uint8)
    return Photos(colors, np.zeros(colors.shape[:3], np.float32), intrinsics, kept.world_to_camera)


def _avif(colors: np.ndarray, quality: int) -> bytes:
    """[H, W, 4] uint8. Pixels that are clear are white, which costs the fewest bytes at the object's edge."""
    shown = np.where(colors[..., 3:] > 0, colors, np.uint8([255, 255, 255, 0]))
    buffer = io.BytesIO()
    Image.fromarray(shown).save(buffer, "AVIF", quality=quality, speed=_SPEED, subsampling="4:4:4", max_threads=1)
    return buffer.getvalue()


def _start_to_bytes(start: Splat) -> bytes:
    """Sorted along a space-filling curve, so that neighbours differ little and compress well."""
    means = np.round((np.clip(start.means / _BOUND, -1, 1) + 1) / 2 * _MEAN_STEPS).astype(np.int32)
    order = np.argsort(_morton(means), kind="stable")
    normals = _octahedral(normals_of(start))
    colors = np.clip(start.sh[:, 0] * SH_ZERO + 0.5, 0, 1)
    arrays = {
        "means": np.diff(means[order], axis=0, prepend=0).astype(np.int16).T,
        "normals": np.round((normals[order] + 1) / 2 * _NORMAL_STEPS).astype(np.uint8).T,
        "colors": np.round(colors[order] * _COLOR_STEPS).astype(np.uint8).T,
        "on_surface": np.packbits(start.opacity_logits[order] > 0),
    }
    return _arrays_to_bytes(arrays)


def _start_from_bytes(data: bytes) -> Splat:
    arrays = _arrays_from_bytes(data)
    means = np.cumsum(arrays["means"].T.astype(np.int32), axis=0) / _MEAN_STEPS * 2 - 1
    normals = _from_octahedral(arrays["normals"].T / _NORMAL_STEPS * 2 - 1)
    normals[np.unpackbits(arrays["on_surface"], count=len(means)) == 0] = 0
    return gaussians_at(means * _BOUND, normals, arrays["colors"].T / _COLOR_STEPS)


def normals_of(start: Splat) -> np.ndarray:
    """[N, 3]: where the third axis of each Gaussian points."""
    w, x, y, z = start.quaternions.astype(np.float64).T
    return np.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], axis=1)


def _octahedral(normals: np.ndarray) -> np.ndarray:
    """[N, 2] within -1 and 1: the sphere laid out as an octahedron and folded open."""
    normals = normals / np.maximum(np.abs(normals).sum(1, keepdims=True), 1e-9)
    folded = (1 - np.abs(normals[:, 1::-1])) * np.where(normals[:, :2] >= 0, 1, -1)
    return np.where(normals[:, 2:] >= 0, normals[:, :2], folded)


def _from_octahedral(places: np.ndarray) -> np.ndarray:
    """[N, 3] of length 1."""
    height = 1 - np.abs(places).sum(1, keepdims=True)
    folded = (1 - np.abs(places[:, ::-1])) * np.where(places >= 0, 1, -1)
    normals = np.concatenate([np.where(height >= 0, places, folded), height], axis=1)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def _morton(cells: np.ndarray) -> np.ndarray:
    """[N]: the bits of three coordinates in turn."""
    code = np.zeros(len(cells), np.int64)
    for bit in range(13):
        for axis in range(3):
            code |= ((cells[:, axis].astype(np.int64) >> bit) & 1) << (3 * bit + axis)
    return code


def _arrays_to_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **{name: np.ascontiguousarray(array) for name, array in arrays.items()})
    return lzma.compress(buffer.getvalue(), preset=9)


def _arrays_from_bytes(data: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(lzma.decompress(data))) as archive:
        return {name: archive[name] for name in archive.files}


def views_of(one: FitObject, count: int) -> Views:
    """So many views as the stage render writes them, with PNGs and empty depth; the same ones again for more."""
    photos = one.training.take([index % len(one.training) for index in range(count)])
    colors, depths = (
        [_png(image) for image in photos.colors],
        [_png(image.astype(np.uint16)) for image in photos.depths],
    )
    return Views(colors, depths, photos.intrinsics, np.linalg.inv(photos.world_to_camera), 1.0, np.eye(4))


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
