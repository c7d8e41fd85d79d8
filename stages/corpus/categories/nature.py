"""Model the categories tree, cactus, mushroom, flower, fish and snowman."""

from __future__ import annotations

import numpy as np

from stages.corpus.draw import Category, Draw, Traits, counted
from stages.corpus.shapes import ball, box, cylinder, dome, lathe, prism, ring, tube
from stages.corpus.solid import around_y


def _tree(draw: Draw) -> Traits:
    kind = draw.pick(("round", "fir", "bushy", "palm"))
    bark = draw.fixed("brown")
    if kind == "palm":
        bend = draw.between(0.15, 0.4)
        path = [(bend * t**2, 1.5 * t, 0) for t in np.linspace(0, 1, 9)]
        draw.add(tube(path, np.linspace(0.14, 0.08, 9), 14), bark)
        leaves = draw.count(6, 8)
        steps = np.linspace(0, 1, 9)
        spine = np.stack([0.95 * steps, 0.35 * np.sin(steps * 2.2) - 0.55 * steps**2, 0 * steps], 1)
        leaf = tube(spine, 0.02 + 0.17 * np.sin(np.pi * np.clip(steps, 0.03, 0.97)) ** 0.7, 10)
        for one in around_y(leaf, leaves):
            draw.add(one.at(bend, 1.48, 0), draw.main)
        draw.add([ball(0.1, 14, 8).at(bend + x, 1.4, z) for x, z in ((0.12, 0.05), (-0.08, 0.1), (0, -0.13))], bark)
        return Traits(
            "leaning" if bend > 0.27 else "tall", "", (counted(leaves, "long leaf", "long leaves"),), "leaves", leaves
        )
    trunk = draw.between(0.4, 0.6)
    draw.add(cylinder(draw.between(0.12, 0.18), trunk + 0.4, 0.1), bark)
    if kind == "fir":
        layers, radius = draw.count(2, 4), draw.between(0.6, 0.75)
        each = 1.5 / layers
        for index in range(layers):
            size = radius * (1 - 0.22 * index)
            draw.add(cylinder(size, each * 1.35, 0, 0.03, 28).at(y=trunk * 0.6 + each * 0.8 * index), draw.main)
        return Traits("pointed", "", (counted(layers, "layer") + " of branches", "a brown trunk"), "layers", layers)
    if kind == "round":
        radius, tall = draw.between(0.6, 0.75), draw.between(0.9, 1.25)
        draw.add(ball(radius, 32, 18).stretched(y=tall).at(y=trunk + radius * tall * 0.9), draw.main)
        fruit = draw.chance(0.5)
        if fruit:
            for index in range(14):
                y = 0.75 - 1.5 * (index + 0.5) / 14
                flat, turn = radius * np.sqrt(1 - y * y), 2.4 * index
                spot = (flat * np.cos(turn), trunk + radius * tall * (0.9 + y), flat * np.sin(turn))
                draw.add(ball(0.085, 14, 8).at(*spot), draw.accent)
        return Traits("round", "fruits" if fruit else "", ("a brown trunk",))
    spots = (
        (0, 0.55, 0, 0.52),
        (0.42, 0.3, 0.1, 0.42),
        (-0.42, 0.32, 0.05, 0.44),
        (0.05, 0.3, 0.4, 0.42),
        (-0.02, 0.28, -0.42, 0.42),
    )
    for x, y, z, size in spots:
        draw.add(ball(size * draw.between(0.9, 1.1), 24, 12).at(x, trunk + y + 0.15, z), draw.main)
    return Traits("bushy", "", ("a brown trunk",))


def _cactus(draw: Draw) -> Traits:
    radius, high = draw.between(0.2, 0.27), draw.between(1.1, 1.4)
    pot = draw.chance(0.6)
    floor = 0.4 if pot else 0.04
    if pot:
        draw.add(cylinder(0.32, 0.42, 0.44, 0.02), draw.trim)
        draw.add(cylinder(0.49, 0.13, 0.5, 0.03).at(y=0.36), draw.trim)
        draw.add(cylinder(0.42, 0.05).at(y=0.45), draw.fixed("brown"))
    else:
        draw.add(dome(0.6, 0.16), draw.fixed("yellow"))
    trunk = lathe(
        [
            (0, 0),
            (radius, 0),
            *((radius * np.cos(t), high - radius + radius * np.sin(t)) for t in np.linspace(0, np.pi / 2, 7)[:-1]),
            (0, high),
        ],
        24,
    )
    draw.add(trunk.at(y=floor), draw.main)
    arms = draw.count(1, 3)
    for index in range(arms):
        side, y = (1, -1, 1)[index], floor + high * (0.4, 0.55, 0.72)[index]
        reach, rise, thick, bend = (0.5, 0.46, 0.42)[index], (0.5, 0.42, 0.3)[index], radius * 0.62, 0.2
        corner = [
            (reach - bend + bend * np.sin(turn), y + bend - bend * np.cos(turn), 0)
            for turn in np.linspace(0.0, np.pi / 2, 6)
        ]
        tip = ball(thick, 14, 8).at(reach, y + rise, 0)
        for solid in (tube([(0, y, 0), *corner, (reach, y + rise, 0)], thick, 14), tip):
            draw.add(solid if side > 0 else solid.turned("y", 180), draw.main)
    flower = draw.chance(0.5)
    if flower:
        blossom = draw.fixed("pink" if draw.color != "pink" else "yellow")
        draw.add(ball(0.13, 16, 8).stretched(y=0.7).at(y=floor + high + 0.03), blossom)
    features = (counted(arms, "arm"), *(("a flower on top",) if flower else ()))
    return Traits(
        "tall" if high > 1.3 else "short" if high < 1.2 else "", "a pot" if pot else "", features, "arms", arms
    )


