"""How often `up: auto` is right, and how often it is wrong without a warning, over meshes whose axis is known.

python -m tests.benchmarks.up FOLDER [--count 400] [--labels tests/benchmarks/up.csv] [--wrong]

A labels file names meshes by their path in FOLDER with the axis that points up, which a person saw in pictures, or
`any` where nobody could tell, as in a cube. Without a label, glTF counts as y, and other meshes are left out. Each mesh
is judged as it is, and then turned, without anything that its file says: by its shape alone, moved to the middle of its
box, as the formats that most often stand so, and with x up, which can only be answered by a warning.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from stages.contract.stage import StageError
from stages.ingest import Ingest
from stages.meshes.formats import read_mesh
from stages.meshes.model import Limits, Model
from stages.rendering.up_axis import find_up
from tests.benchmarks.render import meshes_in

_FROM_Y = {  # turns y to each axis
    "x": np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]),
    "y": np.eye(3),
    "z": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
}


@dataclass(frozen=True)
class Case:
    name: str
    ups: str  # the axes that the meshes are turned to; "" leaves them and their files as they are
    form: str = ""
    centred: bool = False


CASES = (
    Case("the files as they are", ""),
    Case("y or z up, shape alone", "yz"),
    Case("the same, centred", "yz", centred=True),
    Case("y up, as OBJ", "y", "obj"),
    Case("z up, as OBJ", "z", "obj"),
    Case("z up, as STL", "z", "stl"),
    Case("y up, as STL", "y", "stl"),
    Case("x up, shape alone", "x"),
)


def read(path: Path) -> tuple[Model, str] | None:
    try:
        done = Ingest().fetch({"uri": str(path)})
        name, form = done.columns["mesh_name"], done.columns["format"]
        model = read_mesh(done.artifact or b"", name, form, Limits(), 64)
    except StageError:
        return None
    return (model, form) if model.faces else None


def turned(model: Model, before: str, up: str, centred: bool) -> Model:
    turn = _FROM_Y[up] @ _FROM_Y[before].T
    points = [part.positions @ turn.T for part in model.parts]
    drawn = np.concatenate([each[part.faces].reshape(-1, 3) for each, part in zip(points, model.parts, strict=True)])
    middle = (drawn.min(0) + drawn.max(0)) / 2 if centred else 0.0
    return Model([replace(part, positions=each - middle) for each, part in zip(points, model.parts, strict=True)])


def judged(case: Case, model: Model, form: str, label: str) -> Iterator[str]:
    """For each answer, what it is."""
    for up in case.ups or (label,):
        shown = turned(model, "y" if label == "any" else label, up, case.centred) if case.ups else model
        found = find_up(shown, case.form if case.ups else form)
        sure = "sure" if found.sure else "warned"
        yield f"any, {sure}" if label == "any" else f"{'right' if found.axis == up else 'wrong'}, {sure}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=400, help="of the folder's meshes, evenly spread over their names")
    parser.add_argument("--labels", type=Path, default=Path(__file__).with_suffix(".csv"))
    parser.add_argument("--wrong", action="store_true", help="name the meshes that were wrong without a warning")
    options = parser.parse_args()
    with options.labels.open(newline="") as file:
        labels = {row["path"]: row["up"] for row in csv.DictReader(file)}
    counts: dict[Case, Counter[str]] = {case: Counter() for case in CASES}
    for path in meshes_in(options.folder, options.count):
        name = path.relative_to(options.folder).as_posix()
        found = read(path)
        label = labels.get(name) or ("y" if found and found[0].y_up else "")
        if found is None or not label:
            continue
        for case in CASES:
            answers = list(judged(case, *found, label))
            counts[case].update(answers)
            if options.wrong and "wrong, sure" in answers:
                print(f"{case.name}: {name}")
    print("| meshes | right, sure | right, warned | wrong, warned | wrong, sure | nobody could tell: warned |")
    print("|---|---|---|---|---|---|")
    for case, count in counts.items():
        known = sum(number for answer, number in count.items() if not answer.startswith("any"))
        shares = [
            f"{count[answer] / max(known, 1):.1%}"
            for answer in ("right, sure", "right, warned", "wrong, warned", "wrong, sure")
        ]
        free = count["any, sure"] + count["any, warned"]
        print(f"| {case.name} ({known}) | {' | '.join(shares)} | {count['any, warned']} of {free} |")


if __name__ == "__main__":
    main()
