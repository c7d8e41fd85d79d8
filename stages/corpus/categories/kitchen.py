"""Model the categories mug, bottle, vase, bowl and teapot."""

from __future__ import annotations

import numpy as np

from stages.corpus.draw import Category, Draw, Traits
from stages.corpus.shapes import arc, ball, cylinder, lathe, ring, tube
from stages.corpus.solid import Solid


def _vessel(outside: list[tuple[float, float]], wall: float = 0.05) -> list[tuple[float, float]]:
    """The closed profile of an open vessel: up the outside, over the rim, down the inside."""
    inside = [(max(radius - wall, 0.02), max(y, wall)) for radius, y in reversed(outside[1:])]
    return [*outside, *inside, (0.0, inside[-1][1])]


def _handle(x: float, y: float, wide: float, high: float, thick: float) -> Solid:
    """A C-shaped handle on the +x side, its ends inside the body."""
    turn = np.radians(np.linspace(-100, 100, 16))
    path = [(x + wide * np.cos(t), y + high / 2 * np.sin(t), 0.0) for t in turn]
    return tube(path, thick, 10)


def _mug(draw: Draw) -> Traits:
    radius, high = draw.between(0.45, 0.65), draw.between(0.95, 1.35)
    flare = draw.pick((0.85, 1.0, 1.0, 1.12))
    low = radius / flare
    outside = [(0, 0), (low - 0.04, 0), (low, 0.04), (radius, high - 0.02), (radius - 0.02, high)]
    draw.add(lathe(_vessel(outside, 0.06), 36), draw.main)
    draw.add(
        _handle(radius - 0.06, high * 0.5, draw.between(0.3, 0.42), high * draw.between(0.5, 0.7), 0.075), draw.trim
    )
    full = draw.chance(0.5)
    if full:
        draw.add(cylinder(radius - 0.09, 0.05).at(y=high * 0.82), draw.fixed("brown"))
    shape = "tall" if high / radius > 2.4 else "wide" if high / radius < 1.9 else ""
    return Traits(shape, "a handle", ("coffee in it",) if full else ("a rounded handle",))


def _bottle(draw: Draw) -> Traits:
    radius, body, high = draw.between(0.32, 0.48), draw.between(0.9, 1.2), draw.between(1.6, 1.95)
    neck = draw.between(0.1, 0.16)
    shoulder = draw.between(0.15, 0.3)
    profile = [
        (0, 0),
        (radius - 0.05, 0),
        (radius, 0.06),
        (radius, body),
        (radius * 0.92, body + shoulder * 0.4),
        (neck * 1.25, body + shoulder),
        (neck, body + shoulder + 0.08),
        (neck, high),
        (0, high),
    ]
    draw.add(lathe(profile, 32), draw.main)
    cork = draw.chance(0.4)
    if cork:
        draw.add(cylinder(neck * 0.85, 0.2).at(y=high - 0.05), draw.fixed("brown"))
    else:
        draw.add(cylinder(neck + 0.035, 0.2, bevel=0.02).at(y=high - 0.12), draw.trim)
    shape = "slim" if radius < 0.37 else "thick" if radius > 0.43 else ""
    return Traits(shape, "" if cork else "a cap", ("a cork",) if cork else ("a narrow neck",))


