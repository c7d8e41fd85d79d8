"""Model the categories hammer, key, sword, traffic cone and barrel."""

from __future__ import annotations

import numpy as np

from stages.corpus.draw import Category, Draw, Traits, counted
from stages.corpus.paint import Paint
from stages.corpus.shapes import ball, box, cylinder, lathe, prism, ring, tube


def _steel(draw: Draw) -> Paint:
    """Gray, or black if the main colour is too similar to gray."""
    return draw.fixed("black" if draw.color in ("gray", "teal", "green") else "gray")


def _hammer(draw: Draw) -> Traits:
    kind, long = draw.pick(("claw", "mallet", "sledge")), draw.between(1.45, 1.7)
    thick = draw.between(0.13, 0.17)
    grip = lathe([(0, 0), (thick, 0.02), (thick * 1.1, 0.2), (thick * 0.85, 0.7), (thick * 0.75, long), (0, long)], 20)
    draw.add(grip, draw.main)
    head = draw.base if draw.chance(0.4) else _steel(draw)
    draw.add(cylinder(thick * 0.95, 0.1).at(y=long - 0.42), draw.trim)
    draw.add(cylinder(thick * 1.16, 0.2, thick * 1.2).at(y=0.02), draw.trim)
    y = long - 0.02
    if kind == "mallet":
        draw.add(cylinder(0.3, 0.95, bevel=0.04, sides=28).turned("z", 90).at(0.475, y, 0), head)
    elif kind == "sledge":
        draw.add(box(0.95, 0.4, 0.4, 0.09).at(0, y, 0), head)
    else:
        draw.add(box(0.36, 0.3, 0.3, 0.05).at(0.02, y, 0), head)
        draw.add(cylinder(0.13, 0.3, sides=20).turned("z", -90).at(0.15, y, 0), head)
        draw.add(cylinder(0.2, 0.16, bevel=0.03, sides=24).turned("z", -90).at(0.4, y, 0), head)
        for side in (-1, 1):
            path = [
                (-0.1, y, side * 0.04),
                (-0.3, y + 0.03, side * 0.07),
                (-0.46, y - 0.06, side * 0.11),
                (-0.58, y - 0.22, side * 0.14),
            ]
            draw.add(tube(path, (0.12, 0.1, 0.075, 0.03), 12), head)
    shape = {"claw": "", "mallet": "heavy", "sledge": "heavy"}[kind]
    feature = {"claw": "a claw", "mallet": "a round head", "sledge": "a square head"}[kind]
    return Traits(shape, "a collar", (feature, "a long handle" if long > 1.58 else "a short handle"))


def _key(draw: Draw) -> Traits:
    kind, teeth = draw.pick(("ring", "clover", "square")), draw.count(2, 4)
    deep, long = 0.2, draw.between(1.05, 1.3)
    if kind == "ring":
        draw.add(ring(0.34, 0.12, 36, 12).turned("x", 90).at(y=long + 0.32), draw.main)
    elif kind == "clover":
        for x, y in ((-0.27, 0.12), (0.27, 0.12), (0, 0.48)):
            draw.add(ring(0.19, 0.1, 26, 10).turned("x", 90).at(x, long + y, 0), draw.main)
    else:
        for x, y, wide, high in (
            (0, 0.02, 0.8, 0.22),
            (0, 0.58, 0.8, 0.22),
            (-0.29, 0.3, 0.22, 0.78),
            (0.29, 0.3, 0.22, 0.78),
        ):
            draw.add(box(wide, high, deep, 0.04).at(x, long + y, 0), draw.main)
    draw.add(cylinder(0.12, long + 0.02, bevel=0.03, sides=20), draw.main)
    draw.add(ring(0.12, 0.06, 24, 8).at(y=long - 0.12), draw.trim)
    for index in range(teeth):
        reach = draw.between(0.24, 0.42)
        draw.add(box(reach, 0.11, 0.15, 0.015).at(reach / 2 + 0.04, 0.09 + 0.17 * index, 0), draw.main)
    shape = {"ring": "round", "clover": "ornate", "square": "square"}[kind]
    return Traits(shape, "a collar", (counted(teeth, "tooth", "teeth"),), "teeth", teeth)


