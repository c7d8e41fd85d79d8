"""Model the categories boat, airplane and rocket."""

from __future__ import annotations

from stages.corpus.draw import Category, Draw, Traits, counted
from stages.corpus.shapes import ball, box, cylinder, lathe, prism, tube
from stages.corpus.solid import around_y


def _boat(draw: Draw) -> Traits:
    sail = draw.chance(0.65)
    long, wide, deep = 1.9, draw.between(0.6, 0.75), draw.between(0.36, 0.46)
    hull = prism([(-long / 2 + 0.12, 0), (long / 2 - 0.45, 0), (long / 2, deep), (-long / 2, deep)], wide)
    # pinched towards the bow and the keel
    points = hull.points.copy()
    forward = (points[:, 0] + long / 2) / long
    points[:, 2] *= 1 - 0.85 * forward**3
    points[:, 2] *= 0.6 + 0.4 * points[:, 1] / deep
    draw.add(hull.bent(points), draw.main)
    outline = [
        (-long / 2, -wide / 2),
        (-0.2, -wide / 2 * 0.93),
        (0.25, -wide * 0.36),
        (0.65, -wide * 0.2),
        (long / 2 + 0.02, -0.05),
    ]
    deck = prism([*outline, *((x, -z) for x, z in reversed(outline))], 0.06).turned("x", -90)
    draw.add(deck.at(y=deep), draw.trim if draw.trim == draw.second else draw.fixed("brown"))
    if sail:
        mast, number = draw.between(1.4, 1.7), draw.count(1, 2)
        draw.add(cylinder(0.045, mast).at(0.05, deep, 0), draw.fixed("brown"))
        draw.add(prism([(-0.78, 0), (0, 0), (0, mast - 0.28)], 0.05).at(0.02, deep + 0.2, 0), draw.main)
        if number == 2:
            draw.add(prism([(0, 0), (0.68, 0), (0, mast - 0.5)], 0.05).at(0.1, deep + 0.2, 0), draw.main)
        flag = prism([(0, 0), (0.25, 0.08), (0, 0.16)], 0.04).at(0.06, deep + mast - 0.16, 0)
        draw.add(flag, draw.fixed("red"))
        return Traits("", "a deck", (counted(number, "sail"), "a flag"), "sails", number)
    draw.add(box(0.75, 0.36, wide * 0.6, 0.03).at(-0.3, deep + 0.2, 0), draw.main)
    glass = draw.fixed("black" if draw.second_color != "black" and draw.color != "black" else "white")
    for x in (-0.52, -0.3, -0.08):
        draw.add(cylinder(0.08, wide * 0.6 + 0.05).turned("x", 90).at(x, deep + 0.24, -wide * 0.3 - 0.025), glass)
    funnels = draw.count(1, 2)
    for index in range(funnels):
        draw.add(cylinder(0.12, 0.42).at(-0.16 - 0.32 * index, deep + 0.36, 0), draw.base)
        draw.add(cylinder(0.13, 0.1).at(-0.16 - 0.32 * index, deep + 0.7, 0), draw.fixed("black"))
    return Traits("", "a deck", (counted(funnels, "funnel"), "round windows"), "funnels", funnels)


