"""When two captions are the same text."""

from __future__ import annotations

import re
import unicodedata


def normal(text: str) -> str:
    """Texts that differ by case, spaces, closing marks or the way their letters are coded are the same text."""
    plain = re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text).casefold()).strip()
    return plain.rstrip(" .!,;") or plain
