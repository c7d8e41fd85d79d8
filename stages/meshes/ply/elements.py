"""Read the elements of a PLY file, text or binary of either byte order, into columns."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from stages.contract.stage import StageError
from stages.meshes.model import Limits
from stages.meshes.text_numbers import numbers_of

_FACE_VALUES = 8  # of one kind of lists, for each face that max_faces allows: six coordinates are the most

TYPES = {  # NumPy's name of each type; its second letter is the number of bytes
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_END = re.compile(rb"end_header[^\r\n]*(?:\r\n|\r|\n|$)")


@dataclass(frozen=True)
class Property:
    name: str
    kind: str  # as in TYPES
    counted_by: str = ""  # the type of a list's length; "" for a single value


@dataclass
class Lists:
    """One list per row, stored end to end."""

    counts: np.ndarray  # [R]
    values: np.ndarray  # [sum of counts]


@dataclass
class Element:
    name: str
    count: int
    properties: list[Property] = field(default_factory=list)
    columns: dict[str, np.ndarray | Lists] = field(default_factory=dict)


def read_elements(data: bytes, limits: Limits) -> dict[str, Element]:
    """Elements by name, with their columns; ValueError if the file does not hold what its header declares."""
    form, elements, start = read_header(data)
    if form == "ascii":
        numbers = numbers_of(data[start:])
        for element in elements:
            numbers = _from_numbers(element, numbers, limits)
    elif form in ("binary_little_endian", "binary_big_endian"):
        order = "<" if form == "binary_little_endian" else ">"
        for element in elements:
            start = _from_bytes(element, data, start, order, limits)
    else:
        raise ValueError(f"unknown PLY format {form!r}; expected ascii, binary_little_endian or binary_big_endian")
    return {element.name: element for element in elements}


def read_header(data: bytes) -> tuple[str, list[Element], int]:
    """The format, the elements, and where the body starts."""
    end = _END.search(data)
    if end is None:
        raise ValueError("the header has no end_header")
    form, elements = "", []
    for line in re.split(r"[\r\n]+", data[: end.start()].decode("latin-1")):
        words = line.split()
        if words[:1] == ["format"]:
            form = words[1]
        elif words[:1] == ["element"]:
            elements.append(Element(words[1], int(words[2])))
        elif words[:2] == ["property", "list"]:
            elements[-1].properties.append(Property(words[4], _type(words[3]), _type(words[2])))
        elif words[:1] == ["property"]:
            elements[-1].properties.append(Property(words[2], _type(words[1])))
    return form, elements, end.end()


def _type(word: str) -> str:
    if word not in TYPES:
        raise ValueError(f"unknown property type {word!r}")
    return TYPES[word]


def _from_numbers(element: Element, numbers: np.ndarray, limits: Limits) -> np.ndarray:
    """Fill the element's columns, and return the numbers after them."""
    widths = _even_widths(element, numbers)
    if widths is None:
        return _from_uneven_numbers(element, numbers, limits)
    row = sum(widths)
    table = numbers[: element.count * row].reshape(element.count, row)
    at = 0
    for prop, width in zip(element.properties, widths, strict=True):
        if prop.counted_by:
            _check_values(prop, element.count * (width - 1), limits)
            values = table[:, at + 1 : at + width].reshape(-1)
            element.columns[prop.name] = Lists(np.full(element.count, width - 1), _cast(values, prop.kind))
        else:
            element.columns[prop.name] = _cast(table[:, at], prop.kind)
        at += width
    return numbers[element.count * row :]


def _even_widths(element: Element, numbers: np.ndarray) -> list[int] | None:
    """The count of numbers of each property, list lengths included; None if rows differ."""
    widths: list[int] = []
    lengths = []
    for prop in element.properties:
        length = 0
        if prop.counted_by and element.count:
            if sum(widths) >= len(numbers):
                raise _text_ends(element)
            lengths.append((sum(widths), numbers[sum(widths)]))
            length = max(int(np.nan_to_num(numbers[sum(widths)])), 0)
        widths.append(1 + length if prop.counted_by else 1)
    needed = element.count * sum(widths)
    if needed > len(numbers):
        if lengths:
            return None
        raise _text_ends(element)
    table = numbers[:needed].reshape(element.count, -1) if needed else numbers[:0]
    even = all((table[:, column] == length).all() for column, length in lengths)
    return widths if even else None


def _from_uneven_numbers(element: Element, numbers: np.ndarray, limits: Limits) -> np.ndarray:
    """Read rows whose lists differ in length, one by one."""

    def length_at(at: int, size: int) -> int:
        if at >= len(numbers):
            raise _text_ends(element)
        return int(numbers[at])

    rows = _Rows(element, [(1, 1) for _ in element.properties], length_at)
    end = rows.walk(0, len(numbers), _text_ends(element), limits)
    for prop, firsts, counts in rows.columns():
        starts = np.cumsum(counts) - counts
        values = _cast(numbers[np.repeat(firsts - starts, counts) + np.arange(counts.sum())], prop.kind)
        element.columns[prop.name] = Lists(counts, values) if prop.counted_by else values
    return numbers[end:]


