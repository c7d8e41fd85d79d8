"""Model the categories book, clock, candle, umbrella, hat and ladder."""

from __future__ import annotations

import numpy as np

from stages.corpus.draw import Category, Draw, Traits, counted
from stages.corpus.shapes import arc, ball, box, cylinder, dome, lathe, ring, tube


def _book(draw: Draw) -> Traits:
    number = draw.pick((1, 1, 2, 3))
    thick = draw.between(0.22, 0.4) if number == 1 else 0.24
    shape = "thick" if thick > 0.32 else "thin" if number == 1 and thick < 0.26 else ""
    wide, deep = draw.between(1.1, 1.3), draw.between(1.5, 1.7)
    pages = draw.fixed("white" if draw.color != "white" else "yellow")
    for index in range(number):
        turn = 0.0 if number == 1 else draw.between(-14, 14)
        y, cover = index * (thick + 0.005), 0.05
        parts = (
            (box(wide - 0.1, thick - 2 * cover + 0.01, deep - 0.12, 0.005).at(0.01, thick / 2), pages),
            (box(wide, cover, deep, 0.01).at(0, cover / 2), draw.main),
            (box(wide, cover, deep, 0.01).at(0, thick - cover / 2), draw.main),
            (box(cover * 1.6, thick, deep, 0.03).at(-wide / 2, thick / 2), draw.trim),
        )
        for solid, paint in parts:
            draw.add(solid.turned("y", turn).at(y=y), paint)
    features = ("white pages",) if draw.color != "white" else ("yellow pages",)
    if number > 1:
        features = (f"{counted(number - 1, 'more book')} under it",)
    return Traits(shape, "a spine" if number == 1 else "spines", features, "books", number)


def _clock(draw: Draw) -> Traits:
    radius, deep = 0.68, draw.between(0.3, 0.5)
    square = draw.chance(0.35)
    case = (
        box(1.7, 1.7, deep, 0.09)
        if square
        else cylinder(0.95, deep, bevel=0.06, sides=40).at(y=-deep / 2).turned("x", 90)
    )
    draw.add(case.at(y=1.0), draw.main)
    light = draw.color != "white"
    face, ink = draw.fixed("white" if light else "black"), draw.fixed("black" if light else "white")
    draw.add(cylinder(radius, 0.06, sides=40).turned("x", 90).at(0, 1, deep / 2 - 0.01), face)
    front = deep / 2 + 0.05
    for hour in range(12):
        mark = box(0.06, 0.2 if hour % 3 == 0 else 0.1, 0.04, 0.01).at(y=radius - 0.14)
        draw.add(mark.turned("z", 30 * hour).at(0, 1, front), ink)
    hour, minute = draw.count(0, 11), 5 * draw.count(0, 11)
    draw.add(box(0.1, 0.46, 0.04).at(0, 0.2).turned("z", -30 * (hour + minute / 60)).at(0, 1, front + 0.02), ink)
    draw.add(box(0.07, 0.66, 0.04).at(0, 0.3).turned("z", -6 * minute).at(0, 1, front + 0.04), ink)
    draw.add(cylinder(0.08, 0.12).turned("x", 90).at(0, 1, front), draw.fixed("red"))
    bells = draw.chance(0.45)
    if bells:
        for side in (-1, 1):
            tilt = -32 * side
            draw.add(dome(0.3, 0.26, 20, 6).at(y=0.98).turned("z", tilt).at(y=1), draw.trim)
            draw.add(tube([(0, 0.7, 0), (0, 1.18, 0)], 0.06).turned("z", 180 + tilt * 0.9).at(y=1.0), draw.trim)
    elif draw.chance(0.5):
        draw.add(box(1.2, 0.18, deep + 0.3, 0.05).at(0, 0.06, 0), draw.trim)
        return Traits(
            "square" if square else "round", "a stand", ("two hands", f"a {'white' if light else 'black'} face")
        )
    features = ("two bells on top",) if bells else (f"a {'white' if light else 'black'} face",)
    return Traits("square" if square else "round", "bells and feet" if bells else "", features)


