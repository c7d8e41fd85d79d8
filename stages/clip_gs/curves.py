"""Orders that a patch's Gaussians stand in: along x, y, z, along the Hilbert curve, and along Z.

A patch lies in a cube of its own, about its centre, of 1024 cells a side. Along a curve means by the number of the cell
on it; what shares a cell stays as it stood, nearest to the centre first.
"""

from __future__ import annotations

from functools import cache

import torch

from stages.clip_gs.settings import Order

BITS = 10  # of a cell's number along an axis: three axes fit into 32 bits


def order(places: torch.Tensor, curve: Order) -> torch.Tensor:
    """[..., k] int64, indices of places [..., k, 3] about their patch's centre."""
    cells = _cells(places)
    numbers = {"xyz": xyz, "z": z_order, "hilbert": hilbert}[curve](cells)
    return numbers.argsort(dim=-1, stable=True)


def _cells(places: torch.Tensor) -> torch.Tensor:  # [..., k, 3] int32
    side = 1 << BITS
    radius = places.abs().amax((-2, -1), keepdim=True).clamp_min(torch.finfo(places.dtype).tiny)
    return ((places / radius + 1) * (side / 2)).int().clamp_(0, side - 1)


def xyz(cells: torch.Tensor, bits: int = BITS) -> torch.Tensor:  # [...] int32 of [..., 3]
    x, y, z = cells.unbind(-1)
    return x << 2 * bits | y << bits | z


def z_order(cells: torch.Tensor) -> torch.Tensor:  # [...] int32 of [..., 3]
    """The bits of x, y and z in turn, x foremost."""
    spread = (cells | cells << 16) & 0x030000FF
    spread = (spread | spread << 8) & 0x0300F00F
    spread = (spread | spread << 4) & 0x030C30C3
    x, y, z = ((spread | spread << 2) & 0x09249249).unbind(-1)
    return x << 2 | y << 1 | z


def hilbert(cells: torch.Tensor, bits: int = BITS) -> torch.Tensor:  # [...] int32 of [..., 3]
    """From the largest cube of eight to the smallest: which of them comes when depends on how the curve lies there."""
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
    """For each of 24 ways the curve can lie in a cube and each octant: its turn [192], and how the curve lies in it.

    A way is the octant where the curve enters and the axis along which it leaves. Octants are numbered by a bit an
    axis. The curve visits them in the order of the Gray code, turned so that it enters and leaves where it should.
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
    return tuple(torch.tensor(table, dtype=torch.int32, device=device) for table in (digits, followers))


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
