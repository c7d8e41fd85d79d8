"""Car, truck, bus, train, boat, airplane, rocket."""

from __future__ import annotations

from stages.modelling.draw import Category, Draw, Traits, counted
from stages.modelling.paint import Paint
from stages.modelling.shapes import arc, ball, box, cylinder, dome, lathe, prism, tube
from stages.modelling.solid import around_y


def _wheels(draw: Draw, spots: list[float], half_width: float, radius: float, hub: Paint) -> None:
    """A pair of wheels at each place along x, on the floor."""
    tyre = draw.fixed("black")
    for x in spots:
        for side in (-1, 1):
            wheel = cylinder(radius, 0.2, bevel=0.05, sides=20).at(y=-0.1).turned("x", 90).at(x, radius, side * half_width)
            disc = cylinder(radius * 0.55, 0.24, sides=14).at(y=-0.12).turned("x", 90).at(x, radius, side * half_width)
            draw.add(wheel, tyre)
            draw.add(disc, hub)


def _lights(draw: Draw, front: float, back: float, height: float, reach: float) -> None:
    yellow, red = draw.fixed("yellow"), draw.fixed("red")
    for side in (-1, 1):
        draw.add(ball(0.08, 14, 8).stretched(x=0.6).at(front, height, side * reach), yellow)
        draw.add(box(0.05, 0.08, 0.14).at(back, height, side * reach), red)


def _glass(draw: Draw) -> Paint:
    return draw.fixed("black" if draw.color in ("white", "gray", "teal", "blue") else "white")


def _car(draw: Draw) -> Traits:
    kind = draw.pick(("sedan", "hatchback", "convertible"))
    long, wide, low, hood = 1.95, draw.between(0.82, 0.92), 0.17, draw.between(0.5, 0.58)
    roof = hood + draw.between(0.34, 0.42)
    half = long / 2
    lower = [(-half, low), (half, low), (half, hood - 0.13), (half - 0.08, hood - 0.05), (0.4, hood), (-half + 0.06, hood), (-half, hood - 0.1)]
    draw.add(prism(lower, wide), draw.main)
    if kind == "convertible":
        draw.add(prism([(0.28, hood - 0.05), (0.34, hood - 0.05), (0.16, roof - 0.08), (0.1, roof - 0.08)], wide - 0.1), _glass(draw))
        for x in (-0.1, -0.52):
            for side in (-1, 1):
                draw.add(box(0.12, 0.3, 0.28, 0.05).turned("z", 10).at(x - 0.1, hood + 0.06, side * 0.2), draw.accent)
        draw.add(box(0.85, 0.02, wide - 0.16).at(-0.2, hood + 0.005, 0), draw.fixed("black"))
    else:
        rear = -0.72 if kind == "sedan" else -half + 0.04
        cabin = [(rear, hood - 0.02), (0.48, hood - 0.02), (0.18, roof), (rear + (0.24 if kind == "sedan" else 0.1), roof)]
        draw.add(prism(cabin, wide - 0.12), draw.base)
        left = cabin[3][0] - 0.02
        draw.add(box(0.24 - left, 0.06, wide - 0.1, 0.025).at((0.2 + left) / 2, roof + 0.01, 0), draw.trim)
        glass = _glass(draw)
        slant = rear + (0.3 if kind == "sedan" else 0.14)
        for z in (-1, 1):
            for left, right in ((slant, -0.2), (-0.13, 0.2)):
                window = [(left - 0.06 * (left < -0.2), hood + 0.04), (right + 0.1 * (right > 0), hood + 0.04), (right - 0.02, roof - 0.07), (left, roof - 0.07)]
                draw.add(prism(window, 0.03).at(z=z * (wide / 2 - 0.055)), glass)
        slope = prism([(0.47, hood + 0.04), (0.5, hood + 0.04), (0.245, roof - 0.05), (0.215, roof - 0.05)], wide - 0.26)
        draw.add(slope, glass)
        draw.add(box(0.03, roof - hood - 0.12, wide - 0.26).turned("z", -34 if kind == "sedan" else -15).at(rear + (0.1 if kind == "sedan" else 0.03), (roof + hood) / 2), glass)
    _wheels(draw, [-0.6, 0.6], wide / 2, draw.between(0.2, 0.25), draw.fixed("gray"))
    _lights(draw, half - 0.01, -half, hood - 0.17, wide * 0.34)
    features = {"sedan": "four windows", "hatchback": "a sloping back", "convertible": "an open top"}[kind]
    return Traits("long" if kind == "sedan" else "open" if kind == "convertible" else "short", "seats" if kind == "convertible" else "a roof", (features, "four wheels"), "wheels", 4)


