"""Model the categories chair, table, sofa, bed, lamp, bookshelf and cabinet."""

from __future__ import annotations

from stages.corpus.draw import Category, Draw, Traits, counted
from stages.corpus.shapes import ball, box, cylinder, lathe, tube
from stages.corpus.solid import around_y


def _legs(draw: Draw, width: float, depth: float, height: float, thick: float, splay: float = 0.0) -> None:
    """Four legs under a rectangle, from the floor to `height`."""
    square = draw.chance(0.5)
    for x in (-width / 2, width / 2):
        for z in (-depth / 2, depth / 2):
            if square and not splay:
                draw.add(box(thick, height, thick).at(x, height / 2, z), draw.trim)
            else:
                foot = (x * (1 + splay), 0.0, z * (1 + splay))
                draw.add(tube([foot, (x, height, z)], (thick * 0.45, thick * 0.6), 14), draw.trim)


def _chair(draw: Draw) -> Traits:
    wide, deep = draw.between(0.85, 1.1), draw.between(0.8, 1.0)
    seat, high = draw.between(0.75, 0.95), draw.between(0.75, 1.2)
    thick, round_seat = draw.between(0.1, 0.18), draw.chance(0.35)
    if round_seat:
        draw.add(cylinder(wide / 2, thick, bevel=0.04).at(y=seat - thick), draw.main)
        _legs(draw, wide * 0.6, wide * 0.6, seat - thick / 2, 0.1, splay=draw.pick((0.0, 0.25)))
        deep = wide
    else:
        draw.add(box(wide, thick, deep, 0.04).at(y=seat - thick / 2), draw.main)
        _legs(draw, wide - 0.14, deep - 0.14, seat - thick / 2, 0.12)
    back_z, back = -deep / 2 + 0.06, draw.pick(("solid", "slats", "rails"))
    if back == "solid":
        draw.add(box(wide, high, 0.11, 0.05).turned("x", -6).at(0, seat + high / 2 - 0.02, back_z), draw.main)
    else:
        for side in (-1, 1):
            post = tube(
                [
                    (side * (wide / 2 - 0.07), seat - 0.05, back_z),
                    (side * (wide / 2 - 0.07), seat + high, back_z - 0.06),
                ],
                0.065,
            )
            draw.add(post, draw.main)
        if back == "rails":
            for height in (0.35, 0.63, 0.91):
                draw.add(box(wide - 0.05, 0.16, 0.08).at(0, seat + high * height, back_z - 0.06 * height), draw.main)
        else:
            draw.add(box(wide, 0.17, 0.1).at(0, seat + high, back_z - 0.06), draw.main)
            for x in (-0.25, 0.0, 0.25):
                draw.add(box(0.09, high, 0.06).turned("x", -4).at(x * wide, seat + high / 2, back_z - 0.03), draw.main)
    arms = draw.chance(0.3) and not round_seat
    if arms:
        for side in (-1, 1):
            x = side * (wide / 2 - 0.03)
            draw.add(box(0.11, 0.08, deep).at(x, seat + 0.36, 0), draw.trim)
            draw.add(box(0.09, 0.36, 0.09).at(x, seat + 0.17, deep / 2 - 0.08), draw.trim)
    style = {"solid": "a solid back", "slats": "a slatted back", "rails": "a ladder back"}[back]
    extra = "a round seat" if round_seat else "armrests" if arms else counted(4, "leg")
    return Traits(
        "high-backed" if high > 1.05 else "low-backed" if high < 0.85 else "", "legs", (extra, style), "legs", 4
    )


def _table(draw: Draw) -> Traits:
    high, thick = draw.between(0.7, 1.15), draw.between(0.1, 0.18)
    round_top = draw.chance(0.5)
    wide, deep = draw.between(1.5, 2.0), draw.between(0.9, 1.2)
    if round_top:
        draw.add(cylinder(wide / 2, thick, bevel=0.04, sides=40).at(y=high - thick), draw.main)
        deep = wide
    else:
        draw.add(box(wide, thick, deep, 0.03).at(y=high - thick / 2), draw.main)
    shape = "round" if round_top else "rectangular"
    if round_top and draw.chance(0.5):
        foot, stem = draw.between(0.35, 0.5), draw.between(0.08, 0.14)
        profile = [
            (0, 0),
            (foot, 0),
            (foot, 0.07),
            (stem + 0.05, 0.16),
            (stem, 0.3),
            (stem, high - thick / 2),
            (0, high - thick / 2),
        ]
        draw.add(lathe(profile), draw.trim)
        return Traits(shape, "a pedestal", ("a single pedestal",), "legs", 1)
    if round_top and draw.chance(0.5):
        leg = tube([(0.62 * wide / 2, 0, 0), (0.42 * wide / 2, high - thick / 2, 0)], (0.06, 0.08), 14)
        draw.add(around_y(leg, 3, 90), draw.trim)
        return Traits(shape, "legs", (counted(3, "leg"),), "legs", 3)
    reach = 0.66 if round_top else 1.0
    _legs(draw, wide * reach - 0.2, deep * reach - 0.2, high - thick / 2, draw.between(0.11, 0.17))
    return Traits(shape, "legs", (counted(4, "leg"),), "legs", 4)


