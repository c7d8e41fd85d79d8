"""Put the Gaussians of a patch in sequence: by x, y and z, along the Hilbert curve, or along the Z curve.

The cube around a patch's centre is divided into 1024 cells per side. Gaussians are sorted by the number of their cell
on the curve; those in the same cell keep their order, nearest to the centre first.
"""

from __future__ import annotations

from functools import cache

import torch

from stages.clip_gs.settings import SerialOrder

BITS = 10  # of a cell's number along an axis: three axes fit into 32 bits


def serialise(positions: torch.Tensor, order: SerialOrder) -> torch.Tensor:
    """[..., k] int64: indices that sort positions [..., k, 3], which are relative to the patch's centre."""
    cells = _cells(positions)
    numbers = {"xyz": xyz, "z": z_order, "hilbert": hilbert}[order](cells)
    return numbers.argsort(dim=-1, stable=True)


def _cells(positions: torch.Tensor) -> torch.Tensor:  # [..., k, 3] int32
    side = 1 << BITS
    radius = positions.abs().amax((-2, -1), keepdim=True).clamp_min(torch.finfo(positions.dtype).tiny)
    return ((positions / radius + 1) * (side / 2)).int().clamp_(0, side - 1)


def xyz(cells: torch.Tensor, bits: int = BITS) -> torch.Tensor:  # [...] int32 of [..., 3]
    x, y, z = cells.unbind(-1)
    return x << 2 * bits | y << bits | z


def z_order(cells: torch.Tensor) -> torch.Tensor:  # [...] int32 of [..., 3]
    """Interleave the bits of x, y and z, x first."""
    spread = (cells | cells << 16) & 0x030000FF
    spread = (spread | spread << 8) & 0x0300F00F
    spread = (spread | spread << 4) & 0x030C30C3
    x, y, z = ((spread | spread << 2) & 0x09249249).unbind(-1)
    return x << 2 | y << 1 | z


def hilbert(cells: torch.Tensor, bits: int = BITS) -> torch.Tensor:  # [...] int32 of [..., 3]
    """Go down from the largest eighth of the cube to the smallest; the orientation of the curve gives their order."""
    octants = z_order(cells)
    digits, followers = _steps(cells.device)
    state = number = torch.zeros_like(octants)
    for level in reversed(range(bits)):
        step = state * 8 + (octants >> 3 * level & 7)
        number = number << 3 | digits[step]
        state = followers[step]
    return number


@cache
def _steps(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """[192] each: for each of 24 orientations and each octant, its place on the curve, and the orientation inside it.

    An orientation is the octant where the curve enters and the axis along which it leaves. An octant's number has one
    bit per axis. The curve visits them in the order of the Gray code, rotated to fit entry and exit.
    """
    digits, followers = [], []
    for entry in range(8):
        for axis in range(3):
            turn = axis + 1
            for octant in range(8):
                digit = _gray_place(_rotated(octant ^ entry, -turn))
                digits.append(digit)
                first = entry ^ _rotated(_gray(2 * ((digit - 1) // 2)) if digit else 0, turn)
                last = (axis + (_trailing_ones(digit - 1 if digit % 2 == 0 else digit) if digit else 0) + 1) % 3
                followers.append(first * 3 + last)
    return (
        torch.tensor(digits, dtype=torch.int32, device=device),
        torch.tensor(followers, dtype=torch.int32, device=device),
    )


def _rotated(three_bits: int, by: int) -> int:
    by %= 3
    return (three_bits << by | three_bits >> 3 - by) & 7


def _gray(number: int) -> int:
    return number ^ number >> 1


def _gray_place(code: int) -> int:
    return next(number for number in range(8) if _gray(number) == code)


def _trailing_ones(number: int) -> int:
    count = 0
    while number >> count & 1:
        count += 1
    return count % 3