def _truck(draw: Draw) -> Traits:
    kind = draw.pick(("box", "dump", "tanker"))
    wide, axles = 0.78, draw.count(2, 3)
    draw.add(box(1.9, 0.14, wide - 0.2).at(0, 0.3, 0), draw.fixed("black"))
    cab = [(0.42, 0.3), (0.98, 0.3), (0.98, 0.68), (0.86, 1.0), (0.42, 1.0)]
    draw.add(prism(cab, wide), draw.trim)
    glass = draw.fixed("black" if draw.trim != draw.accent or draw.second_color != "black" else "white")
    if draw.color == "black" and draw.trim == draw.base:
        glass = draw.fixed("white")
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
    return Traits("", "a cab", (feature, counted(2 * axles, "wheel")), "wheels", 2 * axles)


def _bus(draw: Draw) -> Traits:
    double = draw.chance(0.4)
    long, wide = 2.0, 0.68
    high = draw.between(1.15, 1.25) if double else draw.between(0.66, 0.76)
    draw.add(box(long, high, wide, 0.07).at(0, 0.16 + high / 2, 0), draw.main)
    draw.add(box(long - 0.08, 0.07, wide - 0.06, 0.03).at(0, 0.19 + high, 0), draw.trim)
    glass = _glass(draw)
    windows = draw.count(4, 6)
    rows = [0.16 + high * 0.62] if not double else [0.16 + high * 0.4, 0.16 + high * 0.79]
    tall = 0.26
    for level, y in enumerate(rows):
        each = (long - 0.3) / windows
        for index in range(windows):
            x = -long / 2 + 0.12 + each * (index + 0.5)
            draw.add(box(each - 0.07, tall, wide + 0.03, 0.012).at(x, y, 0), glass)
        draw.add(box(0.03, tall + 0.05, wide - 0.12, 0.012).at(long / 2, y, 0), glass)
        draw.add(box(0.03, tall, wide - 0.2, 0.012).at(-long / 2, y, 0), glass)
    draw.add(box(0.2, 0.52 if not double else 0.45, 0.03).at(long / 2 - 0.13, 0.48 if not double else 0.44, wide / 2), draw.trim)
    _wheels(draw, [-0.58, 0.52], wide / 2 - 0.05, 0.19, draw.fixed("gray"))
    _lights(draw, long / 2, -long / 2, 0.28, wide * 0.36)
    return Traits("double-decker" if double else "long", "a roof", (f"a row of {counted(windows, 'window').split()[0]} windows" if not double else "two rows of windows",), "decks", 2 if double else 1)


def _train(draw: Draw) -> Traits:
    wagons, wide = draw.count(0, 2), 0.42
    engine = 0.9 if wagons else 1.6
    scale = engine / 0.9
    start = 1.0 - engine if wagons else 0.8 - engine
    high = 0.34 * min(scale, 1.4)
    wide *= min(scale, 1.4)
    base = 0.2
    draw.add(box(engine, 0.1, wide).at(start + engine / 2, base, 0), draw.fixed("black"))
    boiler = cylinder(high / 2 + 0.02, engine * 0.62, sides=28).turned("z", -90).at(start + engine * 0.36, base + 0.05 + high / 2 + 0.03, 0)
    draw.add(boiler, draw.main)
    cab_high = high * 1.75
    draw.add(box(engine * 0.4, cab_high, wide).at(start + engine * 0.2, base + cab_high / 2, 0), draw.main)
    draw.add(box(engine * 0.47, 0.06, wide + 0.1).at(start + engine * 0.2, base + cab_high, 0), draw.trim)
    glass = _glass(draw)
    draw.add(box(engine * 0.22, cab_high * 0.28, wide + 0.03, 0.01).at(start + engine * 0.2, base + cab_high * 0.72, 0), glass)
    chimney = lathe([(0, 0), (0.06 * scale, 0), (0.06 * scale, 0.2 * scale), (0.1 * scale, 0.3 * scale), (0, 0.3 * scale)], 20)
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
    return Traits("long" if wagons == 2 else "short" if wagons == 0 else "", "a roof and chimney", (feature,), "wagons", wagons)