def _mushroom(draw: Draw) -> Traits:
    number = draw.pick((1, 1, 2))
    stalk = draw.fixed("white" if draw.color != "white" else "yellow")
    radius, cap = draw.between(0.6, 0.85), draw.between(0.45, 0.75)
    high, thick = draw.between(0.6, 0.9), draw.between(0.17, 0.28)
    for index in range(number):
        scale, x = (1.0, 0.0) if index == 0 else (0.58, 0.85)
        foot = lathe([(0, 0), (thick * 1.35, 0), (thick * 1.3, 0.1), (thick, 0.3), (thick * 0.9, high), (0, high)], 24)
        under = [(0, 0.08), (radius * 0.6, 0.06), (radius * 0.96, 0.0)]
        curve = [(radius * np.cos(t), cap * np.sin(t)) for t in np.linspace(0.05, np.pi / 2, 9)[:-1]]
        top = lathe([*under, *curve, (0, cap)], 32)
        draw.add(foot.stretched(scale, scale, scale).at(x), stalk)
        draw.add(top.at(y=high - 0.1).stretched(scale, scale, scale).at(x), draw.main)
        draw.add(ring(thick, 0.05, 24, 8).at(y=high * 0.72).stretched(scale, scale, scale).at(x), draw.trim)
    shape = "flat" if cap < 0.52 else "round" if cap / radius > 0.85 else ""
    features = (
        ("a second small one beside it",)
        if number == 2
        else ("a thick stalk",)
        if thick > 0.24
        else ("a slim stalk",)
        if thick < 0.2
        else ()
    )
    return Traits(shape, "a ring on the stalk", features, "mushrooms", number)


def _flower(draw: Draw) -> Traits:
    petals, kind = draw.count(5, 9), draw.pick(("daisy", "daisy", "tulip"))
    green = draw.fixed("green")
    high = draw.between(0.75, 1.05)
    draw.add(tube([(0, 0, 0), (0, high / 2, 0), (0, high, 0)], 0.055, 12), green)
    blade = ball(0.34, 18, 10).stretched(1.0, 0.14, 0.42).at(0.32).turned("z", 38)
    leaves = draw.count(1, 2)
    draw.add((blade.turned("y", turn).at(y=high * 0.25) for turn in (0, 180)[:leaves]), green)
    pot = draw.chance(0.4)
    if pot:
        draw.add(cylinder(0.25, 0.32, 0.34, 0.02).at(y=-0.2), draw.fixed("brown"))
    if kind == "tulip":
        cup = lathe(
            [(0, 0), (0.2, 0.03), (0.38, 0.2), (0.42, 0.42), (0.34, 0.68), (0.28, 0.68), (0.34, 0.42), (0, 0.12)], 30
        )
        draw.add(cup.at(y=high - 0.04), draw.main)
        points = lathe([(0, 0), (0.13, 0.1), (0.17, 0.3), (0.1, 0.52), (0, 0.7)], 14).stretched(1.2, 1.0, 0.35)
        draw.add((one.at(y=high + 0.12) for one in around_y(points.turned("x", -6).at(0, 0, 0.33), 5)), draw.main)
        return Traits(
            "cup-shaped", "", (counted(leaves, "leaf", "leaves"), *(("a brown pot",) if pot else ())), "leaves", leaves
        )
    length = draw.between(0.3, 0.38)
    petal = ball(length, 20, 10).stretched(1.0, 2.9 / petals, 0.22).at(length + 0.12)
    head = [petal.turned("z", 360 * index / petals) for index in range(petals)]
    middle = ball(0.25, 24, 12).stretched(z=0.6)
    tilt = -draw.between(8, 30)
    draw.add([one.turned("x", tilt).at(0, high + 0.1, 0.06) for one in head], draw.main)
    heart = draw.accent if draw.chance(0.6) or draw.color == "yellow" else draw.fixed("yellow")
    draw.add(middle.at(0, 0, 0.05).turned("x", tilt).at(0, high + 0.1, 0.06), heart)
    features = (
        counted(petals, "petal"),
        counted(leaves, "green leaf", "green leaves"),
        *(("a brown pot",) if pot else ()),
    )
    return Traits(
        "tall" if high > 0.95 else "short" if high < 0.82 else "",
        "a center" if heart == draw.accent else "",
        features,
        "petals",
        petals,
    )


