"""Model the categories robot, ball, drum and guitar."""

from __future__ import annotations

import numpy as np

from stages.corpus.draw import Category, Draw, Traits, counted
from stages.corpus.shapes import ball, box, cylinder, prism, star, tube
from stages.corpus.solid import around_y


def _robot(draw: Draw) -> Traits:
    wide, high, deep = draw.between(0.7, 0.9), draw.between(0.65, 0.85), draw.between(0.42, 0.55)
    leg = draw.between(0.28, 0.42)
    draw.add(box(wide, high, deep, 0.05).at(y=leg + high / 2), draw.main)
    head = draw.between(0.42, 0.55)
    top = leg + high + 0.08
    round_head = draw.chance(0.35)
    skull = (
        ball(head * 0.55, 26, 14).at(y=top + head * 0.42)
        if round_head
        else box(head * 1.15, head * 0.85, deep * 0.85, 0.05).at(y=top + head * 0.42)
    )
    draw.add(skull, draw.base)
    draw.add(cylinder(0.13, 0.12).at(y=leg + high - 0.02), draw.trim)
    front = head * 0.48 if round_head else deep * 0.43
    pupil = draw.fixed("black" if draw.color != "black" else "red")
    eyes = draw.pick((1, 2, 2))
    for x in (0.0,) if eyes == 1 else (-0.13, 0.13):
        draw.add(
            ball(0.1 if eyes == 2 else 0.14, 18, 10).at(x, top + head * 0.52, front),
            draw.fixed("white" if draw.color != "white" else "yellow"),
        )
        draw.add(ball(0.055 if eyes == 2 else 0.08, 14, 8).at(x, top + head * 0.52, front + 0.07), pupil)
    draw.add(box(head * 0.5, 0.05, 0.06).at(0, top + head * 0.18, front), pupil)
    antennas = draw.count(0, 2)
    for x in ((), (0.0,), (-0.16, 0.16))[antennas]:
        crown = top + head * 0.8
        draw.add(cylinder(0.025, 0.24).at(x, crown, 0), draw.trim)
        draw.add(ball(0.07, 14, 8).at(x, crown + 0.25, 0), draw.trim)
    for side in (-1, 1):
        arm = tube([(0, 0, 0), (0.2, -0.04, 0), (0.32, -0.16, 0.02), (0.36, -0.34, 0.04)], 0.075, 12)
        hand = ball(0.11, 16, 8).at(0.36, -0.38, 0.04)
        raised = draw.chance(0.3)
        for solid, paint in ((arm, draw.trim), (hand, draw.base)):
            placed = solid.turned("x", 180) if raised else solid
            placed = placed.at(wide / 2 - 0.03)
            draw.add((placed if side > 0 else placed.turned("y", 180)).at(y=leg + high - 0.14), paint)
        draw.add(cylinder(0.1, leg + 0.05, bevel=0.01).at(side * wide * 0.26, 0.03, 0), draw.trim)
        draw.add(box(0.26, 0.12, 0.38, 0.04).at(side * wide * 0.26, 0.06, 0.05), draw.base)
    features = (
        counted(antennas, "antenna") if antennas else "a flat head" if not round_head else "a round head",
        "one big eye" if eyes == 1 else "two round eyes",
    )
    return Traits("boxy" if not round_head else "round-headed", "arms and legs", features, "antennas", antennas)


def _ball(draw: Draw) -> Traits:
    kinds = ("caps", "star", "belt")  # without these, a plain sphere could be anything
    kind = draw.pick(kinds if draw.pattern == "plain" else (*kinds, "bare"))
    draw.add(ball(1.0, 44, 24), draw.main)
    if kind == "caps":
        for end in (0, 180):
            draw.add(cylinder(0.36, 0.09).at(y=0.925).turned("z", end), draw.accent)
        return Traits("round", "caps", ("two caps",))
    if kind == "belt":
        draw.add(cylinder(1.02, 0.32, bevel=0.02, sides=44).at(y=-0.16).turned("z", draw.between(-25, 25)), draw.accent)
        return Traits("round", "a belt", ())
    if kind == "star":
        flat = prism(star(draw.count(5, 6), 0.52, 0.24), 0.12)
        lift = np.sqrt(np.clip(1.0 - flat.points[:, 0] ** 2 - flat.points[:, 1] ** 2, 0, 1))
        points = flat.points.copy()
        points[:, 2] += lift - 0.02
        draw.add(around_y(flat.bent(points), 3, 30), draw.accent)
        return Traits("round", "stars", (counted(3, "star"),), "stars", 3)
    return Traits("round", "", ())


