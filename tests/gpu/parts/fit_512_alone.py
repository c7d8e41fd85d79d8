"""The same objects at 512², one at a time."""

from __future__ import annotations

from tests.gpu.fitting import AT_512, busy_share, objects_at_512, setting, timed_fit, warm_up
from tests.gpu.part import Part, read_arguments


def main(part: Part) -> None:
    method = setting(part, AT_512).method
    objects = objects_at_512(part, 3)
    warm_up(part, objects, method)
    part.figures.put(**timed_fit(part, objects[:1], method, 1))
    part.figures.put(**timed_fit(part, objects, method, 1))
    part.figures.put(busy_share=busy_share(part, objects, method, 1))


if __name__ == "__main__":
    main(read_arguments())