def _fish(draw: Draw) -> Traits:
    high, thick = draw.between(0.42, 0.68), draw.between(0.26, 0.36)
    steps = np.linspace(0, 1, 19)
    radii = np.sin(np.pi * steps**0.75) ** 0.8 + 0.16 * steps
    radii[[0, -1]] = 0.0
    body = lathe(list(zip(high * radii[::-1], 1.5 * (0.5 - steps[::-1]), strict=True)), 28).turned("z", -90)
    draw.add(body.stretched(z=thick / high), draw.main)
    fork = draw.between(0.05, 0.22)
    tail = [(0.14, 0), (-0.34, -0.38), (-0.34 + fork, 0), (-0.34, 0.38)]
    draw.add(prism(tail[::-1] if _clockwise(tail) else tail, 0.08).at(-0.76), draw.trim)
    fins = draw.count(1, 2)
    top = [(0.3, high * 0.75), (-0.05, high + 0.24), (-0.42, high + 0.16), (-0.35, high * 0.6)]
    draw.add(prism(top, 0.07), draw.trim)
    if fins == 2:
        draw.add(
            prism([(-0.3, -high * 0.7), (-0.36, -high - 0.16), (-0.1, -high - 0.18), (0.14, -high * 0.8)], 0.07),
            draw.trim,
        )
    for side in (-1, 1):
        fin = ball(0.19, 14, 8).stretched(1.1, 0.62, 0.25).turned("y", 25 * side).turned("z", 18)
        draw.add(fin.at(0.02, -high * 0.25, side * (thick + 0.02)), draw.trim)
        eye = (0.5, high * 0.24, side * thick * 0.66)
        draw.add(ball(0.1, 16, 10).at(*eye), draw.fixed("white"))
        draw.add(ball(0.06, 14, 8).at(eye[0] + 0.03, eye[1], eye[2] + side * 0.06), draw.fixed("black"))
    shape = "round" if high > 0.6 else "slim" if high < 0.48 else ""
    return Traits(shape, "fins", ("a forked tail",) if fork > 0.14 else ("a broad tail",))


def _clockwise(outline: list[tuple[float, float]]) -> bool:
    after = [*outline[1:], outline[0]]
    return sum(x * v - y * u for (x, y), (u, v) in zip(outline, after, strict=True)) < 0


def _snowman(draw: Draw) -> Traits:
    balls = draw.count(2, 3)
    sizes = (0.55, 0.42, 0.32) if balls == 3 else (0.6, 0.42)
    y, centres = 0.0, []
    for size in sizes:
        y += size * 0.86
        centres.append(y)
        draw.add(ball(size, 30, 16).at(y=y), draw.main)
        y += size * 0.7
    head, top = sizes[-1], centres[-1]
    ink = draw.fixed("black")
    for side in (-1, 1):
        draw.add(ball(0.05, 12, 8).at(side * 0.12, top + 0.09, head * 0.92), ink)
        twig = [(side * sizes[-2] * 0.8, centres[-2] + 0.08, 0), (side * (sizes[-2] + 0.42), centres[-2] + 0.36, 0.05)]
        draw.add(tube(twig, 0.035, 8), draw.fixed("brown"))
    draw.add(cylinder(0.075, 0.36, 0.0, 0.01, 16).turned("x", 90).at(0, top, head * 0.9), draw.fixed("orange"))
    for index in range(3):
        turn = np.radians(28 - 26 * index)
        middle = balls - 2
        spot = (0, centres[middle] + sizes[middle] * np.sin(turn), sizes[middle] * np.cos(turn))
        draw.add(ball(0.05, 12, 8).at(*spot), ink)
    scarf, hat = True, draw.chance(0.6)
    neck = centres[-1] - head * 0.78
    if scarf:
        draw.add(ring(head * 0.78, 0.1, 28, 10).at(y=neck), draw.accent)
        draw.add(box(0.16, 0.42, 0.07, 0.02).turned("x", -14).at(0.2, neck - 0.2, sizes[-2] * 0.82), draw.accent)
    if hat:
        draw.add(cylinder(head * 1.05, 0.06).at(y=top + head * 0.72), ink)
        draw.add(cylinder(head * 0.68, 0.36).at(y=top + head * 0.72), ink)
    return Traits(
        "tall" if balls == 3 else "short",
        "a scarf",
        ("a black hat", "a carrot nose") if hat else ("a carrot nose",),
        "balls",
        balls,
    )


LEAFY = ("green", "green", "yellow", "orange", "red", "pink", "teal", "purple")
CATEGORIES = (
    Category("tree", _tree, "leaves", colors=LEAFY),
    Category(
        "cactus", _cactus, "plant", colors=("green", "green", "teal", "yellow", "pink", "purple", "blue"), tile=0.28
    ),
    Category("mushroom", _mushroom, "plant"),
    Category(
        "flower",
        _flower,
        "plant",
        colors=("red", "orange", "yellow", "blue", "purple", "pink", "white", "teal"),
        patterns=("plain", "striped", "dotted"),
        tile=0.26,
    ),
    Category("fish", _fish, "scales"),
    Category("snowman", _snowman, "snow", colors=("white",), patterns=("plain",)),
)