def _drum(draw: Draw) -> Traits:
    radius, high = draw.between(0.65, 0.85), draw.between(0.7, 1.25)
    skin = draw.fixed("white" if draw.color != "white" else "yellow")
    draw.add(cylinder(radius, high, sides=40), draw.main)
    for y in (0.06, high - 0.06):
        draw.add(cylinder(radius + 0.05, 0.12, bevel=0.04, sides=40).at(y=y - 0.06), draw.accent)
    draw.add(cylinder(radius - 0.04, 0.06, sides=40).at(y=high - 0.01), skin)
    sticks = draw.chance(0.6)
    if sticks:
        for side in (-1, 1):
            tip = (side * 0.12, high + 0.11, 0.15)
            draw.add(tube([(side * 0.5, high + 0.16, -radius * 0.9), tip], 0.045, 10), draw.fixed("brown"))
            draw.add(ball(0.085, 14, 8).at(*tip), draw.fixed("brown"))
    shape = "tall" if high > 1.0 else "flat" if high < 0.75 else ""
    return Traits(shape, "rims", ("two drumsticks",) if sticks else (), "drumsticks", 2 if sticks else 0)


# half an outline, up the right side; the left one mirrors it
_RIGHT = ((0.45, -0.6), (0.55, -0.34), (0.38, -0.1), (0.35, 0.1), (0.5, 0.38), (0.42, 0.5), (0.2, 0.3), (0.1, 0.2))
_ELECTRIC = [(0.0, -0.62), *_RIGHT, *((-x * 1.03, y * 1.06) for x, y in reversed(_RIGHT))]


def _waisted(radius: float, waist: float) -> list[tuple[float, float]]:
    """The outline of an acoustic guitar's body: narrower at the top, with a waist of depth `waist`."""
    turns = np.linspace(-np.pi, np.pi, 48, endpoint=False)  # 0 is up, towards the neck
    radii = radius * (1 - 0.1 * np.cos(turns)) - waist * np.exp(-(((np.abs(turns) - 1.24) / 0.32) ** 2))
    return list(zip(-radii * np.sin(turns), radii * np.cos(turns), strict=True))


def _guitar(draw: Draw) -> Traits:
    kind = draw.pick(("acoustic", "electric", "ukulele"))
    deep = 0.1 if kind == "electric" else draw.between(0.2, 0.26)
    body = _ELECTRIC if kind == "electric" else _waisted(draw.between(0.57, 0.65), draw.between(0.12, 0.18))
    draw.add(prism(body, deep), draw.main)
    neck = 0.6 if kind == "ukulele" else draw.between(0.8, 0.95)
    wood, front = draw.fixed("brown" if draw.color != "brown" else "black"), deep / 2
    draw.add(box(0.13, neck + 0.2, 0.09, 0.02).at(0, 0.35 + neck / 2, front), wood)
    draw.add(box(0.22, 0.3, 0.08, 0.02).at(0, 0.5 + neck, front), draw.trim)
    pegs, knobs = 4 if kind == "ukulele" else 6, draw.fixed("white" if draw.color != "white" else "gray")
    for index in range(pegs // 2):
        for side in (-1, 1):
            draw.add(ball(0.04, 10, 6).at(side * 0.15, 0.42 + neck + 0.09 * index, front), knobs)
    if kind == "electric":
        for y in (-0.02, -0.2):
            draw.add(
                box(0.26, 0.09, 0.05, 0.01).at(0, y, front),
                draw.trim if draw.trim != draw.base else draw.fixed("black"),
            )
    else:
        draw.add(
            cylinder(0.15, 0.03).turned("x", 90).at(0, 0.06, front - 0.012),
            draw.fixed("black" if draw.color != "black" else "white"),
        )
    draw.add(box(0.3, 0.07, 0.06).at(0, -0.36, front + 0.01), wood)
    steel = draw.fixed("white")
    for index in range(4):
        string = -0.045 + 0.03 * index
        draw.add(box(0.01, neck + 0.75, 0.012, 0.001).at(string, (neck + 0.03) / 2 - 0.02, front + 0.055), steel)
    feature = {"acoustic": "a sound hole", "ukulele": "a short neck", "electric": "two horns"}[kind]
    return Traits(
        {"acoustic": "acoustic", "electric": "electric", "ukulele": ""}[kind],
        "a headstock",
        (feature, counted(pegs, "tuning peg")),
        "pegs",
        pegs,
    )


CATEGORIES = (
    Category("robot", _robot, "plastic", ("metal",)),
    Category("ball", _ball, "rubber", tile=0.45),
    Category("drum", _drum, "plastic", ("wooden", "metal")),
    Category("guitar", _guitar, "painted", ("wooden",), tile=0.3),
)