class _Rows:
    """Where the values are in rows whose lists differ in length.

    sizes: of each property's counter, and of one of its values; length_at(at, size): the counter at a place.
    """

    def __init__(self, element: Element, sizes: list[tuple[int, int]], length_at: Callable[[int, int], int]):
        self._element = element
        self._sizes = sizes
        self._length_at = length_at
        self._starts = array("q")
        self._lengths = {prop.name: array("q") for prop in element.properties if prop.counted_by}

    def walk(self, at: int, end: int, ends: ValueError, limits: Limits) -> int:
        """Go through all rows, and return where the next element starts."""
        steps: list[tuple[int, int, int, array[int]]] = []
        single = 0  # the size of all single values since the last list
        for prop, (counter, size) in zip(self._element.properties, self._sizes, strict=True):
            if prop.counted_by:
                steps.append((single, counter, size, self._lengths[prop.name]))
            single = 0 if prop.counted_by else single + size
        for _ in range(self._element.count):
            self._starts.append(at)
            for before, counter, size, lengths in steps:
                at += before
                length = self._length_at(at, counter)
                if length < 0:
                    raise ends
                lengths.append(min(length, end))
                at += counter + length * size
            at += single
            if at > end:
                raise ends
        for prop in self._element.properties:
            if prop.counted_by:
                _check_values(prop, sum(self._lengths[prop.name]), limits)
        return at

    def columns(self) -> Iterator[tuple[Property, np.ndarray, np.ndarray]]:
        """Each property, where its values start in each row, and how many there are."""
        at = np.array(self._starts, np.int64)
        for prop, (counter, size) in zip(self._element.properties, self._sizes, strict=True):
            counts = np.ones(len(at), np.int64)
            if prop.counted_by:
                counts = np.array(self._lengths[prop.name], np.int64)
                at = at + counter
            yield prop, at, counts
            at = at + counts * size


def _check_values(prop: Property, count: int, limits: Limits) -> None:
    most = _FACE_VALUES * limits.max_faces
    if count > most:
        detail = f"the lists {prop.name[:60]} have {count:,} values; max_faces allows {most:,}"
        raise StageError("too_large", detail)


def _text_ends(element: Element) -> ValueError:
    return ValueError(f"the file ends within the {element.name} lines, or one of their words is not a number")


def _data_ends(element: Element) -> ValueError:
    return ValueError(f"the file ends within the {element.name} rows")


def _cast(values: np.ndarray, kind: str) -> np.ndarray:
    with np.errstate(invalid="ignore", over="ignore"):  # values that do not fit are checked where they are used
        return values.astype(kind)


def _from_bytes(element: Element, data: bytes, start: int, order: str, limits: Limits) -> int:
    """Fill the element's columns, and return where the next element starts."""
    lengths = _first_lengths(element, data, start, order)
    fields: list[tuple] = []
    for prop in element.properties:
        if prop.counted_by:
            fields += [(f"{prop.name} length", order + prop.counted_by)]
            fields += [(prop.name, order + prop.kind, (lengths[prop.name],))]
        else:
            fields += [(prop.name, order + prop.kind)]
    row = np.dtype(fields)
    if start + row.itemsize * element.count <= len(data):
        table = np.frombuffer(data, row, element.count, start)
        if all((table[f"{name} length"] == length).all() for name, length in lengths.items()):
            for prop in element.properties:
                values = table[prop.name]
                if prop.counted_by:
                    _check_values(prop, element.count * lengths[prop.name], limits)
                    counts = np.full(element.count, lengths[prop.name], np.int64)
                    element.columns[prop.name] = Lists(counts, values.reshape(-1))
                else:
                    element.columns[prop.name] = values
            return start + row.itemsize * element.count
    if not lengths:
        raise _data_ends(element)
    return _from_uneven_bytes(element, data, start, order, limits)


def _first_lengths(element: Element, data: bytes, start: int, order: str) -> dict[str, int]:
    """The lengths of the lists in the first row, which most files have in all rows."""
    lengths = {}
    for prop in element.properties if element.count else []:
        if prop.counted_by:
            if start + np.dtype(prop.counted_by).itemsize > len(data):
                raise _data_ends(element)
            length = int(np.frombuffer(data, order + prop.counted_by, 1, start)[0])
            if length > len(data):
                raise ValueError(f"a list of {length:,} in the {element.name} rows is longer than the file")
            lengths[prop.name] = max(length, 0)
            start += np.dtype(prop.counted_by).itemsize + lengths[prop.name] * np.dtype(prop.kind).itemsize
        else:
            start += np.dtype(prop.kind).itemsize
    return lengths or {prop.name: 0 for prop in element.properties if prop.counted_by}


def _from_uneven_bytes(element: Element, data: bytes, start: int, order: str, limits: Limits) -> int:
    """Read rows whose lists differ in length, one by one."""
    byte_order: Literal["little", "big"] = "little" if order == "<" else "big"

    def length_at(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], byte_order)

    sizes = [(int((prop.counted_by or "u1")[1]), int(prop.kind[1])) for prop in element.properties]
    rows = _Rows(element, sizes, length_at)
    end = rows.walk(start, len(data), _data_ends(element), limits)
    for (prop, firsts, counts), (_, size) in zip(rows.columns(), sizes, strict=True):
        ends = firsts + counts * size
        joined = b"".join(data[first:last] for first, last in zip(firsts.tolist(), ends.tolist(), strict=True))
        values = np.frombuffer(joined, order + prop.kind)
        element.columns[prop.name] = Lists(counts, values) if prop.counted_by else values
    return end
