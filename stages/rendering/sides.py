"""Decide whether single-sided surfaces are drawn from both sides, by what a few views show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_NEARER = 1e-3  # radii: coincident faces differ by less
_CLOSE = 0.1  # radii: an outline hull is closer to the object inside it
_MOST_HOLES = 0.005  # share of the pixels that show the object
_HULL = 2.0  # of an outline hull, this many times as many pixels have the object close behind as not


@dataclass
class Sides:
    """Pixels, over some views of an object, where a face that the author does not draw from behind is the nearest."""

    holes: int = 0  # behind the face is nothing, or a surface far away
    covered: int = 0  # another surface is close behind, as where a hull is drawn around the object as its outline
    shown: int = 0  # with these, all pixels that show the object

    def add(self, drawn: np.ndarray, nearest: np.ndarray) -> None:
        """Add a view: [H, W] depths, 0 where empty, of what the author draws, and with all faces from behind."""
        culled = (nearest > 0) & ((drawn == 0) | (drawn - nearest > _NEARER))
        close = culled & (drawn > 0) & (drawn - nearest <= _CLOSE)
        self.holes += int((culled & ~close).sum())
        self.covered += int(close.sum())
        self.shown += int((nearest > 0).sum())

    @property
    def share(self) -> float:
        """The share of the object's pixels that show a hole."""
        return self.holes / self.shown if self.shown else 0.0

    @property
    def culled(self) -> float:
        """The share of the object's pixels where a culled face is the nearest."""
        return (self.holes + self.covered) / self.shown if self.shown else 0.0

    @property
    def best(self) -> str:
        """`both` if culling opens the surface, `author` if it does not, or if an outline hull would be seen."""
        return "both" if self.share > _MOST_HOLES and _HULL * self.holes > self.covered else "author"