def _candle(draw: Draw) -> Traits:
    number = draw.pick((1, 1, 1, 3))
    radius = draw.between(0.22, 0.42) if number == 1 else 0.2
    high = draw.between(0.95, 1.45)
    flame, wick = draw.fixed("orange"), draw.fixed("black")
    glow = draw.fixed("yellow")
    drop = [(0, 0), (0.07, 0.05), (0.11, 0.14), (0.085, 0.25), (0.03, 0.37), (0, 0.43)]
    for index in range(number):
        x = (index - (number - 1) / 2) * 0.5
        tall = high * (1.0 if number == 1 or index == 1 else 0.75)
        draw.add(cylinder(radius, tall, bevel=0.04).at(x, 0.06), draw.main)
        draw.add(cylinder(0.025, 0.14).at(x, tall + 0.04), wick)
        draw.add(lathe(drop, 16).stretched(1.15, 1.1, 1.15).at(x, tall + 0.11), flame)
        draw.add(lathe(drop, 12).stretched(0.62, 0.6, 0.62).at(x, tall + 0.12, 0.075), glow)
    plate = radius + draw.between(0.2, 0.35) if number == 1 else 0.5
    dish = lathe([(0, 0), (plate - 0.12, 0), (plate, 0.12), (plate - 0.04, 0.14), (plate - 0.14, 0.07), (0, 0.07)])
    draw.add(dish.stretched(1.0 if number == 1 else 1.7, 1, 1), draw.trim)
    looped = number == 1 and draw.chance(0.5)
    if looped:
        draw.add(ring(0.16, 0.045, 24, 8).turned("x", 90).at(plate + 0.08, 0.17), draw.trim)
    shape = "" if number > 1 else "thick" if radius > 0.36 else "slim" if radius < 0.27 else ""
    features = (
        ("two more candles beside it",)
        if number == 3
        else ("a burning flame", *(("a looped holder",) if looped else ()))
    )
    return Traits(shape, "a holder", features, "candles", number)


def _umbrella(draw: Draw) -> Traits:
    radius, high, ribs = draw.between(0.9, 1.0), draw.between(0.45, 0.65), draw.pick((6, 8))
    angle = np.linspace(0.0, np.pi / 2, 9)
    outer = [(radius * np.cos(a), high * np.sin(a)) for a in angle[:-1]]
    inner = [((radius - 0.04) * np.cos(a), (high - 0.05) * np.sin(a)) for a in angle[::-1]]
    inner[0] = (0.0, high - 0.05)
    canopy = lathe([*inner, *outer, (0.0, high)], ribs)
    draw.add(canopy.at(y=1.2), draw.main)
    draw.add(cylinder(0.04, 0.2, 0.015).at(y=1.2 + high - 0.03), draw.trim)
    hook, length = draw.chance(0.6), draw.between(1.4, 1.6)
    low = 1.2 + high - length
    if hook:
        path: list[tuple[float, float, float]] = [(0, 1.2 + high - 0.05, 0), (0, low + 0.2, 0)]
        path += [(x, y, 0) for x, y in arc(0.17, 180, 360, 9, (0.17, low))]
        draw.add(tube(path, 0.045), draw.trim)
    else:
        draw.add(cylinder(0.04, length - 0.1).at(y=low), draw.trim)
        draw.add(cylinder(0.075, 0.35, 0.06).at(y=low - 0.12), draw.trim)
    shape = "flat" if high < 0.5 else "domed" if high > 0.6 else ""
    return Traits(
        shape,
        "a stick",
        ("a hooked handle" if hook else "a straight handle", f"{counted(ribs, 'panel')}"),
        "panels",
        ribs,
    )


