"""Where a model goes round in circles: the same words, or signs, again and again."""

from __future__ import annotations

import re

_WORDS = 16  # the longest loop that is looked for, in words
_TIMES = 3  # so often in a row is a loop: `very very` is not
# Without spaces between words (and in one word): a letter eight times and more, the same signs four times and more.
_SIGNS = re.compile(r"(?P<one>[^\W\d_])(?P=one){7,}|(?P<some>.{2,40}?)(?P=some){3,}")


def without_loops(text: str) -> tuple[str, bool]:
    """The text up to where it begins to repeat itself, the first round included; and whether it did."""
    words = text.split()
    plain = [word.casefold().strip(".,;:!?") for word in words]
    for start in range(len(words)):
        for length in range(1, min(_WORDS, (len(words) - start) // _TIMES) + 1):
            round_ = plain[start : start + length]
            if all(plain[start + n * length : start + (n + 1) * length] == round_ for n in range(1, _TIMES)):
                return " ".join(words[: start + length]), True
    for found in _SIGNS.finditer(text):
        unit = "one" if found["one"] else "some"
        if any(sign.isalpha() for sign in found[unit]):  # zeros and dashes in a row are no loop
            return text[: found.end(unit)].rstrip(), True
    return text, False
