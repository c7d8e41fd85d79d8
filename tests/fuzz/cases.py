"""The cases of the campaign: which there are, and the files of each, always the same for the same seed and name."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.fuzz.attacks import ATTACKS
from tests.fuzz.generators import artifacts, compressed, gltf, images, noise, obj, off, ply, stl
from tests.fuzz.seeds import Files

Generator = Callable[[Random], Files]

GENERATORS: dict[str, dict[str, Generator]] = {  # by format; each gives the files of a case, the mesh first
    "gltf": gltf.GENERATORS,
    "ply": ply.GENERATORS,
    "obj": obj.GENERATORS,
    "stl": stl.GENERATORS,
    "off": off.GENERATORS,
    "image": images.GENERATORS,
    "compressed": compressed.GENERATORS,
    "artifact": artifacts.GENERATORS,
}
MESHES = tuple(form for form in GENERATORS if form != "artifact")
AIMED = "aimed"  # the generator of files that each try one attack, which have words for numbers
NOISE = "noise"  # the generator of files with random damage, the same for all formats


@dataclass(frozen=True)
class Case:
    format: str
    generator: str
    number: str  # of a random case; the name of an aimed one

    @property
    def name(self) -> str:
        return f"{self.format}/{self.generator}/{self.number}"

    @classmethod
    def parse(cls, name: str) -> Case:
        case = cls(*name.split("/")) if name.count("/") == 2 else cls("", "", name)
        known = {(form, generator) for form in GENERATORS for generator in generators_of(form)}
        aimed = case.generator == AIMED and case.number in ATTACKS.get(case.format, ())
        if (case.format, case.generator) not in known or not (aimed or case.number.isdecimal()):
            raise ValueError(f"{name}: expected FORMAT/GENERATOR/NUMBER, such as gltf/types/1234")
        return case

    @property
    def large(self) -> bool:
        return self.generator == AIMED and ATTACKS[self.format][self.number].large

    def files(self, seed: int) -> Files:
        """The files by name, the mesh first."""
        if self.generator == AIMED:
            return ATTACKS[self.format][self.number].files()
        random = Random(f"{seed}/{self.name}")
        if self.generator == NOISE:
            return noise.damaged(self.format, random)
        return GENERATORS[self.format][self.generator](random)

    def write(self, folder: Path, seed: int) -> Path:
        """Write the files into a folder of their own; return the path of the mesh."""
        files = self.files(seed)
        for name, data in files.items():
            path = folder / self.name / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return folder / self.name / next(iter(files))


def generators_of(form: str) -> tuple[str, ...]:
    return (AIMED, *GENERATORS[form], NOISE) if form in MESHES else tuple(GENERATORS[form])


def chosen(count: int, formats: tuple[str, ...] = MESHES) -> list[Case]:
    """So many cases: first every aimed one, then random ones, as many of each generator."""
    aimed = [Case(form, AIMED, name) for form in formats for name in ATTACKS.get(form, ())]
    return list(itertools.islice(itertools.chain(aimed, _random_cases(formats)), count))


def _random_cases(formats: tuple[str, ...]) -> Iterator[Case]:
    generators = [(form, name) for form in formats for name in generators_of(form) if name != AIMED]
    for number in itertools.count():
        for form, generator in generators:
            yield Case(form, generator, str(number))
