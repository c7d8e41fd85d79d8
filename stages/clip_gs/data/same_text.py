"""Bring captions to a form that is equal for texts that count as the same."""

from __future__ import annotations

import re
import unicodedata


def normalised(text: str) -> str:
    """Remove differences in case, spaces, final punctuation and the encoding of letters."""
    plain = re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text).casefold()).strip()
    return plain.rstrip(" .!,;") or plain
