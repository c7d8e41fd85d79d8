"""Build one object of the demo corpus: its random choices, its paints, and the solids added so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from stages.corpus.colors import COLORS, contrasts, sample
from stages.corpus.glb import Painted
from stages.corpus.paint import FINISHES, PATTERNS, Paint
from stages.corpus.solid import Solid

Choice = TypeVar("Choice")
WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


@dataclass(frozen=True)
class Traits:
    """Attributes of an object in words that a caption can use."""

    shape: str = ""  # an adjective: "tall"
    trim: str = ""  # the parts in the second colour: "legs", "a handle"
    features: tuple[str, ...] = ()  # phrases that can follow "with": "four legs", "a high back"
    part: str = ""  # the parts that were counted
    part_count: int | None = None


@dataclass(frozen=True)
class Category:
    """How to make one kind of object. `finishes` are materials that a plain one can have instead of `material`."""

    name: str
    build: Callable[[Draw], Traits]
    material: str
    finishes: tuple[str, ...] = ()
    colors: tuple[str, ...] = COLORS
    patterns: tuple[str, ...] = PATTERNS
    tile: float = 0.36  # side of one repeat of the pattern in model units; an object is about 2 units across
    slender: bool = False  # its parts are too thin for stripes along them: stripes always run across


@dataclass
class Draw:
    """An object in the making, with five paints.

    `main` has the pattern, `base` its first colour, `second` the other colour. `trim` is for parts that can have either
    colour, `accent` for parts that have the second colour on a plain object.
    """

    rng: np.random.Generator
    category: Category
    solids: list[Painted] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.color = self.pick(self.category.colors)
        self.second_color = self.pick(contrasts(self.color))
        # half of the objects are plain, whatever the number of patterns
        patterned = [pattern for pattern in self.category.patterns if pattern != "plain"]
        self.pattern = self.pick(patterned) if patterned and self.chance(0.55) else "plain"
        self.material = self.category.material
        if self.pattern == "plain" and self.category.finishes and self.chance(0.5):
            self.material = self.pick(self.category.finishes)
        rgb, second = sample(self.color, self.rng), sample(self.second_color, self.rng)
        tile = self.category.tile * self.between(0.85, 1.2)
        self.base = Paint(rgb)
        self.second = Paint(second)
        self.main = self.base
        if self.pattern != "plain":
            sideways = self.chance(0.5) and not self.category.slender
            if self.pattern in ("checked", "dotted"):  # a repeat has two of them
                tile *= 1.35
            self.main = Paint(rgb, second, self.pattern, tile, sideways=sideways)
        elif self.material in FINISHES:
            self.main = Paint(rgb, None, self.material, 0.9, seed=int(self.rng.integers(1 << 30)))
            self.base = self.main
        # with a pattern, parts in the second colour would often cover more than the main colour
        self.accent = self.second if self.pattern == "plain" or self.chance(0.35) else self.base
        self.trim = self.accent if self.chance(0.65 if self.pattern == "plain" else 0.8) else self.base

    def add(self, solid: Solid | Iterable[Solid], paint: Paint) -> None:
        self.solids += [(each, paint) for each in ([solid] if isinstance(solid, Solid) else solid)]

    def fixed(self, color: str) -> Paint:
        """A plain paint that does not depend on the main colour: a tyre is black."""
        return Paint(sample(color, self.rng))

    def pane(self, wall: Paint | None = None) -> Paint:
        """The paint of a window in a wall (default: `base`): white, or black in a bright wall."""
        red, green, blue = (wall or self.base).rgb
        return self.fixed("black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.55 else "white")

    def pick(self, choices: Sequence[Choice]) -> Choice:
        return choices[int(self.rng.integers(len(choices)))]

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def count(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def uses(self, paint: Paint) -> bool:
        return any(other == paint for _, other in self.solids)


def counted(number: int, noun: str, plural: str = "") -> str:
    """ "one leg", "four legs" """
    return f"{WORDS[number]} {noun if number == 1 else plural or noun + 's'}"