def _airplane(draw: Draw) -> Traits:
    kind = draw.pick(("jet", "propeller", "biplane"))
    radius = draw.between(0.17, 0.2) if kind == "jet" else draw.between(0.2, 0.24)
    back = -1.0
    profile = [
        (0, back),
        (0.05, back + 0.02),
        (radius * 0.75, -0.45),
        (radius, -0.1),
        (radius, 0.55),
        (radius * 0.8, 0.8),
        (radius * 0.45, 0.95),
        (0, 1.0),
    ]
    draw.add(lathe(profile, 24).turned("z", -90), draw.main)
    span, chord = draw.between(1.75, 2.0), draw.between(0.36, 0.46)
    sweep = draw.between(0.3, 0.5) if kind == "jet" else 0.0
    wing = [(chord / 2, 0), (-chord / 2, 0), (-chord / 2 - sweep, -span / 2), (-chord * 0.05 - sweep, -span / 2)]
    flat = prism([(-y, x) for x, y in wing], 0.06).turned("x", -90).turned("y", -90)
    mirror = prism([(y, x) for x, y in reversed(wing)], 0.06).turned("x", -90).turned("y", -90)
    for y in (0.2, -0.16) if kind == "biplane" else (-0.05,):
        draw.add([flat.at(0.12, y), mirror.at(0.12, y)], draw.main)
    if kind == "biplane":
        for z in (-0.6, 0.6):
            draw.add(tube([(0.2, -0.16, z), (0.2, 0.2, z)], 0.03), draw.trim)
    draw.add(prism([(-1.0, 0.05), (-0.68, 0.05), (-0.86, 0.48), (-1.06, 0.48)], 0.06), draw.trim)
    draw.add(box(0.24, 0.05, 0.72).at(-0.86, 0.06, 0), draw.trim)
    glass = draw.fixed("black" if draw.color != "black" else "white")
    if kind == "jet":
        for side in (-1, 1):
            engine = cylinder(0.1, 0.36, 0.085, sides=20).turned("z", -90).at(-0.12, -0.17, side * 0.42)
            draw.add(engine, draw.trim)
        for x in (-0.3, -0.12, 0.06, 0.24, 0.42):
            draw.add(cylinder(0.045, 2 * radius + 0.02, sides=12).turned("x", 90).at(x, 0.06, -radius - 0.01), glass)
        draw.add(ball(0.11, 16, 8).stretched(1.1, 0.7, 1.2).at(0.76, radius * 0.62, 0), glass)
        return Traits(
            "swept-winged" if sweep > 0.4 else "", "a tail and engines", ("two engines", "swept wings"), "engines", 2
        )
    draw.add(ball(0.16, 18, 10).stretched(1.4, 0.9, 0.8).at(0.2, radius, 0), glass)
    draw.add(ball(0.08, 14, 8).at(1.0), draw.trim)
    blades = draw.count(2, 4)
    blade = tube([(0, 0.0, 0), (0, 0.2, 0), (0, 0.42, 0)], (0.04, 0.07, 0.05), 10).stretched(x=0.4)
    draw.add((blade.turned("x", 360 * index / blades).at(1.03) for index in range(blades)), draw.fixed("black"))
    for side in (-1, 1):
        draw.add(tube([(0.3, -0.1, side * 0.12), (0.34, -0.36, side * 0.24)], 0.03), draw.trim)
        draw.add(
            cylinder(0.11, 0.08, sides=18).turned("x", 90).at(0.34, -0.38, side * 0.24 - 0.04), draw.fixed("black")
        )
    wings = counted(4, "wing") if kind == "biplane" else "straight wings"
    return Traits("", "a tail", (f"a propeller with {counted(blades, 'blade')}", wings), "blades", blades)


def _rocket(draw: Draw) -> Traits:
    radius, high, fins = draw.between(0.26, 0.4), draw.between(1.1, 1.3), draw.count(3, 4)
    body = [(0, 0.2), (radius * 0.7, 0.2), (radius, 0.45), (radius * 1.05, high * 0.5), (radius, high), (0, high)]
    draw.add(lathe(body, 32), draw.main)
    nose = [
        (0, high - 0.02),
        (radius + 0.01, high - 0.02),
        (radius * 0.85, high + 0.22),
        (radius * 0.45, high + 0.45),
        (0, high + 0.62),
    ]
    nose_trimmed = draw.chance(0.5)  # not both, or the second colour would cover more than the main one
    draw.add(lathe(nose, 32), draw.accent if nose_trimmed else draw.base)
    outline = [(radius * 0.6, 0.3), (radius + 0.38, 0.0), (radius + 0.38, 0.3), (radius * 0.9, 0.78)]
    draw.add(around_y(prism(outline, 0.08), fins, 45), draw.base if nose_trimmed else draw.accent)
    draw.add(lathe([(0, 0.04), (radius * 0.55, 0.04), (radius * 0.4, 0.22), (0, 0.22)], 24), draw.fixed("black"))
    flame = draw.chance(0.4)
    if flame:
        draw.add(lathe([(0, -0.45), (radius * 0.3, -0.2), (radius * 0.42, 0.06), (0, 0.06)], 20), draw.fixed("orange"))
    windows, glass = draw.count(1, 2), draw.fixed("white" if draw.color != "white" else "blue")
    for index in range(windows):
        y = high * (0.75 - 0.28 * index)
        for turn in (0, 180):
            rim = cylinder(radius * 0.42, 0.08).turned("x", 90).at(0, y, radius * 0.97)
            pane = cylinder(radius * 0.3, 0.1).turned("x", 90).at(0, y, radius * 0.97)
            draw.add(rim.turned("y", turn), draw.accent)
            draw.add(pane.turned("y", turn), glass)
    features = (counted(windows, "round window"), counted(fins, "fin"), *(("a flame below",) if flame else ()))
    return Traits(
        "slim" if radius < 0.3 else "thick" if radius > 0.36 else "",
        "a nose" if nose_trimmed else "fins",
        features,
        "fins",
        fins,
    )


CATEGORIES = (
    Category("boat", _boat, "painted", ("wooden",)),
    Category("airplane", _airplane, "plastic", ("metal", "wooden"), tile=0.28),
    Category("rocket", _rocket, "plastic", ("metal",)),
)
