"""The table of attacks, which the decorator `attack` fills."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.fuzz.seeds import Files

Make = Callable[[], Files | bytes]


@dataclass(frozen=True)
class Attack:
    files: Callable[[], Files]
    large: bool = False  # whether it takes many seconds or much memory to make or to refuse


FORMATS = ("gltf", "ply", "obj", "stl", "off", "image", "compressed")
ATTACKS: dict[str, dict[str, Attack]] = {form: {} for form in FORMATS}


def attack(form: str, large: bool = False, name: str = "") -> Callable[[Make], Make]:
    """Put a function that gives the files, or the bytes of the mesh, into the table."""

    def put(make: Make) -> Make:
        def files() -> Files:
            made = make()
            return made if isinstance(made, dict) else {f"mesh.{_ending(form, made)}": made}

        ATTACKS[form][(name or make.__name__).replace("_", "-")] = Attack(files, large)
        return make

    return put


def _ending(form: str, data: bytes) -> str:
    return ("glb" if data.startswith(b"glTF") else "gltf") if form in ("gltf", "image", "compressed") else form
