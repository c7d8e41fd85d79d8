"""The campaign: draws harms from a seed, gives them to builds, and compares what the builds make."""

from __future__ import annotations

import re
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.chaos.checks import find_differences
from tests.chaos.clock import Clock
from tests.chaos.disk import Disk
from tests.chaos.disturbed import DisturbedBuild, Given, NoTarget
from tests.chaos.driver import Failure
from tests.chaos.harms import HARMS
from tests.chaos.namespace import namespaces_allowed
from tests.chaos.reading import read_failures
from tests.chaos.undisturbed import Undisturbed, make_recipes

_TRIES = 5  # how often a harm looks for something to harm, and how often a build is continued after the last harm


@dataclass(frozen=True)
class Drawn:
    """A harm, and after how many more outcomes it is given."""

    harm: str
    after: int


@dataclass(frozen=True)
class PlannedBuild:
    number: int
    recipe: str
    engine: str
    harms: tuple[Drawn, ...]


@dataclass
class BuildResult:
    number: int
    recipe: str
    engine: str
    seconds: float = 0.0
    given: list[Given] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)  # of tries, by reason
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Machine:
    """What this machine has for harms that not every machine allows."""

    offers: frozenset[str]

    @classmethod
    def look(cls, folder: Path) -> Machine:
        probe = Disk.mount(folder / "probe", 1)
        probe.unmount()
        found = {
            "": True,
            "disk": probe.small,
            "clock": Clock.make(folder) is not None,
            "namespaces": namespaces_allowed(),
        }
        return cls(frozenset(name for name, there in found.items() if there))


def possible_harms(machine: Machine, kinds: str) -> list[str]:
    """The harms that this machine allows, of those whose names match the regular expression `kinds`."""
    return [name for name, harm in HARMS.items() if harm.needs in machine.offers and re.search(kinds, name)]


def draw(seed: int, builds: int, harms: int, engines: list[str], possible: list[str], demos: int) -> list[PlannedBuild]:
    """Draw a campaign. A kind of harm comes again only when none of the others that suit the engine is left."""
    drawn = Random(seed)
    deck: list[str] = []
    plan = []
    for number in range(1, builds + 1):
        count = harms * number // builds - harms * (number - 1) // builds
        engine = engines[number % len(engines)]
        given = tuple(Drawn(_take(deck, engine, possible, drawn), drawn.randint(0, 12)) for _ in range(count))
        plan.append(PlannedBuild(number, "demo" if number > builds - demos else "meshes", engine, given))
    return plan


def _take(deck: list[str], engine: str, possible: list[str], drawn: Random) -> str:
    if not any(engine in HARMS[name].engines for name in deck):
        deck[:0] = drawn.sample(possible, len(possible))
    name = next(name for name in reversed(deck) if engine in HARMS[name].engines)
    deck.remove(name)
    return name


class Campaign:
    def __init__(self, folder: Path, seed: int, objects: int):
        self.folder = folder
        self.seed = seed
        self.recipes = make_recipes(folder, objects)
        self._undisturbed: dict[str, Undisturbed] = {}

    def undisturbed(self, name: str) -> Undisturbed:
        if name not in self._undisturbed:
            self._undisturbed[name] = Undisturbed.build(self.recipes[name], self.folder)
        return self._undisturbed[name]

    def remove(self) -> None:
        shutil.rmtree(self.folder)

    def run(self, planned: PlannedBuild) -> BuildResult:
        """Give a build its harms, let it finish, and compare it."""
        expected = self.undisturbed(planned.recipe)
        folder = self.folder / f"{planned.number:02d}"
        drawn = Random(f"{self.seed} {planned.number}")
        build = DisturbedBuild.make(expected.recipe, planned.engine, folder, drawn)
        result = BuildResult(planned.number, planned.recipe, planned.engine)
        begun = time.monotonic()
        try:
            for harm in planned.harms:
                _give(build, harm)
            _finish(build)
            build.settle()
            result.problems += find_differences(build, expected)
        except Failure as failure:
            result.problems.append(str(failure))
        finally:
            build.end_all()
            result.given = build.given
            result.seconds = time.monotonic() - begun
            result.failures = dict(Counter(failure["reason"] for failure in read_failures(build.run)))
            if result.problems:
                shutil.copytree(build.run, folder / "run", dirs_exist_ok=True)
            build.unmount()
        return result


def _give(build: DisturbedBuild, drawn: Drawn) -> None:
    """Give a harm at its moment. Where a build ends before, it is continued; where all is done, work is lost first."""
    build.count_from_now()
    for after in (drawn.after, *[drawn.after // 4] * _TRIES):  # where work was lost, less is left to be made
        try:
            build.wait_for_outcomes(after)
            build.given.append(Given(drawn.harm))
            build.given[-1].what = HARMS[drawn.harm].give(build)
            return
        except NoTarget:
            if build.given and not build.given[-1].what:
                build.given.pop()
            if build.driver is not None and build.take_end().code == 0:
                build.lose_work()
    raise Failure(f"never came to {drawn.harm}")


def _finish(build: DisturbedBuild) -> None:
    """Continue the build until it is complete; look for damage and mend it by the same command."""
    for _ in range(_TRIES):
        ended, damaged = build.finish(), []
        if ended.code == 0 and build.damaged:
            damaged = build.verify()
        if ended.code == 0 and not damaged:
            return
    raise Failure(f"not complete after {_TRIES} more builds: {ended}; damaged: {damaged}")
