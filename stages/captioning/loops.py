"""Cut texts in which a model repeats the same words or characters without end."""

from __future__ import annotations

import re

_WORDS = 16  # the longest loop that is looked for, in words
_TIMES = 3  # repetitions in a row that make a loop: `very very` is none
# Within a word, or without spaces between words: a letter 8 times or more, the same characters 4 times or more.
_CHARACTERS = re.compile(r"(?P<one>[^\W\d_])(?P=one){7,}|(?P<some>.{2,40}?)(?P=some){3,}")


def without_loops(text: str) -> tuple[str, bool]:
    """The text up to the end of a loop's first round, and whether there was a loop."""
    words = text.split()
    plain = [word.casefold().strip(".,;:!?") for word in words]
    for start in range(len(words)):
        for length in range(1, min(_WORDS, (len(words) - start) // _TIMES) + 1):
            round_ = plain[start : start + length]
            if all(plain[start + n * length : start + (n + 1) * length] == round_ for n in range(1, _TIMES)):
                return " ".join(words[: start + length]), True
    for found in _CHARACTERS.finditer(text):
        unit = "one" if found["one"] else "some"
        if any(character.isalpha() for character in found[unit]):  # zeros and dashes in a row are no loop
            return text[: found.end(unit)].rstrip(), True
    return text, False
