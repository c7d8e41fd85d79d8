"""A batch of objects at 256²: 24 views, up to 8,192 Gaussians."""

from __future__ import annotations

from tests.gpu.fitting import AT_256, busy_share, objects_at_256, setting, timed_fit, warm_up
from tests.gpu.part import Part, read_arguments


def main(part: Part) -> None:
    method = setting(part, AT_256).method
    objects = objects_at_256(part, 3 if part.toy else 128)
    warm_up(part, objects, method)
    part.figures.put(**timed_fit(part, objects, method, len(objects)))
    part.figures.put(busy_share=busy_share(part, objects, method, len(objects)))


if __name__ == "__main__":
    main(read_arguments())
