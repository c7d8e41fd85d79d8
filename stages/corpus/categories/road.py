"""Model the categories car, truck, bus and train."""

from __future__ import annotations

from stages.corpus.draw import Category, Draw, Traits, counted
from stages.corpus.paint import Paint
from stages.corpus.shapes import ball, box, cylinder, dome, lathe, prism


def _wheels(draw: Draw, spots: list[float], half_width: float, radius: float, hub: Paint) -> None:
    """A pair of wheels at each x, on the floor."""
    tyre = draw.fixed("black")
    for x in spots:
        for side in (-1, 1):
            wheel = (
                cylinder(radius, 0.2, bevel=0.05, sides=20).at(y=-0.1).turned("x", 90).at(x, radius, side * half_width)
            )
            disc = cylinder(radius * 0.55, 0.24, sides=14).at(y=-0.12).turned("x", 90).at(x, radius, side * half_width)
            draw.add(wheel, tyre)
            draw.add(disc, hub)


def _lights(draw: Draw, front: float, back: float, height: float, reach: float) -> None:
    yellow, red = draw.fixed("yellow"), draw.fixed("red")
    for side in (-1, 1):
        draw.add(ball(0.08, 14, 8).stretched(x=0.6).at(front, height, side * reach), yellow)
        draw.add(box(0.05, 0.08, 0.14).at(back, height, side * reach), red)


def _car(draw: Draw) -> Traits:
    kind = draw.pick(("sedan", "hatchback", "convertible"))
    half, low = 0.975, 0.17
    wide, hood = draw.between(0.82, 0.92), draw.between(0.5, 0.58)
    roof = hood + draw.between(0.34, 0.42)
    bumper = [(-half, low), (half, low), (half, hood - 0.13), (half - 0.08, hood - 0.05)]
    draw.add(prism([*bumper, (0.4, hood), (-half + 0.06, hood), (-half, hood - 0.1)], wide), draw.main)
    _wheels(draw, [-0.6, 0.6], wide / 2, draw.between(0.2, 0.25), draw.fixed("gray"))
    _lights(draw, half - 0.01, -half, hood - 0.17, wide * 0.34)
    if kind == "convertible":
        top = roof - 0.08
        draw.add(prism([(0.28, hood - 0.05), (0.34, hood - 0.05), (0.16, top), (0.1, top)], wide - 0.1), draw.pane())
        for x in (-0.2, -0.62):
            for side in (-1, 1):
                draw.add(box(0.12, 0.3, 0.28, 0.05).turned("z", 10).at(x, hood + 0.06, side * 0.2), draw.accent)
        draw.add(box(0.85, 0.02, wide - 0.16).at(-0.2, hood + 0.005, 0), draw.fixed("black"))
        return Traits("open", "seats", ("an open top", "four wheels"), "wheels", 4)
    _cabin(draw, kind, wide, hood, roof, -0.72 if kind == "sedan" else -half + 0.04)
    if kind == "sedan":
        return Traits("long", "a roof", ("four windows", "four wheels"), "wheels", 4)
    return Traits("short", "a roof", ("a steep back", "four wheels"), "wheels", 4)


def _cabin(draw: Draw, kind: str, wide: float, hood: float, roof: float, rear: float) -> None:
    """Windows all around below a roof, from `rear` to the windscreen."""
    slant = 0.24 if kind == "sedan" else 0.1
    draw.add(
        prism([(rear, hood - 0.02), (0.48, hood - 0.02), (0.18, roof), (rear + slant, roof)], wide - 0.12), draw.base
    )
    left = rear + slant - 0.02
    draw.add(box(0.24 - left, 0.06, wide - 0.1, 0.025).at((0.2 + left) / 2, roof + 0.01, 0), draw.trim)
    glass, sill, top = draw.pane(), hood + 0.04, roof - 0.07
    back = rear + slant + 0.05
    for side in (-1, 1):
        for window in (
            [(back - 0.06, sill), (-0.2, sill), (-0.22, top), (back, top)],
            [(-0.13, sill), (0.3, sill), (0.18, top), (-0.13, top)],
        ):
            draw.add(prism(window, 0.03).at(z=side * (wide / 2 - 0.055)), glass)
    screen = [(0.47, sill), (0.5, sill), (0.245, top + 0.02), (0.215, top + 0.02)]
    draw.add(prism(screen, wide - 0.26), glass)
    pane = box(0.03, roof - hood - 0.12, wide - 0.26).turned("z", -34 if kind == "sedan" else -15)
    draw.add(pane.at(rear + slant * 0.45, (roof + hood) / 2), glass)