def _vase(draw: Draw) -> Traits:
    belly, neck, high = draw.between(0.45, 0.7), draw.between(0.14, 0.3), draw.between(1.4, 1.9)
    foot, lip = draw.between(0.22, 0.34), neck * draw.between(1.3, 1.9)
    waist = draw.between(0.3, 0.5)
    height = np.linspace(0, 1, 17)
    knots = ([0, waist, 0.78, 1.0], [foot, belly, neck, lip])
    # a smooth curve through the knots: cosine easing from each to the next
    index = np.clip(np.searchsorted(knots[0], height, side="right") - 1, 0, 2)
    low, up = np.array(knots[0])[index], np.array(knots[0])[index + 1]
    ease = 0.5 - 0.5 * np.cos(np.pi * (height - low) / (up - low))
    radii = np.array(knots[1])[index] * (1 - ease) + np.array(knots[1])[index + 1] * ease
    outside = [(0.0, 0.0), *zip(radii, height * high, strict=True)]
    draw.add(lathe(_vessel(outside), 36), draw.main)
    draw.add(ring(lip - 0.02, 0.045, 32, 8).at(y=high), draw.trim)
    handles = draw.chance(0.3)
    if handles:
        handle = _handle(neck * 0.9, high * 0.72, belly * 0.6, high * 0.3, 0.05)
        draw.add([handle, handle.turned("y", 180)], draw.trim)
    shape = "round" if belly > 0.6 else "slender" if belly < 0.52 else ""
    return Traits(
        shape,
        "a rim and handles" if handles else "a rim",
        ("two handles",) if handles else ("a narrow neck",) if neck < 0.2 else (),
        "handles",
        2 if handles else 0,
    )


def _bowl(draw: Draw) -> Traits:
    radius, high = draw.between(0.85, 1.0), draw.between(0.5, 0.85)
    curve = [(radius * np.sin(t), 0.08 + high * (1 - np.cos(t))) for t in np.linspace(0.35, np.pi / 2, 9)]
    draw.add(lathe(_vessel([(0, 0.05), *curve], 0.07), 40), draw.main)
    draw.add(cylinder(radius * 0.45, 0.16), draw.trim)
    fruit = draw.chance(0.35)
    if fruit:
        colors = draw.pick((("red", "green"), ("orange", "yellow"), ("orange", "green")))
        for index, (x, z) in enumerate(((-0.32, 0.1), (0.3, 0.22), (0.05, -0.35))):
            draw.add(ball(0.3, 20, 10).at(x, high + 0.05, z), draw.fixed(colors[index % 2]))
    return Traits(
        "deep" if high > 0.72 else "shallow" if high < 0.6 else "", "a foot", ("three fruits in it",) if fruit else ()
    )


def _teapot(draw: Draw) -> Traits:
    radius, squash = draw.between(0.6, 0.72), draw.between(0.75, 1.05)
    draw.add(ball(radius, 32, 18).stretched(y=squash).at(y=radius * squash * 0.93), draw.main)
    top = radius * squash * 1.85
    draw.add(cylinder(radius * 0.45, 0.08).at(y=top - 0.05), draw.trim)
    draw.add(ball(0.1, 16, 10).at(y=top + 0.1), draw.trim)
    draw.add(cylinder(radius * 0.6, 0.1), draw.trim)
    mid = radius * squash
    spout = [
        (radius * 0.8, mid * 0.7, 0),
        (radius * 1.25, mid * 0.95, 0),
        (radius * 1.45, mid * 1.4, 0),
        (radius * 1.75, mid * 1.7, 0),
    ]
    draw.add(tube(spout, (0.16, 0.12, 0.085, 0.075), 14), draw.base)
    over = draw.chance(0.3)
    if over:
        path = [(x, y, 0) for x, y in arc(radius * 0.85, 5, 175, 16, (0, top * 0.85))]
        draw.add(tube(path, 0.055, 10), draw.trim)
    else:
        draw.add(_handle(radius * 0.85, mid, radius * 0.6, radius * squash * 1.1, 0.07).turned("y", 180), draw.trim)
    return Traits(
        "flat" if squash < 0.83 else "round" if squash > 0.95 else "",
        "a lid" if over else "a lid and handle",
        ("a handle over the top",) if over else ("a curved spout",),
    )


CATEGORIES = (
    Category("mug", _mug, "ceramic", ("metal",)),
    Category("bottle", _bottle, "glass", ("metal",)),
    Category("vase", _vase, "ceramic", ("stone", "metal")),
    Category("bowl", _bowl, "ceramic", ("wooden", "metal")),
    Category("teapot", _teapot, "ceramic", ("metal",)),
)