def _sword(draw: Draw) -> Traits:
    long, wide, thick = draw.between(1.2, 1.45), draw.between(0.26, 0.36), 0.12
    curved = draw.chance(0.3)
    if curved:
        steps = np.linspace(0, 1, 12)
        bend = 0.3 * steps**2
        right = [(wide / 2 + b, 0.5 + long * t) for t, b in zip(steps, bend, strict=True)]
        left = [
            (-wide / 2 * (1 - t**4) + b + wide / 2 * t**4, 0.5 + long * t)
            for t, b in zip(steps[:-1], bend[:-1], strict=True)
        ]
        draw.add(prism([*right, *left[::-1]], thick * 0.7), draw.main)
    else:
        blade = [
            (-wide / 2, 0.5),
            (wide / 2, 0.5),
            (wide / 2 * 0.85, 0.5 + long * 0.8),
            (0, 0.5 + long),
            (-wide / 2 * 0.85, 0.5 + long * 0.8),
        ]
        draw.add(prism(blade, thick * 0.8), draw.main)
        draw.add(box(0.05, long * 0.75, thick, 0.01).at(0, 0.5 + long * 0.38, 0), draw.base)
    guard = draw.between(0.65, 0.85)
    draw.add(box(guard, 0.12, 0.22, 0.05).at(0, 0.48, 0), draw.accent)
    draw.add(cylinder(0.085, 0.42).at(y=0.06), draw.fixed("brown" if draw.second_color != "brown" else "black"))
    draw.add(ball(0.13, 18, 10).at(y=0.03), draw.accent)
    return Traits(
        "curved" if curved else "straight", "a guard", ("a broad blade" if wide > 0.31 else "a narrow blade",)
    )


def _traffic_cone(draw: Draw) -> Traits:
    radius, high = draw.between(0.45, 0.6), draw.between(1.3, 1.6)
    bands = draw.count(1, 2) if draw.pattern == "plain" else 0  # bands and a pattern would hide each other
    foot = draw.between(1.15, 1.4)
    draw.add(box(foot, 0.14, foot, 0.05).at(y=0.07), draw.base)
    tip = 0.09
    draw.add(lathe([(0, 0.08), (radius, 0.08), (tip, high), (tip * 0.6, high + 0.03), (0, high + 0.03)], 32), draw.main)
    for index in range(bands):
        low = high * ((0.34 + 0.32 * index) if bands == 2 else 0.42)
        wide = 0.22 if bands == 1 else 0.18

        def at(y: float) -> float:
            return radius + (tip - radius) * (y - 0.08) / (high - 0.08)

        band = lathe([(0, low), (at(low) + 0.025, low), (at(low + wide) + 0.025, low + wide), (0, low + wide)], 32)
        draw.add(band, draw.accent)
    return Traits(
        "slim" if radius < 0.5 else "wide" if radius > 0.55 else "",
        ("", "a band", "bands")[bands],
        (counted(bands, "band") if bands else "a square base",),
        "bands",
        bands,
    )


def _barrel(draw: Draw) -> Traits:
    radius, bulge, high = draw.between(0.5, 0.62), draw.between(1.15, 1.3), draw.between(1.3, 1.6)
    steps = np.linspace(0, 1, 11)

    def at(part: float) -> float:
        return radius * (1 + (bulge - 1) * np.sin(np.pi * part))

    wall = [(at(step), high * step) for step in steps]
    draw.add(
        lathe(
            [
                (0, 0.06),
                (radius - 0.06, 0.06),
                (radius - 0.06, 0.0),
                *wall,
                (radius - 0.06, high),
                (radius - 0.06, high - 0.06),
                (0, high - 0.06),
            ],
            36,
        ),
        draw.main,
    )
    hoops = draw.count(2, 4)
    spots = {2: (0.18, 0.82), 3: (0.12, 0.5, 0.88), 4: (0.07, 0.3, 0.7, 0.93)}[hoops]
    for part in spots:
        low, up = part - 0.04, part + 0.04
        inner = radius - 0.03  # a ring, open inside: the lids lie deeper than the outermost hoops
        outline = [(inner, low * high), (at(low) + 0.025, low * high), (at(up) + 0.025, up * high), (inner, up * high)]
        draw.add(lathe([*outline, outline[0]], 36), draw.accent if draw.pattern == "plain" else draw.trim)
    shape = "tall" if high > 1.5 else "bulging" if bulge > 1.25 else ""
    return Traits(shape, "hoops", (counted(hoops, "hoop"),), "hoops", hoops)


CATEGORIES = (
    Category("hammer", _hammer, "plastic", ("wooden",), tile=0.28, slender=True),
    Category("key", _key, "plastic", ("metal",), tile=0.24, slender=True),
    Category("sword", _sword, "plastic", ("metal", "wooden"), tile=0.28, slender=True),
    Category("traffic cone", _traffic_cone, "plastic", tile=0.34),
    Category("barrel", _barrel, "plastic", ("wooden", "metal")),
)
