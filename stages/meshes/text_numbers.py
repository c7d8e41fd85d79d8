"""Parse the numbers of text formats into arrays."""

from __future__ import annotations

import re

import numpy as np

LONG_LINE = 1 << 16  # bytes; a longer line is looked at before it is split
CHUNK = 1 << 16  # lines of which there are Python objects at once
_BLANKS = (b" ", b"\t", b"\r", b"\n", b"\v", b"\f")
_FOREIGN = re.compile(rb"[^\s\d.+\-einfatyEINFATY]")


def numbers_of(text: bytes, dtype: type = np.float64) -> np.ndarray:
    """The numbers at the start of a text, separated by white space, up to the first word that is not a number."""
    for _ in range(2):
        try:
            return np.fromstring(text, dtype, sep=" ")
        except ValueError:
            wrong = _FOREIGN.search(text)
            end = wrong.start() if wrong else 0
            text = text[: max(text.rfind(blank, 0, end) for blank in (b" ", b"\n", b"\r", b"\t")) + 1]
    return np.zeros(0, dtype)


def most_words(line: bytes) -> int:
    """At least as many words as a line has, without splitting it."""
    return 1 + sum(map(line.count, _BLANKS))


def table_of(lines: list[bytes], least: int, most: int) -> np.ndarray:
    """[N, W] float64, W in least..most: the first numbers of each line; one that only other lines have is set to 1.

    '#' starts a comment. Raises ValueError if a word is not a number, or a line is very long or has fewer than `least`.
    """
    if not lines:
        return np.zeros((0, least))
    longest = max(map(len, lines))
    if longest > LONG_LINE:
        raise ValueError(f"a line of a few numbers has {longest:,} bytes")
    width = len(lines[0].split())
    numbers = numbers_of(b" ".join(lines))
    if least <= width and len(numbers) == width * len(lines) and _is_even(lines, width):
        return numbers.reshape(-1, width)[:, :most]
    tables = [_uneven_table(lines[start : start + CHUNK], least, most) for start in range(0, len(lines), CHUNK)]
    width = max(table.shape[1] for table in tables)
    padding = [((0, 0), (0, width - table.shape[1])) for table in tables]
    return np.concatenate([np.pad(table, pad, constant_values=1) for table, pad in zip(tables, padding, strict=True)])


def _uneven_table(lines: list[bytes], least: int, most: int) -> np.ndarray:
    rows = [[float(word) for word in line.split(b"#", 1)[0].split()[:most]] for line in lines]
    width = max(map(len, rows))
    if min(map(len, rows)) < least:
        raise ValueError(f"a line has fewer than {least} numbers")
    return np.array([row + [1.0] * (width - len(row)) for row in rows])


def _is_even(lines: list[bytes], width: int) -> bool:
    return all(len(line.split()) == width for line in lines)
