"""Read the fields of JSON objects, each by its type, before anything is computed with it."""

from __future__ import annotations

import reprlib
import sys
from typing import Any

from stages.contract.stage import StageError

_LARGEST = 1 << 53  # of whole numbers; above it, JSON readers disagree
_LARGEST_REAL = sys.float_info.max
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 60
_SHORT.maxlist = _SHORT.maxdict = 4
_SHORT.maxlevel = 1


class Fields:
    """A JSON object and its path in the document, which messages name.

    Each method returns the value of a field if it has the type that the method is for, and else refuses the file. A
    field that is missing or null has the default; one without a default has to be there.
    """

    __slots__ = ("_values", "path")

    def __init__(self, values: Any, path: str):
        if not isinstance(values, dict):
            raise wrong(path, values, "an object")
        self._values = values
        self.path = path

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) is not None

    def whole(self, name: str, default: int | None = None) -> int:
        """A whole number from 0 on."""
        value = self._value(name, default)
        return value if _is_whole(value) else self._refuse(name, value, "a whole number of at least 0")

    def wholes(self, name: str) -> list[int]:
        values = self._list(name)
        for number, value in enumerate(values):
            if not _is_whole(value):
                self._refuse(f"{name}[{number}]", value, "a whole number of at least 0")
        return values

    def wholes_by_name(self) -> dict[str, int]:
        """All fields, each of which is a whole number."""
        return {name: self.whole(name) for name in self._values}

    def real(self, name: str, default: float | None = None) -> float:
        """A finite number."""
        value = self._value(name, default)
        return float(value) if _is_real(value) else self._refuse(name, value, "a finite number")

    def reals(self, name: str, count: int | None = None, default: tuple[float, ...] = ()) -> tuple[float, ...]:
        """A list of finite numbers: of `count`, unless it is None."""
        if name not in self:
            return default
        values = self._values[name]
        if isinstance(values, list) and count in (None, len(values)) and all(map(_is_real, values)):
            return tuple(float(value) for value in values)
        return self._refuse(name, values, f"a list of {'' if count is None else f'{count} '}finite numbers")

    def text(self, name: str, default: str | None = None) -> str:
        value = self._value(name, default)
        return value if isinstance(value, str) else self._refuse(name, value, "a string")

    def texts(self, name: str) -> list[str]:
        values = self._list(name)
        for number, value in enumerate(values):
            if not isinstance(value, str):
                self._refuse(f"{name}[{number}]", value, "a string")
        return values

    def flag(self, name: str) -> bool:
        """Whether the field is there and neither false, 0 nor empty."""
        return bool(self._values.get(name))

    def inner(self, name: str, *, required: bool = False) -> Fields:
        """An object; one that is missing has no fields."""
        return Fields(self._value(name, None if required else {}), self._at(name))

    def inners(self, name: str, *, required: bool = False) -> list[Fields]:
        """A list of objects."""
        values = self._value(name, None) if required else self._list(name)
        if not isinstance(values, list):
            self._refuse(name, values, "a list")
        return [Fields(value, f"{self._at(name)}[{number}]") for number, value in enumerate(values)]

    def extension(self, *names: str) -> Fields | None:
        """The object of the first of these extensions that there is."""
        if "extensions" not in self:
            return None
        extensions = self.inner("extensions")
        return next((extensions.inner(name) for name in names if name in extensions), None)

    def shown(self, name: str) -> str:
        """The value of a field, shortened for a message."""
        return _SHORT.repr(self._values.get(name))

    def _value(self, name: str, default: Any) -> Any:
        value = self._values.get(name)
        return default if value is None else value

    def _list(self, name: str) -> list[Any]:
        value = self._value(name, [])
        return value if isinstance(value, list) else self._refuse(name, value, "a list")

    def _at(self, name: str) -> str:
        return f"{self.path}{'' if self.path.endswith(' ') else '.'}{name[:60]}"

    def _refuse(self, name: str, value: Any, expected: str) -> Any:
        raise wrong(self._at(name), value, expected)


def wrong(path: str, value: Any, expected: str) -> StageError:
    """The error for a value of the wrong type."""
    found = "missing" if value is None else _SHORT.repr(value)
    return StageError("corrupt_file", f"{path} is {found}, expected {expected}")


def _is_whole(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST


def _is_real(value: Any) -> bool:
    return type(value) in (int, float) and -_LARGEST_REAL <= value <= _LARGEST_REAL  # NaN is not
