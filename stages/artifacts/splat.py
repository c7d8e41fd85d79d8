"""The parameters of N Gaussians, and how they are written to and read from a PLY file."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

SH_ZERO = 0.28209479177387814  # the constant spherical harmonic: RGB = SH_ZERO * sh[0] + 0.5


@dataclass(frozen=True)
class Splat:
    """The parameters that an INRIA PLY holds: log scales, opacity logits, quaternions wxyz; all float32."""

    means: np.ndarray  # [N, 3]
    log_scales: np.ndarray  # [N, 3]
    quaternions: np.ndarray  # [N, 4]
    opacity_logits: np.ndarray  # [N]
    sh: np.ndarray  # [N, K, 3], K = (degree + 1) squared

    def __len__(self) -> int:
        return len(self.means)

    @property
    def degree(self) -> int:
        return math.isqrt(self.sh.shape[1]) - 1

    def take(self, indices: np.ndarray) -> Splat:
        """These Gaussians, in this order."""
        return Splat(
            self.means[indices], self.log_scales[indices], self.quaternions[indices],
            self.opacity_logits[indices], self.sh[indices],
        )  # fmt: skip

    def first(self, share: float) -> Splat:
        """The first `share` of them, enlarged so that they cover the same area as all of them."""
        count = max(1, math.ceil(len(self) * share))
        kept = self.take(np.arange(min(count, len(self))))
        grown = kept.log_scales + np.float32(0.5 * math.log(max(len(self), 1) / count))
        return replace(kept, log_scales=grown)

    def is_finite(self) -> bool:
        parts = (self.means, self.log_scales, self.quaternions, self.opacity_logits, self.sh)
        return all(bool(np.isfinite(part).all()) for part in parts)

    def to_ply(self) -> bytes:
        """Write an INRIA PLY; f_rest is ordered by channel first."""
        count, harmonics, _ = self.sh.shape
        rest = self.sh[:, 1:].transpose(0, 2, 1).reshape(count, 3 * (harmonics - 1))
        columns = [
            self.means, np.zeros((count, 3)), self.sh[:, 0], rest,
            self.opacity_logits[:, None], self.log_scales, self.quaternions,
        ]  # fmt: skip
        table = np.concatenate(columns, axis=1).astype("<f4")
        properties = "".join(f"property float {name}\n" for name in _properties(harmonics))
        header = f"ply\nformat binary_little_endian 1.0\nelement vertex {count}\n{properties}end_header\n"
        return header.encode("ascii") + table.tobytes()

    @staticmethod
    def from_ply(data: bytes) -> Splat:
        """Read a splat's PLY, with its properties in any order; raise ValueError if it is not one."""
        names, count, body = _read_header(data)
        harmonics = 1 + sum(name.startswith("f_rest_") for name in names) // 3
        missing = [name for name in _properties(harmonics) if name not in names and name not in ("nx", "ny", "nz")]
        if missing:
            raise ValueError(f"splat PLY lacks the property {missing[0]}")
        if harmonics not in (1, 4, 9, 16):
            raise ValueError(f"splat PLY has {3 * harmonics - 3} f_rest properties, expected 0, 9, 24 or 45")
        if len(body) != count * len(names) * 4:
            raise ValueError(
                f"splat PLY has {len(body)} bytes for {count} Gaussians, expected {count * len(names) * 4}"
            )
        table = np.frombuffer(body, "<f4").reshape(count, len(names))

        def columns(*wanted: str) -> np.ndarray:
            return np.ascontiguousarray(table[:, [names.index(name) for name in wanted]], np.float32)

        rest = columns(*(f"f_rest_{k}" for k in range(3 * harmonics - 3))).reshape(count, 3, harmonics - 1)
        return Splat(
            means=columns("x", "y", "z"),
            log_scales=columns("scale_0", "scale_1", "scale_2"),
            quaternions=columns("rot_0", "rot_1", "rot_2", "rot_3"),
            opacity_logits=columns("opacity")[:, 0],
            sh=np.concatenate([columns("f_dc_0", "f_dc_1", "f_dc_2")[:, None], rest.transpose(0, 2, 1)], axis=1),
        )


def _properties(harmonics: int) -> list[str]:
    rest = [f"f_rest_{k}" for k in range(3 * harmonics - 3)]
    names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", *rest, "opacity"]
    return names + [f"scale_{k}" for k in range(3)] + [f"rot_{k}" for k in range(4)]


def _read_header(data: bytes) -> tuple[list[str], int, bytes]:
    """Property names, number of Gaussians, and the bytes after the header."""
    mark = b"end_header\n"
    end = data[:65536].find(mark)
    if not data.startswith(b"ply\n") or end < 0:
        raise ValueError("not a PLY file: expected it to start with 'ply' and to have an 'end_header' line")
    lines = data[:end].decode("ascii", "replace").splitlines()[1:]
    names: list[str] = []
    count = -1
    for words in (line.split() for line in lines):
        if words[:1] == ["format"] and words[1:] != ["binary_little_endian", "1.0"]:
            raise ValueError(f"splat PLY has the format {' '.join(words[1:])!r}, expected 'binary_little_endian 1.0'")
        if words[:1] == ["element"]:
            if words[1:2] != ["vertex"] or len(words) != 3 or not words[2].isdigit() or count >= 0:
                raise ValueError(f"splat PLY has {' '.join(words)!r}, expected one 'element vertex COUNT'")
            count = int(words[2])
        if words[:1] == ["property"]:
            if len(words) != 3 or words[1] not in ("float", "float32"):
                raise ValueError(f"splat PLY has {' '.join(words)!r}, expected 'property float NAME'")
            names.append(words[2])
    if count < 0:
        raise ValueError("splat PLY has no 'element vertex COUNT' line")
    return names, count, data[end + len(mark) :]