def _boat(draw: Draw) -> Traits:
    sail = draw.chance(0.65)
    long, wide, deep = 1.9, draw.between(0.6, 0.75), draw.between(0.36, 0.46)
    hull = prism([(-long / 2 + 0.12, 0), (long / 2 - 0.45, 0), (long / 2, deep), (-long / 2, deep)], wide)
    # pinched towards the bow and the keel
    points = hull.points.copy()
    forward = (points[:, 0] + long / 2) / long
    points[:, 2] *= 1 - 0.85 * forward**3
    points[:, 2] *= 0.6 + 0.4 * points[:, 1] / deep
    draw.add(type(hull)(points, hull.normals, hull.uvs, hull.faces), draw.main)
    outline = [(-long / 2, -wide / 2), (-0.2, -wide / 2 * 0.93), (0.25, -wide * 0.36), (0.65, -wide * 0.2), (long / 2 + 0.02, -0.05)]
    deck = prism([*outline, *((x, -z) for x, z in reversed(outline))], 0.06).turned("x", -90)
    draw.add(deck.at(y=deep), draw.trim if draw.trim == draw.accent else draw.fixed("brown"))
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
    profile = [(0, back), (0.05, back + 0.02), (radius * 0.75, -0.45), (radius, -0.1), (radius, 0.55), (radius * 0.8, 0.8), (radius * 0.45, 0.95), (0, 1.0)]
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
        return Traits("swept-winged" if sweep > 0.4 else "", "a tail and engines", ("two engines", "swept wings"), "engines", 2)
    draw.add(ball(0.16, 18, 10).stretched(1.4, 0.9, 0.8).at(0.2, radius, 0), glass)
    draw.add(ball(0.08, 14, 8).at(1.0), draw.trim)
    blades = draw.count(2, 4)
    blade = tube([(0, 0.0, 0), (0, 0.2, 0), (0, 0.42, 0)], (0.04, 0.07, 0.05), 10).stretched(x=0.4)
    draw.add((blade.turned("x", 360 * index / blades).at(1.03) for index in range(blades)), draw.fixed("black"))
    for side in (-1, 1):
        draw.add(tube([(0.3, -0.1, side * 0.12), (0.34, -0.36, side * 0.24)], 0.03), draw.trim)
        draw.add(cylinder(0.11, 0.08, sides=18).turned("x", 90).at(0.34, -0.38, side * 0.24 - 0.04), draw.fixed("black"))
    wings = counted(4, "wing") if kind == "biplane" else "straight wings"
    return Traits("", "a tail", (f"a propeller with {counted(blades, 'blade')}", wings), "blades", blades)


def _rocket(draw: Draw) -> Traits:
    radius, high, fins = draw.between(0.26, 0.4), draw.between(1.1, 1.3), draw.count(3, 4)
    body = [(0, 0.2), (radius * 0.7, 0.2), (radius, 0.45), (radius * 1.05, high * 0.5), (radius, high), (0, high)]
    draw.add(lathe(body, 32), draw.main)
    nose = [(0, high - 0.02), (radius + 0.01, high - 0.02), (radius * 0.85, high + 0.22), (radius * 0.45, high + 0.45), (0, high + 0.62)]
    nose_trimmed = draw.chance(0.5)  # one of the two, or the second colour would outweigh the main one
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
    return Traits("slim" if radius < 0.3 else "thick" if radius > 0.36 else "", "a nose" if nose_trimmed else "fins", features, "fins", fins)


CATEGORIES = (
    Category("car", _car, "metal sheet"),
    Category("truck", _truck, "metal sheet"),
    Category("bus", _bus, "metal sheet"),
    Category("train", _train, "plastic", ("wooden", "metal")),
    Category("boat", _boat, "painted wood", ("wooden",)),
    Category("airplane", _airplane, "plastic", ("metal", "wooden")),
    Category("rocket", _rocket, "plastic", ("metal",)),
)
