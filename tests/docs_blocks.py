"""The parts of docs/ that are made from the code: tables of what the stages declare.

python -m tests.docs_blocks   writes them; tests/test_docs.py holds the pages to the code

A block stands between `<!-- NAME: made by make docs -->` and `<!-- end of NAME -->`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from pipeline.recipe import KINDS

DOCS = Path(__file__).resolve().parents[1] / "docs"


def reasons() -> str:
    """Every reason that a stage may give."""
    lines = ["| stage | reason | kind | what happened |", "|---|---|---|---|"]
    for name, kind in KINDS.items():
        for index, reason in enumerate(kind.reasons):
            sort = "transient" if reason.transient else "data"
            lines.append(f"| {'' if index else name} | `{reason.word}` | {sort} | {reason.meaning} |")
    return "\n".join(lines)


BLOCKS: dict[tuple[str, str], Callable[[], str]] = {("operations.md", "reasons of stages"): reasons}


def replaced(page: str, name: str, made: str) -> str:
    """The page's text with the block of this name made anew."""
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
