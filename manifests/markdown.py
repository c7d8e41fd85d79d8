"""Write the parts that all cards have: YAML front matter, tables, and text that others wrote."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from manifests.text import message


def front_matter(fields: Mapping[str, Any]) -> str:
    """What the Hugging Face hub reads at the top of a README.md."""
    return f"---\n{yaml.safe_dump(dict(fields), sort_keys=False, allow_unicode=True, width=120)}---\n"


def plain(text: str) -> str:
    """Text of a row for a card: shown as it is, with no HTML, links, pictures or code of its own."""
    return re.sub(r"[\\`*\[\]|~]", r"\\\g<0>", html.escape(message(text), quote=False))


def fenced(text: str, language: str) -> str:
    """A block of code, whose fence is longer than any in the text."""
    longest = max((len(found) for found in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}{fence}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join([_line(head), "|---" * len(head) + "|", *map(_line, rows)])


def _line(cells: Sequence[str]) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"