def _sofa(draw: Draw) -> Traits:
    seats = draw.count(1, 3)
    each = draw.between(0.58, 0.66) if seats > 1 else 0.85
    wide, deep, seat = seats * each, draw.between(0.75, 0.9), draw.between(0.34, 0.42)
    arm, high = draw.between(0.15, 0.24), draw.between(0.75, 0.98)
    rolled, cushions = draw.chance(0.5), draw.count(0, min(seats, 2))
    for index in range(cushions):
        throw = box(0.34, 0.34, 0.14, 0.065).turned("z", 45).turned("x", -18).turned("y", 20 - 40 * index)
        x = (0.5 - index) * (seats - 1) * each if cushions == 2 else 0.0
        draw.add(throw.at(x, seat + 0.36, -deep / 2 + 0.42), draw.accent)
    draw.add(box(wide + 0.02, seat - 0.1, deep, 0.03).at(0, seat / 2, 0), draw.base)
    for index in range(seats):
        x = (index - (seats - 1) / 2) * each
        draw.add(box(each - 0.015, 0.2, deep - 0.14, 0.07).at(x, seat + 0.04, 0.08), draw.main)
        draw.add(
            box(each - 0.015, high - seat, 0.24, 0.09)
            .turned("x", -9)
            .at(x, (high + seat) / 2 + 0.03, -deep / 2 + 0.14),
            draw.main,
        )
    for side in (-1, 1):
        x = side * (wide + arm) / 2
        if rolled:
            draw.add(tube([(x, seat + 0.3, -deep / 2), (x, seat + 0.3, deep / 2)], arm * 0.62, 20), draw.base)
        draw.add(box(arm, seat + 0.28, deep, 0.06).at(x, (seat + 0.28) / 2 + 0.04, 0), draw.base)
        for z in (-1, 1):
            foot = cylinder(0.05, 0.1).at(side * (wide / 2), 0, z * (deep / 2 - 0.1))
            draw.add(foot.at(y=-0.04), draw.fixed("brown"))
    shape = {1: "narrow", 2: "short", 3: "long"}[seats]
    arms = "rolled armrests" if rolled else "straight armrests"
    return Traits(shape, ("", "a pillow", "pillows")[cushions], (counted(seats, "seat"), arms), "seats", seats)


def _bed(draw: Draw) -> Traits:
    wide, deep = draw.pick((0.95, 1.3, 1.5)), draw.between(1.8, 2.0)
    head, foot = draw.between(0.75, 1.15), draw.chance(0.5)
    draw.add(box(wide, 0.2, deep).at(0, 0.3, 0), draw.trim)
    draw.add(box(wide - 0.06, 0.22, deep - 0.06, 0.08).at(0, 0.5, 0), draw.fixed("white"))
    cover = deep * draw.between(0.6, 0.68)
    draw.add(box(wide + 0.04, 0.3, cover, 0.07).at(0, 0.52, deep / 2 - cover / 2 + 0.02), draw.main)
    headboard = box(wide + 0.08, head - 0.1, 0.1, 0.04).at(0, (head + 0.1) / 2, -deep / 2 - 0.03)
    draw.add(headboard, draw.main)
    if foot:
        draw.add(box(wide + 0.08, 0.5, 0.09, 0.04).at(0, 0.4, deep / 2 + 0.05), draw.trim)
    for x in (-1.0, 1.0):
        for z in (-1, 1):
            draw.add(box(0.1, 0.3, 0.1).at(x * (wide / 2 - 0.03), 0.15, z * (deep / 2 - 0.03)), draw.trim)
    pillows = 1 if wide < 1 else 2
    pillow = draw.fixed("white")
    for index in range(pillows):
        x = (index - (pillows - 1) / 2) * wide * 0.47
        draw.add(
            box(wide * (0.42 if pillows == 2 else 0.7), 0.16, 0.36, 0.075)
            .turned("x", 14)
            .at(x, 0.67, -deep / 2 + 0.27),
            pillow,
        )
    shape = "narrow" if wide < 1 else "wide" if wide > 1.4 else ""
    extra = ("a high headboard",) if head > 0.95 else ("a footboard",) if foot else ()
    return Traits(shape, "a frame", (counted(pillows, "white pillow"), *extra), "pillows", pillows)


