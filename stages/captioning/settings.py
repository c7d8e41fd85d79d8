"""The settings of the stage caption. Each engine uses some of them."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from manifests.text import published
from stages.captioning.engines import ENGINES
from stages.captioning.prompts import Prompts
from stages.common.choices import one_of


class CaptionSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    engine: Annotated[str, one_of(ENGINES)] = Field(
        "metadata", description="; ".join(f"`{name}`: {meaning}" for name, meaning in ENGINES.items()) + "."
    )
    sources: tuple[Literal["engine", "row"], ...] = ("engine", "row")
    """vlm, served: whose captions an object gets, in this order: those of the engine, and those that the source list
    gives its row (caption, or else name, category and tags)."""
    max_characters: int = Field(2000, ge=1)
    """Longer texts are cut: those of models at the end of a sentence, others between words."""
    model: str | None = None
    """vlm: a folder that transformers saved, or a model's name on the hub; served: the model's name at the endpoint."""
    revision: str | None = None
    """vlm: a branch, tag or commit of a model on the hub, by default the newest commit; served: a word of
    yours that distinguishes models of the same name."""
    endpoint: str | None = None
    """served: the URL that `/chat/completions` is added to, such as http://localhost:8000/v1."""
    api_key_variable: str = Field("OPENAI_API_KEY", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """served: the environment variable of the workers that holds the API key; if it is not set, no key is sent."""
    prompts: Prompts = Prompts()
    """The prompt for each kind of text; null leaves a kind out."""
    hint: bool = False
    """Add the caption, name, category and tags of the source list to the prompts."""
    views: int = Field(6, ge=1, le=64)
    """The most views that the model is shown; the best are chosen (docs/captions.md)."""
    typical_views: bool = True
    """With a teacher: prefer views whose vectors are similar to those of the other views."""
    picture_size: int = Field(512, ge=16, le=4096)
    """Views with longer sides are reduced to this size, in pixels."""
    max_new_tokens: int = Field(200, ge=1, le=10_000)
    """The most tokens of one text."""
    temperature: float = Field(0.0, ge=0, le=2)
    """0: always the likeliest token; above 0: sampled, with a seed that belongs to the object."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """vlm: where the model runs; `auto` takes a GPU if there is one."""
    objects_at_once: int = Field(16, ge=1)
    """vlm: objects in a batch on a GPU, halved if memory runs out; on a CPU a batch is one object."""
    in_flight: int = Field(16, ge=1, le=1000)
    """served: how many objects a worker asks about at the same time, with one request each."""
    tries: int = Field(6, ge=1)
    """served: how often a request is sent if its failures may pass."""
    deadline_seconds: float = Field(90.0, gt=0)
    """served: the time limit for all texts of one object; less than the schedule's timeout_seconds."""
    log_probabilities: bool = True
    """served: ask for the probabilities of the tokens, which give the confidence."""
    checkpoint: str = ""
    """vlm: the identity of `model`; filled in."""

    @field_validator("sources")
    @classmethod
    def _check_sources(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(sources)) != len(sources) or "engine" not in sources:
            raise ValueError(
                "expected [engine, row], [row, engine] or [engine]; captions of the row alone: caption.engine metadata"
            )
        return sources

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, endpoint: str | None) -> str | None:
        if not endpoint:
            return endpoint
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected a URL such as http://localhost:8000/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("expected a URL without user, password, query or fragment; see caption.api_key_variable")
        return endpoint.rstrip("/")

    @property
    def model_name(self) -> str:
        """What captions name as their model: NAME@HASH of a folder, OWNER/NAME@COMMIT of a model on the hub."""
        return published(self.checkpoint or (f"{self.model}@{self.revision}" if self.revision else str(self.model)))
