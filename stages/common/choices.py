"""Settings whose values are the names of a registry, such as the engines of a stage."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import AfterValidator


def one_of(names: Collection[str]) -> AfterValidator:
    """A type annotation that refuses other values, and names those that are allowed."""
    *others, last = names

    def check(name: str) -> str:
        if name not in names:
            raise ValueError(f"expected {', '.join(others)} or {last}")
        return name

    return AfterValidator(check)
