"""Seconds an object at 256² by how many are fitted at once."""

from __future__ import annotations

from tests.gpu.fitting import AT_256, objects_at_256, setting, timed_fit, warm_up
from tests.gpu.part import Part, read_arguments

_AT_ONCE = (1, 4, 16, 64, 256)


def main(part: Part) -> None:
    method = setting(part, AT_256).method
    sizes = (1, 2) if part.toy else _AT_ONCE
    objects = objects_at_256(part, max(sizes))
    warm_up(part, objects, method)
    for at_once in sizes:
        found = timed_fit(part, objects[: max(at_once, 2)], method, at_once)
        part.figures.put(**{f"seconds_an_object_{at_once}_at_once": found["seconds_an_object"]})


if __name__ == "__main__":
    main(read_arguments())
