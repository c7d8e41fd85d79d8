"""The prompts for each kind of text, and the hint with the words of the source list."""

from __future__ import annotations

import hashlib
import re

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stages.captioning.source_words import captions_of_row
from stages.contract.stage import Row

_SAME = "The pictures show one and the same object from several sides."
_ALONE = (
    "Speak of the object alone: not of the background, the lighting or the side it is seen from, "
    "and not of pictures, images, views or renderings."
)
_HINT = "Its source says of it: {words}. That may be wrong: follow it only where the pictures agree."
_HINT_CHARACTERS = 300


class Prompts(BaseModel):
    """One prompt for each kind of text, asked in this order."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    short: str | None = Field(
        f"{_SAME} Name it in one phrase of at most 15 words: what it is, and the main colours, materials and features. "
        f"{_ALONE} Answer with the phrase and nothing else.",
        min_length=1,
    )
    """A phrase."""
    detailed: str | None = Field(
        f"{_SAME} Describe it in two or three sentences: what it is, its parts and how they are put together, its "
        f"materials, colours, textures and distinctive features. {_ALONE} "
        "Answer with the description and nothing else.",
        min_length=1,
    )
    """Two or three sentences."""
    tags: str | None = Field(
        f"{_SAME} List 5 to 10 tags for it, separated by commas: kind, parts, materials, colours, style. "
        f"{_ALONE} Answer with the tags and nothing else.",
        min_length=1,
    )
    """Tags, separated by commas."""

    @model_validator(mode="after")
    def _ask_something(self) -> Prompts:
        if not self.asked():
            raise ValueError("all are null: expected a prompt for at least one of short, detailed, tags")
        return self

    def asked(self) -> dict[str, str]:
        """The prompts that are not null, by kind."""
        return {kind: prompt for kind, prompt in self if prompt}


def hint_of(row: Row) -> str:
    """A sentence for the model with the words of the source list; "" if it has none."""
    captions = captions_of_row(row, _HINT_CHARACTERS)
    if not captions:
        return ""
    words = ""
    for caption in captions:
        if caption["text"] not in words:  # a composed caption already contains the tags
            words += f"; {caption['text']}"
    # Models write their control tokens with brackets and bars.
    words = " ".join(re.sub(r"[<>|\[\]{}\\]+", " ", words).split())
    return _HINT.format(words=words.replace(" ,", ",").strip("; ."))


def prompt_hash(prompt: str, hint: bool) -> str:
    """A hash of the request without the object's own words."""
    return hashlib.blake2b(f"{prompt}\0{_HINT if hint else ''}".encode(), digest_size=8).hexdigest()