def _truck(draw: Draw) -> Traits:
    kind = draw.pick(("box", "dump", "tanker"))
    wide, axles = 0.78, draw.count(2, 3)
    draw.add(box(1.9, 0.14, wide - 0.2).at(0, 0.3, 0), draw.fixed("black"))
    cab = [(0.42, 0.3), (0.98, 0.3), (0.98, 0.68), (0.86, 1.0), (0.42, 1.0)]
    paint = draw.trim if kind != "dump" else draw.base
    draw.add(prism(cab, wide), paint)
    glass = draw.pane(paint)
    draw.add(prism([(0.985, 0.7), (1.0, 0.7), (0.89, 0.96), (0.875, 0.96)], wide - 0.12), glass)
    for side in (-1, 1):
        draw.add(prism([(0.56, 0.68), (0.92, 0.68), (0.83, 0.93), (0.56, 0.93)], 0.03).at(z=side * wide / 2), glass)
    if kind == "box":
        high = draw.between(0.75, 1.0)
        draw.add(box(1.3, high, wide + 0.08, 0.03).at(-0.32, 0.37 + high / 2, 0), draw.main)
    elif kind == "dump":
        bed = [(-1.0, 0.75), (-0.75, 0.38), (0.34, 0.38), (0.34, 1.0)]
        draw.add(prism(bed, wide + 0.1), draw.main)
        draw.add(ball(0.5, 20, 8).stretched(1.0, 0.42, 0.66).at(-0.2, 0.86, 0), draw.fixed("brown"))
    else:
        tank = cylinder(0.42, 1.3, bevel=0.12, sides=32).turned("z", 90).at(0.34, 0.78, 0)
        draw.add(tank, draw.main)
        draw.add(cylinder(0.12, 0.1).at(-0.32, 1.17, 0), draw.trim)
    spots = [0.66, -0.6] if axles == 2 else [0.66, -0.35, -0.78]
    _wheels(draw, spots, wide / 2 - 0.02, 0.2, draw.fixed("gray"))
    _lights(draw, 0.98, -0.96, 0.42, wide * 0.35)
    feature = {"box": "a box for cargo", "dump": "a load of soil", "tanker": "a round tank"}[kind]
    return Traits("", "a cab" if kind != "dump" else "", (feature, counted(2 * axles, "wheel")), "wheels", 2 * axles)


def _bus(draw: Draw) -> Traits:
    double = draw.chance(0.4)
    long, wide = 2.0, 0.68
    high = draw.between(1.15, 1.25) if double else draw.between(0.66, 0.76)
    draw.add(box(long, high, wide, 0.07).at(0, 0.16 + high / 2, 0), draw.main)
    draw.add(box(long - 0.08, 0.07, wide - 0.06, 0.03).at(0, 0.19 + high, 0), draw.trim)
    glass = draw.pane()
    windows = draw.count(4, 6)
    rows = [0.16 + high * 0.62] if not double else [0.16 + high * 0.4, 0.16 + high * 0.79]
    tall = 0.21
    for y in rows:
        each = (long - 0.3) / windows
        for index in range(windows):
            x = -long / 2 + 0.12 + each * (index + 0.5)
            draw.add(box(each - 0.07, tall, wide + 0.03, 0.012).at(x, y, 0), glass)
        draw.add(box(0.03, tall + 0.05, wide - 0.12, 0.012).at(long / 2, y, 0), glass)
        draw.add(box(0.03, tall, wide - 0.2, 0.012).at(-long / 2, y, 0), glass)
    draw.add(
        box(0.2, 0.52 if not double else 0.45, 0.03).at(long / 2 - 0.13, 0.48 if not double else 0.44, wide / 2),
        draw.trim,
    )
    _wheels(draw, [-0.58, 0.52], wide / 2 - 0.05, 0.19, draw.fixed("gray"))
    _lights(draw, long / 2, -long / 2, 0.28, wide * 0.36)
    return Traits(
        "double-decker" if double else "long",
        "a roof",
        ("two rows of windows" if double else f"{counted(windows, 'window')} a side",),
        "decks",
        2 if double else 1,
    )


