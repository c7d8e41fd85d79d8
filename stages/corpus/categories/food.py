"""Model the categories apple, banana, ice cream, cake and doughnut."""

from __future__ import annotations

import numpy as np

from stages.corpus.draw import Category, Draw, Traits, counted
from stages.corpus.shapes import ball, cylinder, lathe, ring, tube
from stages.corpus.solid import around_y


def _apple(draw: Draw) -> Traits:
    tall = draw.between(0.85, 1.12)
    turns = np.linspace(-np.pi / 2, np.pi / 2, 19)
    radii = 0.92 * np.cos(turns) ** 0.75 * (1 + 0.08 * np.sin(turns))
    heights = 0.8 * np.sin(turns) - 0.26 * np.exp(-((radii / 0.3) ** 2)) * np.sign(np.sin(turns))
    radii[[0, -1]] = 0.0
    draw.add(lathe(list(zip(radii, heights, strict=True)), 36).stretched(y=tall), draw.main)
    top = 0.5 * tall
    draw.add(
        tube([(0, top, 0), (0.03, top + 0.3, 0), (0.12, top + 0.55, 0)], (0.045, 0.045, 0.06), 10), draw.fixed("brown")
    )
    leaves = draw.count(0, 2)
    leaf = ball(0.3, 18, 10).stretched(1.0, 0.14, 0.45).at(0.3).turned("z", 22)
    leaf_paint = draw.fixed("green")
    draw.add((leaf.turned("y", turn).at(0.03, top + 0.28, 0) for turn in (0, 180)[:leaves]), leaf_paint)
    return Traits(
        "tall" if tall > 1.03 else "flat" if tall < 0.92 else "round",
        "",
        (counted(leaves, "green leaf", "green leaves") if leaves else "a brown stem",),
        "leaves",
        leaves,
    )


def _banana(draw: Draw) -> Traits:
    number = draw.count(1, 3)
    bend, thick = draw.between(95, 130), draw.between(0.2, 0.26)
    turns = np.radians(np.linspace(-bend / 2, bend / 2, 15) - 90)
    path = np.stack([np.cos(turns), np.sin(turns) + 1.0, 0 * turns], 1)
    along = np.linspace(-1, 1, 15)
    radii = thick * np.sqrt(1 - 0.9 * along**4) * (1 - 0.12 * along**2)
    dark = draw.fixed("brown" if draw.color != "brown" else "black")
    for index in range(number):
        tilt = (0, 26, -26)[index]
        body = tube(path, radii, 8)
        end = np.stack([path[-1], path[-1] + 0.3 * (path[-1] - path[-2]) / np.linalg.norm(path[-1] - path[-2])])
        start = np.stack([path[0], path[0] + 0.08 * (path[0] - path[1]) / np.linalg.norm(path[0] - path[1])])
        for solid, paint in (
            (body, draw.main),
            (tube(end, (0.075, 0.06), 8), draw.base),
            (tube(start, (0.065, 0.03), 8), dark),
        ):
            placed = solid.at(-path[-1, 0], -path[-1, 1], 0).turned("x", tilt)
            draw.add(placed, paint)
    if number > 1:
        draw.add(ball(0.12, 14, 8).stretched(1.3, 0.8, 1.0).turned("z", 50).at(0.13, 0.16, 0), dark)
    return Traits(
        "curved" if bend > 112 else "",
        "",
        ("two more in the bunch",) if number == 3 else ("another one beside it",) if number == 2 else ("a dark tip",),
        "bananas",
        number,
    )


def _ice_cream(draw: Draw) -> Traits:
    scoops, cup = draw.count(1, 3), draw.chance(0.3)
    waffle = draw.fixed("orange" if draw.color in ("brown", "yellow") else "brown")
    radius = 0.5 if scoops < 3 else 0.42
    if cup:
        high = 0.6
        draw.add(cylinder(0.34, high, radius + 0.05, 0.02, 30), draw.accent)
    else:
        high = draw.between(1.0, 1.2)
        draw.add(lathe([(0, 0), (0.05, 0.0), (radius * 0.92, high), (0, high)], 28), waffle)
        draw.add(ring(radius * 0.9, 0.06, 30, 8).at(y=high - 0.02), waffle)
    y = high + radius * 0.35
    for index in range(scoops):
        size = radius * (1 - 0.08 * index)
        draw.add(ball(size, 28, 16).at(y=y), draw.main)
        draw.add(ring(size * 0.86, 0.1, 28, 10).at(y=y - size * 0.42), draw.base)
        top = y + size
        y += size * 1.28
    topping = draw.pick(("none", "cherry", "wafer", "sauce"))
    if topping == "cherry":
        draw.add(
            ball(0.15, 16, 10).at(y=top + 0.08), draw.fixed("red" if draw.color not in ("red", "orange") else "green")
        )
    elif topping == "wafer":
        draw.add(cylinder(0.07, 0.75).turned("z", -22).at(0.12, top - 0.3, 0), waffle)
    elif topping == "sauce":
        size = radius * (1 - 0.08 * (scoops - 1))
        cap = lathe(
            [
                (0, size * 0.35),
                *((size * 1.05 * np.cos(t), size * 1.05 * np.sin(t)) for t in np.linspace(0.45, np.pi / 2, 7)[:-1]),
                (0, size * 1.05),
            ],
            28,
        )
        draw.add(cap.at(y=top - size), draw.accent)
    trim = (
        "a cup"
        if cup and topping != "sauce"
        else "sauce on top"
        if topping == "sauce" and not cup
        else "sauce and a cup"
        if cup
        else ""
    )
    features = (
        counted(scoops, "scoop"),
        *({"cherry": ("a cherry on top",), "wafer": ("a wafer",)}.get(topping, ())),
        *(() if cup else ("a cone",)),
    )
    return Traits("tall" if scoops == 3 else "", trim, features, "scoops", scoops)


