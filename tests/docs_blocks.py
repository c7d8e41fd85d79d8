"""The parts of docs/ that are made from the code: tables of what the stages declare, and of mistakes.

python -m tests.docs_blocks   writes them; tests/test_docs.py holds the pages to the code

A block stands between `<!-- NAME: made by make docs -->` and `<!-- end of NAME -->`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from manifests.dataset import Column, Contract, Shape
from manifests.dataset_card import type_name
from pipeline.recipe import DECLARED, KINDS
from tests.mistakes import mistakes

DOCS = Path(__file__).resolve().parents[1] / "docs"
SHAPE = Shape(views=7, gaussians=11, sh_coefficients=13)  # primes, so that a size says what it is made of


def reasons() -> str:
    """Every reason that a stage may give."""
    lines = ["| stage | reason | kind | what happened | what to do |", "|---|---|---|---|---|"]
    for name, kind in KINDS.items():
        for index, reason in enumerate(kind.reasons):
            sort = "transient" if reason.transient else "data"
            lines.append(f"| {'' if index else name} | `{reason.word}` | {sort} | {reason.meaning} | {reason.remedy} |")
    return "\n".join(lines)


def columns() -> str:
    """Every column of the dataset, with the stage that gives it."""
    contract = Contract(SHAPE, DECLARED)
    stage_of = {column.name: stage for stage, own in DECLARED.items() for column in own}
    lines = ["| column | type | stage | meaning |", "|---|---|---|---|"]
    for column in contract.columns:
        lines.append(f"| `{column.name}` | {_type_of(column)} | {stage_of.get(column.name, '')} | {column.meaning} |")
    return "\n".join(lines)


def _type_of(column: Column) -> str:
    """The column's type for any shape: float32[N·3], or float[N·3] where `pack.float_type` decides."""
    name = re.sub(r"\[(\d+)\]", lambda size: f"[{_product(int(size[1]))}]", type_name(column.type_for(SHAPE)))
    if column.type_for(SHAPE) != column.type_for(replace(SHAPE, float_type="float16")):
        name = name.replace("float32", "float")
    return name.replace("<", " of ").replace(">", "")


def _product(size: int) -> str:
    factors = []
    for letter, number in (("V", SHAPE.views), ("N", SHAPE.gaussians), ("K", SHAPE.sh_coefficients)):
        if size % number == 0:
            factors.append(letter)
            size //= number
    return "·".join([*factors, *([str(size)] if size > 1 else [])])


BLOCKS: dict[tuple[str, str], Callable[[], str]] = {
    ("operations.md", "reasons of stages"): reasons,
    ("dataset.md", "columns"): columns,
    ("mistakes.md", "mistakes"): mistakes,
}


def replaced(page: str, name: str, made: str) -> str:
    """The page's text with the block of this name made again."""
    begin, end = f"<!-- {name}: made by make docs -->", f"<!-- end of {name} -->"
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ValueError(f"expected one line {begin!r} and one line {end!r}")
    return re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n{made}\n{end}", page, flags=re.DOTALL)


def main() -> None:
    for (page, name), make in BLOCKS.items():
        path = DOCS / page
        path.write_text(replaced(path.read_text(), name, make()))


if __name__ == "__main__":
    main()