def _lamp(draw: Draw) -> Traits:
    tall = draw.chance(0.4)
    stem = draw.between(1.1, 1.3) if tall else draw.between(0.45, 0.7)
    radius, high = (0.42, 0.55) if tall else (draw.between(0.5, 0.65), draw.between(0.55, 0.75))
    top = radius * draw.between(0.45, 0.9)
    foot = draw.between(0.3, 0.42)
    draw.add(cylinder(foot, 0.09, foot * 0.9, 0.03), draw.trim)
    if tall or draw.chance(0.5):
        draw.add(cylinder(0.05, stem + 0.2).at(y=0.05), draw.trim)
    else:
        belly = draw.between(0.2, 0.32)
        profile = [
            (0, 0.05),
            (0.12, 0.08),
            (belly, stem * 0.35),
            (belly * 0.8, stem * 0.6),
            (0.07, stem * 0.9),
            (0.05, stem + 0.2),
            (0, stem + 0.2),
        ]
        draw.add(lathe(profile), draw.trim)
    wall = 0.04
    shade = [
        (0, high * 0.6),
        (top - wall, high * 0.6),
        (radius - wall, 0.0),
        (radius, 0.0),
        (top, high),
        (top - wall, high),
        (top - wall - 0.02, high * 0.62),
        (0, high * 0.62),
    ]
    draw.add(lathe(shade, 36).at(y=stem), draw.main)
    draw.add(ball(0.14, 16, 8).at(y=stem + 0.12), draw.fixed("yellow"))
    return Traits("tall" if tall else "short", "a stand", ("a round base",))


def _bookshelf(draw: Draw) -> Traits:
    shelves, wide = draw.count(2, 4), draw.between(0.9, 1.3)
    high, deep, wall = draw.between(0.42, 0.5) * shelves, 0.42, 0.07
    for side in (-1, 1):
        draw.add(box(wall, high + wall, deep).at(side * (wide / 2), high / 2 + wall / 2, 0), draw.main)
    draw.add(box(wide, high, 0.05).at(0, high / 2 + wall / 2, -deep / 2 + 0.025), draw.main)
    for index in range(shelves + 1):
        draw.add(box(wide + wall, wall, deep + 0.01).at(0, index * high / shelves + wall / 2, 0), draw.main)
    paints = [draw.fixed(color) for color in ("red", "blue", "green", "yellow", "purple", "white")]
    room = high / shelves - wall
    for index in range(shelves):
        x, end = -wide / 2 + 0.06, wide / 2 - 0.06 - draw.between(0.0, 0.4) * wide
        while x < end - 0.12:
            thick, tall = draw.between(0.07, 0.13), room * draw.between(0.65, 0.92)
            place = (x + thick / 2, index * high / shelves + wall + tall / 2, 0.02)
            draw.add(box(thick * 0.94, tall, 0.3, 0.01).at(*place), draw.pick(paints))
            x += thick
    shape = {2: "low", 3: "", 4: "tall"}[shelves]
    return Traits(shape, "", (f"{counted(shelves, 'row')} of books",), "rows", shelves)


def _cabinet(draw: Draw) -> Traits:
    kind = draw.pick(("doors", "drawers"))
    wide, deep = draw.between(0.9, 1.4), draw.between(0.5, 0.65)
    number = draw.count(1, 2) if kind == "doors" else draw.count(2, 4)
    high = draw.between(1.2, 1.8) if kind == "doors" else 0.36 * number + 0.1
    foot = 0.16
    draw.add(box(wide, high, deep, 0.03).at(0, foot + high / 2, 0), draw.main)
    draw.add(box(wide + 0.1, 0.08, deep + 0.1).at(0, foot + high, 0.01), draw.trim)
    for x in (-1.0, 1.0):
        for z in (-1, 1):
            draw.add(cylinder(0.06, foot + 0.05).at(x * (wide / 2 - 0.1), 0, z * (deep / 2 - 0.1)), draw.trim)
    knob = draw.fixed("yellow" if draw.color in ("black", "brown", "gray", "purple", "blue") else "black")
    for index in range(number):
        if kind == "doors":
            each = wide / number
            x = (index - (number - 1) / 2) * each
            draw.add(box(each - 0.08, high - 0.16, 0.06).at(x, foot + high / 2 - 0.02, deep / 2 + 0.01), draw.main)
            side = 1 if index == 0 else -1
            draw.add(ball(0.06, 14, 8).at(x + side * (each / 2 - 0.14), foot + high / 2, deep / 2 + 0.08), knob)
        else:
            each = (high - 0.08) / number
            y = foot + 0.03 + each * (index + 0.5)
            draw.add(box(wide - 0.1, each - 0.06, 0.06).at(0, y, deep / 2 + 0.02), draw.main)
            for x in (-1, 1):
                draw.add(ball(0.055, 14, 8).at(x * wide * 0.24, y, deep / 2 + 0.09), knob)
    shape = "tall" if high > 1.5 else "low" if high < 0.9 else "wide" if wide > 1.25 else ""
    return Traits(shape, "a top and feet", (counted(number, kind[:-1]),), kind, number)


CATEGORIES = (
    Category("chair", _chair, "plastic", ("wooden", "metal")),
    Category("table", _table, "plastic", ("wooden", "stone")),
    Category("sofa", _sofa, "fabric"),
    Category("bed", _bed, "fabric"),
    Category("lamp", _lamp, "fabric"),
    Category("bookshelf", _bookshelf, "painted", ("wooden",)),
    Category("cabinet", _cabinet, "painted", ("wooden", "metal")),
)