def _cake(draw: Draw) -> Traits:
    tiers, candles = draw.count(1, 3), draw.pick((0, 1, 3, 5))
    each, radius, y = (0.7, 0.5, 0.45)[tiers - 1], draw.between(0.8, 0.95), 0.08
    draw.add(cylinder(radius + 0.16, 0.08, sides=40), draw.fixed("white" if draw.color != "white" else "brown"))
    for index in range(tiers):
        size = radius * (1 - 0.29 * index)
        draw.add(cylinder(size, each, bevel=0.05, sides=40).at(y=y), draw.main)
        beads = max(8, round(size * 18))
        draw.add(around_y(ball(0.075, 10, 6).at(0, y + each, size - 0.05), beads), draw.accent)
        y += each
    flame = draw.fixed("orange")
    spread = radius * (1 - 0.29 * (tiers - 1)) * 0.55
    for index in range(candles):
        turn = 2 * np.pi * index / max(candles, 1)
        x, z = (0.0, 0.0) if candles == 1 else (spread * np.sin(turn), spread * np.cos(turn))
        draw.add(cylinder(0.045, 0.3, sides=12).at(x, y, z), draw.accent)
        draw.add(ball(0.06, 10, 8).stretched(y=1.7).at(x, y + 0.37, z), flame)
    cherry = candles == 0
    if cherry:
        draw.add(ball(0.15, 18, 10).at(y=y + 0.1), draw.fixed("red" if draw.color != "red" else "green"))
    features = (counted(tiers, "tier"), "a cherry on top" if cherry else counted(candles, "candle"))
    return Traits({1: "low", 2: "", 3: "tall"}[tiers], "icing", features, "tiers", tiers)


def _doughnut(draw: Draw) -> Traits:
    tube_radius, radius = draw.between(0.32, 0.42), 0.62
    dough = draw.fixed("brown" if draw.color not in ("brown", "orange", "black") else "yellow")
    draw.add(ring(radius, tube_radius, 40, 18).stretched(y=0.85), dough)
    glaze = ring(radius, tube_radius * 0.94, 40, 18).stretched(y=0.85).at(y=0.11)
    draw.add(glaze, draw.main)
    sprinkles = draw.chance(0.65) and draw.pattern == "plain"
    if sprinkles:
        number = 34
        for index in range(number):
            turn, off = 2.399 * index, draw.between(-0.62, 0.62) * tube_radius
            lift = 0.85 * np.sqrt((tube_radius * 0.94) ** 2 - off**2) + 0.115
            stick = tube([(-0.065, 0, 0), (0.065, 0, 0)], 0.028, 8).turned("y", draw.between(0, 180))
            reach = radius + off
            draw.add(stick.at(reach * np.cos(turn), lift, reach * np.sin(turn)), draw.accent)
    tilt = 38
    draw.solids[:] = [(solid.turned("x", tilt), paint) for solid, paint in draw.solids]
    return Traits(
        "thick" if tube_radius > 0.39 else "thin" if tube_radius < 0.35 else "",
        "sprinkles" if sprinkles else "",
        ("icing",),
    )


CATEGORIES = (
    Category(
        "apple",
        _apple,
        "fruit",
        colors=("red", "red", "green", "yellow", "pink", "orange", "purple", "brown"),
        tile=0.45,
    ),
    Category(
        "banana",
        _banana,
        "fruit",
        colors=("yellow", "yellow", "green", "brown", "orange", "red", "blue", "purple"),
        tile=0.28,
        slender=True,
    ),
    Category("ice cream", _ice_cream, "cream"),
    Category("cake", _cake, "cream"),
    Category("doughnut", _doughnut, "pastry"),
)
