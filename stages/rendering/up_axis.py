"""Decide whether y or z points up in a mesh, by its format, its comments and its shape.

Each sign gives the axes scores. Their weights are rounded from a logistic regression over real meshes that were turned
(docs/benchmarks.md): a score is a logarithm of odds. A row is decided by its own file alone, so that it stays as it is
when others join it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stages.meshes.model import Model

_SURE = 1.5  # how far an axis must lead before the others for its choice to be no guess
_ON_GROUND = 4.0
_ON_WIDE_BASE = 2.0
_UNLIKE_HALVES = 4.0
_WRITTEN_BY = 1.5
_USUAL = {"stl": ("z", 1.0), "off": ("z", 0.5), "obj": ("y", 1.0)}  # as most files of these formats are

_NAMES_AXIS = re.compile(
    r"\bup[ _-]?(?:axis|vector)?[ ]*(?:is|[:=])?[ ]*\+?([xyz])(?![a-z0-9])"
    r"|(?<![a-z0-9])([xyz])[ _-]?(?:axis[ _-]?)?(?:is[ _-])?up(?![a-z0-9])",
    re.IGNORECASE,
)
_PROGRAMS = (  # that write comments, and the axis that points up unless their users choose another
    ("Blender", r"\bblender\b", {"obj": "y", "stl": "z", "ply": "z"}),
    ("Maya", r"\bmaya\b", {"obj": "y"}),
    ("3ds Max", r"\b3ds ?max\b", {"obj": "y"}),
    ("ZBrush", r"\bzbrush\b", {"obj": "y"}),
    ("OpenSCAD", r"\bopenscad", {"obj": "z", "stl": "z", "off": "z"}),
    ("FreeCAD", r"\bfreecad\b", {"obj": "z", "stl": "z", "ply": "z", "off": "z"}),
)

_SAMPLES = 4096  # points on the surface
_CELLS = 13  # along each axis, in which points are counted; odd, so that a plane has its own image
_GROUND_BAND = 0.005  # of the diagonal
_BASE_BAND = 0.01


@dataclass(frozen=True)
class UpAxis:
    axis: str  # y or z
    reason: str
    sure: bool


@dataclass(frozen=True)
class _Sign:
    """What speaks for axes: a score for each, and a sentence about the one that is chosen."""

    scores: dict[str, float]
    text: str

    def lead(self, axis: str, other: str) -> float:
        return self.scores.get(axis, 0.0) - self.scores.get(other, 0.0)


def find_up(model: Model, form: str) -> UpAxis:
    """The axis that points up. The points must be finite and not all at one place."""
    if model.y_up:
        return UpAxis("y", f"{form} defines it", True)
    named = "".join(next(iter(_NAMES_AXIS.findall(model.remarks)), ())).lower()
    if named in ("y", "z"):
        return UpAxis(named, "a comment in the file says so", True)
    signs = [*_signs_of_file(model.remarks, form), *_signs_of_shape(model)]
    axis, other = ("z", "y") if _lead(signs, "z", "y") > 0 else ("y", "z")
    if named == "x" or _lead(signs, "x", axis) >= _SURE:
        said = "a comment in the file says x" if named else "it looks as if it stood on x"
        return UpAxis(axis, f"{said}, and only y and z can be chosen", False)
    if _lead(signs, axis, other) < _SURE:
        return UpAxis(axis, "its format and shape hardly tell y from z", False)
    strongest = sorted(signs, key=lambda sign: -sign.lead(axis, other))[:2]
    texts = [sign.text.format(axis=axis) for sign in strongest if sign.lead(axis, other) >= _SURE / 2]
    return UpAxis(axis, " and ".join(texts) or "several weak signs agree", True)


def _lead(signs: list[_Sign], axis: str, other: str) -> float:
    return sum(sign.lead(axis, other) for sign in signs)


def _signs_of_file(remarks: str, form: str) -> Iterator[_Sign]:
    if form in _USUAL:
        axis, score = _USUAL[form]
        yield _Sign({axis: score}, f"most {form.upper()} files have {{axis}} up")
    for program, pattern, axes in _PROGRAMS:
        if form in axes and re.search(pattern, remarks, re.IGNORECASE):
            yield _Sign({axes[form]: _WRITTEN_BY}, f"{program} wrote it, which has {{axis}} up by default")


def _signs_of_shape(model: Model) -> Iterator[_Sign]:
    corners = np.concatenate([part.positions[part.faces].reshape(-1, 3) for part in model.parts if len(part.faces)])
    low, high = corners.min(0), corners.max(0)
    size = high - low
    diagonal = float(np.sqrt((size / size.max()) @ (size / size.max())) * size.max())
    rises = size > _GROUND_BAND * diagonal  # a plane through 0 does not
    ground = (abs(low) < _GROUND_BAND * diagonal) & rises
    yield _Sign(_by_axis(_ON_GROUND * ground), "its lowest points have {axis} = 0")
    base = [_base(corners, axis, low, size, diagonal) for axis in range(3)]
    yield _Sign(_by_axis(_ON_WIDE_BASE * np.array(base)), "its lowest points along {axis} reach around its outline")
    halves = _UNLIKE_HALVES * _difference_of_halves(_samples(corners), low, size)
    yield _Sign(_by_axis(halves), "its lower and upper half along {axis} differ")


def _by_axis(scores: np.ndarray) -> dict[str, float]:
    return dict(zip("xyz", scores.tolist(), strict=True))


def _base(corners: np.ndarray, axis: int, low: np.ndarray, size: np.ndarray, diagonal: float) -> float:
    """How much of the outline, as seen along an axis, the box around the lowest points covers."""
    across = [other for other in range(3) if other != axis]
    lowest = corners[corners[:, axis] <= low[axis] + _BASE_BAND * diagonal][:, across]
    slack = _BASE_BAND * diagonal  # a needle may stand on its point
    return float(np.prod((lowest.max(0) - lowest.min(0) + slack) / (size[across] + slack)))


def _samples(corners: np.ndarray) -> np.ndarray:
    """[_SAMPLES, 3]: points spread evenly over the surface, the same ones each time."""
    first, second, third = (corners[start::3] for start in range(3))
    scale = float(abs(corners - corners[0]).max())
    normals = np.cross((second - first) / scale, (third - first) / scale)
    areas = np.cumsum(np.sqrt((normals**2).sum(1)))
    steps = np.arange(_SAMPLES)
    chosen = np.searchsorted(areas, (steps + 0.5) / _SAMPLES * areas[-1])
    chosen = np.minimum(chosen, len(first) - 1)
    along, across = (np.modf(steps * step)[0][:, None] for step in (0.7548776662466927, 0.5698402909980532))
    along = np.sqrt(along)
    return (1 - along) * first[chosen] + along * ((1 - across) * second[chosen] + across * third[chosen])


def _difference_of_halves(points: np.ndarray, low: np.ndarray, size: np.ndarray) -> np.ndarray:
    """[3]: by axis, the share of points without a mirror image on the other side of the middle."""
    middle = low + size / 2
    size = np.maximum(size, 1e-3 * size.max())
    cells = np.clip(((points - middle) / size + 0.5) * _CELLS, 0, _CELLS - 1).astype(np.int64)
    counts = np.zeros((_CELLS,) * 3)
    np.add.at(counts, tuple(cells.T), 1)
    return np.array([abs(counts - np.flip(counts, axis)).sum() for axis in range(3)]) / (2 * len(points))
