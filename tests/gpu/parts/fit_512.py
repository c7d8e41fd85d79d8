"""Batches of objects at 512²: 36 views, up to 16,384 Gaussians, from starts that were prepared before."""

from __future__ import annotations

import json

from tests.gpu.fitting import AT_512, busy_share, objects_at_512, setting, timed_fit, warm_up
from tests.gpu.part import Part, read_arguments

_AT_ONCE = (32, 64)


def main(part: Part) -> None:
    method = setting(part, AT_512).method
    made = json.loads((part.kit / "kit.json").read_text())
    part.figures.put(start_cpu_seconds_an_object=made["start_cpu_seconds_an_object"])
    sizes = (2, 3) if part.toy else _AT_ONCE
    objects = objects_at_512(part, max(sizes))
    warm_up(part, objects, method)
    for at_once in sizes:
        found = timed_fit(part, objects[:at_once], method, at_once)
        if found["seconds_an_object"] < part.figures.known.get("seconds_an_object", float("inf")):
            part.figures.put(**found)  # the better of the batch sizes
        part.figures.put(**{f"seconds_an_object_{at_once}_at_once": found["seconds_an_object"]})
    share = busy_share(part, objects, method, part.figures.known["at_once"])
    seconds = part.figures.known["seconds_an_object"]
    part.figures.put(busy_share=share, device_seconds_an_object=None if share is None else share * seconds)


if __name__ == "__main__":
    main(read_arguments())
