"""What a model is asked, for each kind of text, and what is told it of the source's own words."""

from __future__ import annotations

import hashlib
import re

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stages.captioning.metadata import captions_of
from stages.contract.stage import Row, StageError

_SAME = "The pictures show one and the same object from several sides."
_ALONE = (
    "Speak of the object alone: not of the background, the lighting or the side it is seen from, "
    "and not of pictures, images, views or renderings."
)
_HINT = "Its source says of it: {words}. That may be wrong: follow it only where the pictures agree."
_HINT_CHARACTERS = 300


class Prompts(BaseModel):
    """One request for each kind of text, in this order."""

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
    """Some sentences."""
    tags: str | None = Field(
        f"{_SAME} List 5 to 10 tags for it, separated by commas: kind, parts, materials, colours, style. "
        f"{_ALONE} Answer with the tags and nothing else.",
        min_length=1,
    )
    """Words, separated by commas."""

    @model_validator(mode="after")
    def _ask_something(self) -> Prompts:
        if not self.asked():
            raise ValueError("all are null: expected a prompt for at least one of short, detailed, tags")
        return self

    def asked(self) -> dict[str, str]:
        """The prompts by kind, without those that are left out."""
        return {kind: prompt for kind, prompt in self if prompt}


def hint_of(row: Row) -> str:
    """What the source list says of the object, as a sentence for the model; "" where it says nothing."""
    try:
        said = captions_of({**row, "uri": ""}, _HINT_CHARACTERS)
    except StageError:
        return ""
    words = ""
    for one in said:
        if one["text"] not in words:  # a text that was put together holds the tags
            words += f"; {one['text']}"
    # Brackets and bars are what models spell their control words with.
    words = " ".join(re.sub(r"[<>|\[\]{}\\]+", " ", words).split())
    return _HINT.format(words=words.replace(" ,", ",").strip("; ."))


def prompt_hash(prompt: str, hint: bool) -> str:
    """Equal for equal requests, whatever the object's own words are."""
    return hashlib.blake2b(f"{prompt}\0{_HINT if hint else ''}".encode(), digest_size=8).hexdigest()
