"""Model the categories house, tower and windmill."""

from __future__ import annotations

from stages.corpus.draw import Category, Draw, Traits, counted
from stages.corpus.shapes import arc, box, cylinder, prism


def _house(draw: Draw) -> Traits:
    floors = draw.count(1, 2)
    wide, deep = draw.between(1.2, 1.5), draw.between(1.0, 1.2)
    wall, rise = 0.6 * floors + 0.28, draw.between(0.35, 0.55)
    draw.add(box(wide, wall, deep, 0.01).at(y=wall / 2), draw.main)
    gable = prism([(-deep / 2, wall - 0.02), (deep / 2, wall - 0.02), (0, wall + rise - 0.03)], wide - 0.02).turned(
        "y", 90
    )
    draw.add(gable, draw.main)
    over, thick = 0.1, 0.08
    slope = [(0, wall + rise), (0, wall + rise + thick * 1.3)]
    edge = (deep / 2 + over, wall - over * rise / (deep / 2))
    left = prism([(-edge[0], edge[1]), slope[0], slope[1], (-edge[0], edge[1] + thick)], wide + 0.2).turned("y", 90)
    right = prism([(edge[0], edge[1]), (edge[0], edge[1] + thick), slope[1], slope[0]], wide + 0.2).turned("y", 90)
    draw.add([left, right], draw.accent)
    glass, wood = draw.pane(), draw.fixed("brown" if draw.color not in ("brown", "black") else "white")
    draw.add(box(0.26, 0.46, 0.06, 0.02).at(0, 0.23, deep / 2), wood)
    draw.add(box(0.26, 0.46, 0.06, 0.02).turned("y", 90).at(-wide / 2, 0.23, 0), wood)
    for floor in range(floors):
        for x in (-1, 1) if floor == 0 else (-1, 0, 1):
            for side in (-1, 1):
                draw.add(box(0.22, 0.26, 0.06, 0.01).at(x * wide * 0.31, 0.5 + 0.6 * floor, side * deep / 2), glass)
        for side in (-1, 1):
            draw.add(
                box(0.06, 0.26, 0.22, 0.01).at(side * wide / 2, 0.5 + 0.6 * floor, 0.3 if floor == 0 else 0), glass
            )
    chimney = draw.chance(0.6)
    if chimney:
        draw.add(box(0.2, 0.6, 0.2, 0.01).at(wide * 0.28, wall + rise * 0.85, -deep * 0.18), draw.base)
    features = (counted(floors, "floor"), "a chimney" if chimney else "a gabled roof")
    return Traits("tall" if floors == 2 else "low", "a roof", features, "floors", floors)


def _tower(draw: Draw) -> Traits:
    round_tower, pointed = draw.chance(0.6), draw.chance(0.5)
    radius, high = draw.between(0.4, 0.52), draw.between(1.25, 1.55)
    sides = 32 if round_tower else 4
    turn = 0 if round_tower else 45
    if not round_tower:
        radius *= 1.25
    draw.add(cylinder(radius, high, radius * 0.92, 0.01, sides).turned("y", turn), draw.main)
    wide = radius * 1.18
    draw.add(cylinder(radius * 0.95, 0.32, wide, 0.01, sides).turned("y", turn).at(y=high - 0.1), draw.main)
    if pointed:
        draw.add(
            cylinder(wide + 0.1, draw.between(0.6, 0.85), 0, 0.02, sides).turned("y", turn).at(y=high + 0.2),
            draw.accent,
        )
    elif round_tower:
        draw.add(
            (box(0.2, 0.24, 0.14, 0.01).at(0, high + 0.32, wide - 0.07).turned("y", 45 * step) for step in range(8)),
            draw.accent,
        )
    else:
        side = wide / 2**0.5
        for step in range(4):
            for x in (-side + 0.09, 0.0):
                draw.add(box(0.2, 0.24, 0.14, 0.01).at(x, high + 0.32, side - 0.06).turned("y", 90 * step), draw.accent)
    front = radius if round_tower else radius / 2**0.5
    door = prism([(-0.15, 0), (0.15, 0), *arc(0.15, 0, 180, 9, (0, 0.26))], 0.1)
    draw.add(door.at(0, 0, front - 0.01), draw.fixed("brown" if draw.color not in ("brown", "black") else "white"))
    glass, rows = draw.fixed("white" if draw.color == "black" else "black"), draw.count(1, 2)
    slit = prism([(-0.07, 0), (0.07, 0), *arc(0.07, 0, 180, 7, (0, 0.18))], 0.12)
    for row in range(rows):
        y = high * (0.72 - 0.3 * row)
        inset = front * (1 - 0.08 * y / high)
        for turns in (0, 90, 180, 270) if row == 0 else (90, 270):
            draw.add(slit.at(0, y, inset - 0.03).turned("y", turns), glass)
    top = "a pointed roof" if pointed else "battlements"
    return Traits("round" if round_tower else "square", top, ("an arched door", "narrow windows"))


def _windmill(draw: Draw) -> Traits:
    radius, high, sails = draw.between(0.42, 0.52), draw.between(1.1, 1.3), draw.pick((3, 4, 4, 6))
    draw.add(cylinder(radius, high, radius * 0.62, 0.01, 32), draw.main)
    draw.add(cylinder(radius * 0.8, 0.42, 0, 0.02, 32).at(y=high), draw.base)
    hub_y, hub_z = high + 0.02, radius * 0.72 + 0.12
    draw.add(cylinder(0.1, 0.4).turned("x", 90).at(0, hub_y, hub_z - 0.3), draw.fixed("brown"))
    reach, broad = draw.between(0.78, 0.92), draw.between(0.2, 0.28)
    spin = draw.between(0, 90)
    for index in range(sails):
        turn = spin + 360 * index / sails
        beam = box(0.07, reach, 0.06, 0.01).at(0, reach / 2, 0)
        cloth = box(broad, reach * 0.72, 0.035, 0.01).at(broad / 2 + 0.03, reach * 0.62, 0)
        draw.add(beam.turned("z", turn).at(0, hub_y, hub_z), draw.fixed("brown"))
        draw.add(cloth.turned("z", turn).at(0, hub_y, hub_z), draw.accent)
    door = prism([(-0.13, 0), (0.13, 0), *arc(0.13, 0, 180, 9, (0, 0.28))], 0.1)
    dark = draw.fixed("brown" if draw.color not in ("brown", "black") else "white")
    draw.add(door.at(0, 0, radius - 0.03), dark)
    for turn in (0, 120, 240):
        draw.add(box(0.17, 0.2, 0.08, 0.01).at(0, high * 0.62, radius * 0.75).turned("y", turn), draw.pane())
    return Traits("slim" if radius < 0.45 else "", "sails", (counted(sails, "sail"),), "sails", sails)


CATEGORIES = (
    Category("house", _house, "plaster", ("wooden", "stone"), tile=0.42),
    Category("tower", _tower, "plaster", ("stone",), tile=0.42),
    Category("windmill", _windmill, "plaster", ("wooden", "stone")),
)