def _hat(draw: Draw) -> Traits:
    kind = draw.pick(("top", "sun", "party", "cowboy"))
    if kind == "top":
        radius, high = 0.55, draw.between(0.85, 1.15)
        draw.add(
            lathe(
                [
                    (0, 0),
                    (0.95, 0),
                    (0.97, 0.03),
                    (0.95, 0.07),
                    (radius, 0.09),
                    (radius * 1.06, high),
                    (radius, high + 0.03),
                    (0, high + 0.03),
                ],
                36,
            ),
            draw.main,
        )
        draw.add(cylinder(radius + 0.025, 0.2, bevel=0.01, sides=36).at(y=0.08), draw.accent)
        return Traits("tall", "a band", ("a round brim",))
    if kind == "party":
        high = draw.between(1.3, 1.7)
        draw.add(cylinder(0.65, high, 0, 0.02, 36), draw.main)
        draw.add(ball(0.17, 18, 10).at(y=high), draw.accent)
        return Traits("pointed", "a pompom", ())
    brim, high = draw.between(0.95, 1.1), draw.between(0.5, 0.68)
    crown = dome(0.55, high, 32, 8) if kind == "sun" else cylinder(0.56, high, 0.45, 0.06, 32).stretched(x=1.1)
    edge = lathe([(0, 0), (brim - 0.02, 0.0), (brim, 0.03), (brim - 0.02, 0.06), (0.4, 0.1), (0, 0.1)], 40)
    if kind == "cowboy":
        edge = lathe(
            [
                (0, 0),
                (0.5, 0.0),
                (brim * 0.8, 0.1),
                (brim, 0.3),
                (brim - 0.03, 0.34),
                (brim * 0.75, 0.17),
                (0.4, 0.1),
                (0, 0.1),
            ],
            40,
        ).stretched(z=0.8)
    draw.add(edge, draw.main)
    draw.add(crown.at(y=0.05), draw.main)
    draw.add(cylinder(0.585, 0.14, 0.575, 0.01, 32).stretched(x=1.0 if kind == "sun" else 1.06).at(y=0.07), draw.accent)
    return Traits(
        "round" if kind == "sun" else "wide", "a band", ("a curled brim",) if kind == "cowboy" else ("a wide brim",)
    )


def _ladder(draw: Draw) -> Traits:
    rungs, wide, high = draw.count(4, 7), draw.between(0.55, 0.75), 1.95
    stepladder = draw.chance(0.45)
    lean = 16 if stepladder else 0
    for side in (-1, 1):
        rail = box(0.12, high, 0.16, 0.02).at(0, -high / 2).turned("x", -lean).at(side * wide / 2, high)
        draw.add(rail, draw.main)
        if stepladder:
            draw.add(
                box(0.1, high, 0.1, 0.02).at(0, -high / 2).turned("x", lean).at(side * (wide / 2 - 0.03), high),
                draw.base,
            )
    for index in range(rungs):
        down = high * (index + 0.75) / (rungs + 0.5)
        step = box(wide, 0.08, 0.22) if stepladder else cylinder(0.065, wide).at(y=-wide / 2).turned("z", 90)
        swing = np.radians(lean)
        draw.add(step.at(0, high - down * np.cos(swing), down * np.sin(swing)), draw.trim)
    if stepladder:
        draw.add(box(wide + 0.16, 0.1, 0.36).at(0, high + 0.02, 0), draw.base)
        draw.add(box(wide, 0.06, 0.06).at(0, high * 0.25, -high * 0.75 * np.tan(np.radians(lean))), draw.base)
    noun = "step" if stepladder else "rung"
    shape = "folding" if stepladder else "straight"
    return Traits(shape, f"{noun}s", (counted(rungs, noun),), f"{noun}s", rungs)


CATEGORIES = (
    Category("book", _book, "paper"),
    Category("clock", _clock, "plastic", ("wooden", "metal")),
    Category("candle", _candle, "wax"),
    Category("umbrella", _umbrella, "fabric"),
    Category("hat", _hat, "felt"),
    Category("ladder", _ladder, "painted", ("wooden", "metal"), tile=0.28, slender=True),
)
