"""What a caption engine is: the settings that it uses, its reasons, its schedule, and how it opens."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from functools import cache
from typing import Any, ClassVar

from stages.captioning.settings import CaptionSettings
from stages.captioning.source_words import COLUMNS
from stages.contract.schedule import Schedule
from stages.contract.stage import Context, Reason, Work

# What every engine that shows views to a model depends on, and why it may refuse a row.
VIEW_SETTINGS = frozenset("prompts hint views typical_views picture_size max_new_tokens temperature".split())
VIEW_REASONS = (
    Reason("bad_views", "none of the views shows anything", "look at the object with `sheet`; raise `render.views`"),
    Reason(
        "bad_vectors",
        "the vectors of embed are not one for each view",
        "report it",
    ),
    Reason(
        "no_caption",
        "no answer can be a caption: empty, a refusal, a loop",
        "change `caption.prompts`, or use a larger model",
    ),
    Reason(
        "prompt_too_long",
        "pictures, prompt and answer exceed the model's context",
        "lower `caption.views`, `caption.picture_size` or `caption.max_new_tokens`",
    ),
)


class CaptionEngine(ABC):
    """One way to get captions. Its file in stages/captioning/engines/ has a subclass of this, named `Engine`."""

    uses: ClassVar[frozenset[str]]  # settings that its captions depend on, besides engine and max_characters
    limits: ClassVar[frozenset[str]] = frozenset()  # settings that decide only whether it fails
    required: ClassVar[dict[str, str]] = {}  # settings that must be set, and what each of them should be
    uses_views: ClassVar[bool] = False  # and writes captions of its own, beside which those of the row can stand
    reasons: ClassVar[tuple[Reason, ...]] = ()
    default_schedule: ClassVar[Schedule] = Schedule(cpus=0.1, gpus=1, batch=64, workers=1, optional=True)

    @classmethod
    def reads(cls, settings: CaptionSettings) -> tuple[str, ...]:
        """Columns of the source list that its captions depend on."""
        return COLUMNS if "hint" in cls.uses and settings.hint else ()

    @classmethod
    def secrets(cls, settings: CaptionSettings) -> tuple[str, ...]:
        """Environment variables with credentials that the workers need."""
        return ()

    @classmethod
    def on_gpu(cls, settings: CaptionSettings) -> bool:
        """Whether the workers need a GPU, once `auto` is resolved."""
        return False

    @classmethod
    def resolve(cls, settings: CaptionSettings, gpus: float) -> dict[str, Any]:
        """The settings that change when every `auto` is made definite; ModelError if the model cannot be used."""
        return {}

    @classmethod
    @abstractmethod
    def open(cls, settings: CaptionSettings, context: Context) -> Work:
        """Load what is heavy, on the worker; each outcome has `captions`, made by `stages.captioning.texts.caption`."""


@cache
def engine_named(name: str) -> type[CaptionEngine]:
    engine: type[CaptionEngine] = importlib.import_module(f"stages.captioning.engines.{name}").Engine
    return engine