def _train(draw: Draw) -> Traits:
    wagons, wide = draw.count(0, 2), 0.42
    engine = 0.9 if wagons else 1.6
    scale = engine / 0.9
    start = 1.0 - engine if wagons else 0.8 - engine
    high = 0.34 * min(scale, 1.4)
    wide *= min(scale, 1.4)
    base = 0.2
    draw.add(box(engine, 0.1, wide).at(start + engine / 2, base, 0), draw.fixed("black"))
    boiler = (
        cylinder(high / 2 + 0.02, engine * 0.62, sides=28)
        .turned("z", -90)
        .at(start + engine * 0.36, base + 0.05 + high / 2 + 0.03, 0)
    )
    draw.add(boiler, draw.main)
    cab_high = high * 1.75
    draw.add(box(engine * 0.4, cab_high, wide).at(start + engine * 0.2, base + cab_high / 2, 0), draw.main)
    draw.add(box(engine * 0.47, 0.06, wide + 0.1).at(start + engine * 0.2, base + cab_high, 0), draw.trim)
    glass = draw.pane()
    draw.add(
        box(engine * 0.22, cab_high * 0.28, wide + 0.03, 0.01).at(start + engine * 0.2, base + cab_high * 0.72, 0),
        glass,
    )
    chimney = lathe(
        [(0, 0), (0.06 * scale, 0), (0.06 * scale, 0.2 * scale), (0.1 * scale, 0.3 * scale), (0, 0.3 * scale)], 20
    )
    draw.add(chimney.at(start + engine * 0.87, base + high, 0), draw.trim)
    draw.add(dome(0.09 * scale, 0.11 * scale, 20, 6).at(start + engine * 0.6, base + high + 0.05, 0), draw.trim)
    bumper = prism([(0, 0), (0.16 * scale, 0), (0, 0.18 * scale)], wide)
    draw.add(bumper.at(start + engine, 0.05, 0), draw.trim)
    draw.add(ball(0.055 * scale, 14, 8).at(start + engine * 0.985, base + 0.08 + high / 2, 0), draw.fixed("yellow"))
    spots = [start + engine * part for part in (0.16, 0.42, 0.66, 0.88)]
    each = 0.72
    for index in range(wagons):
        x = start - 0.1 - each * (index + 0.5) - 0.08 * index
        draw.add(box(each, 0.08, wide).at(x, base, 0), draw.fixed("black"))
        draw.add(box(each - 0.02, 0.34, wide).at(x, base + 0.21, 0), draw.main)
        draw.add(box(0.3, 0.05, 0.1).at(x + each / 2, base, 0), draw.fixed("black"))
        draw.add(box(each + 0.04, 0.05, wide + 0.06).at(x, base + 0.4, 0), draw.trim)
        for shift in (-0.18, 0.18):
            draw.add(box(0.18, 0.15, wide + 0.03, 0.01).at(x + shift, base + 0.25, 0), glass)
        spots += [x - 0.2, x + 0.2]
    radius = 0.12 * min(scale, 1.4)
    _wheels(draw, spots, wide / 2, radius, draw.trim)
    feature = "no wagons" if wagons == 0 else counted(wagons, "wagon")
    return Traits(
        "long" if wagons == 2 else "short" if wagons == 0 else "", "a roof and chimney", (feature,), "wagons", wagons
    )


CATEGORIES = (
    Category("car", _car, "tin", tile=0.3),
    Category("truck", _truck, "tin", tile=0.32),
    Category("bus", _bus, "tin", tile=0.25),
    Category("train", _train, "plastic", ("wooden", "metal"), tile=0.25),
)
