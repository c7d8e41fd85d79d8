"""Caption objects.

in: views of render and, where the recipe embeds, view_vectors of embed (the engines that look: `vlm`, `served`);
    caption, name, tags, category, uri of the source list (the engine `metadata`; the first four also as a `hint`)
out: captions, a list of {text, kind, model, score}; of the engines that look also caption_views (indices of the views
     that were shown, in that order), caption_origins (for each of captions {revision, prompt, confidence}: a hash of
     the prompt, the mean probability of the tokens) and warnings (kinds for which nothing usable came)

How captions are made is described in docs/captions.md.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

import pyarrow as pa
from pydantic import Field, ValidationInfo, field_validator

from manifests.dataset import CAPTION, Column
from stages.captioning.metadata import words_in
from stages.captioning.prompts import Prompts
from stages.common.models import PICTURES, TEXTS, ModelError, find, require
from stages.contract.schedule import Schedule
from stages.contract.stage import Context, ReadArtifact, Reason, Row, Stage, Work

_KEYED = {
    "metadata": {"engine", "max_characters"},
    "vlm": {"engine", "max_characters", "checkpoint", "prompts", "hint", "views", "typical_views", "picture_size"}
    | {"max_new_tokens", "temperature"},
    "served": {"engine", "max_characters", "model", "revision", "prompts", "hint", "views", "typical_views"}
    | {"picture_size", "max_new_tokens", "temperature", "log_probabilities"},
}
_WRITING = Schedule(cpus=1, gpus=1, batch=16, memory_gb=24, timeout_seconds=600, optional=True)
# Where and how patiently an endpoint is asked changes no caption, but may mend a failure.
_LIMITS = {"endpoint", "api_key_variable", "tries", "deadline_seconds"}


class Caption(Stage):
    """Give an object its texts: the source list's own words, or what a vision-language model says of its views."""

    needs: ClassVar[tuple[str, ...]] = ("render",)
    gpu_field: ClassVar[str] = "device"
    columns: ClassVar[tuple[Column, ...]] = (
        Column(
            "captions",
            pa.list_(CAPTION),
            "kind: metadata, name, short, detailed, tags; score: fit to the views",
            missing=[],
        ),
    )
    reasons: ClassVar[tuple[Reason, ...]] = (
        Reason("no_words", "metadata: neither the source list nor the names of file and folder say anything"),
        Reason("bad_views", "vlm, served: none of the views shows anything"),
        Reason("bad_vectors", "vlm, served: the vectors of embed are not one for each view"),
        Reason("no_caption", "vlm, served: no answer can be a caption: empty, a refusal, a loop"),
        Reason("prompt_too_long", "vlm, served: pictures, prompt and answer exceed the model's context"),
        Reason("out_of_memory", "vlm: the GPU had no room for one object, after batches were halved down to it", True),
        Reason("not_authorised", "served: 401 or 403; the key is named by its variable and never shown"),
        Reason("endpoint_refused", "served: an answer that will not change, such as an unknown model or a redirect"),
        Reason("endpoint_failed", "served: no usable answer after `tries` or within `deadline_seconds`", True),
    )
    default_schedule: ClassVar[Schedule] = Schedule(cpus=0.1, gpus=1, batch=64, workers=1, optional=True)

    engine: Literal["metadata", "vlm", "served"] = "metadata"
    """`metadata`: words of the source list, else of the file's and folder's name; `vlm`: a model of transformers in the
    workers; `served`: a model behind an OpenAI-compatible chat endpoint."""
    max_characters: int = Field(2000, ge=1)
    """Longer texts are cut, those of models at the end of a sentence, others between words."""
    model: str | None = Field(None, validate_default=True)
    """vlm: a folder that transformers saved, or a hub's name; served: the name that the endpoint knows it by."""
    revision: str | None = None
    """vlm: a branch, tag or commit of a hub's model, by default the newest; served: kept as it is told."""
    endpoint: str | None = Field(None, validate_default=True)
    """served: the address that `/chat/completions` is added to, such as http://localhost:8000/v1."""
    api_key_variable: str = Field("OPENAI_API_KEY", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """served: the environment variable, on the workers, that holds the key; unset: none is sent."""
    prompts: Prompts = Prompts()
    """What is asked for each kind of text; null leaves a kind out."""
    hint: bool = False
    """Tell the model the source list's own words: caption, name, category, tags."""
    views: int = Field(6, ge=1, le=64)
    """At most so many views are shown, the best (docs/captions.md)."""
    typical_views: bool = True
    """Where the recipe embeds: prefer views whose vectors are like the others'."""
    picture_size: int = Field(512, ge=16, le=4096)
    """Views with longer sides are made smaller before they are shown."""
    max_new_tokens: int = Field(200, ge=1, le=10_000)
    """A text takes at most so many tokens."""
    temperature: float = Field(0.0, ge=0, le=2)
    """0: the likeliest token each time; above: drawn, with a seed of the object's own."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """vlm: where it runs; `auto` takes a GPU where there is one."""
    objects_at_once: int = Field(16, ge=1)
    """vlm: so many objects in a batch on a GPU; halved where memory ends. A CPU takes one."""
    in_flight: int = Field(16, ge=1, le=1000)
    """served: a worker asks about so many objects at a time, one request each."""
    tries: int = Field(6, ge=1)
    """served: a request is sent so often, where its failure may pass."""
    deadline_seconds: float = Field(90.0, gt=0)
    """served: patience for all texts of one object; less than the schedule's timeout_seconds."""
    log_probabilities: bool = True
    """served: ask for the tokens' probabilities, which give the confidence."""
    checkpoint: str = ""
    """vlm: what `model` turned out to be; filled in."""

    @field_validator("model")
    @classmethod
    def _need_model(cls, model: str | None, told: ValidationInfo) -> str | None:
        engine = told.data.get("engine")
        if engine == "vlm" and not model:
            raise ValueError("the engine vlm needs a folder that transformers saved, or a hub's name")
        if engine == "served" and not model:
            raise ValueError("the engine served needs the name that the endpoint knows the model by")
        return model

    @field_validator("endpoint")
    @classmethod
    def _need_endpoint(cls, endpoint: str | None, told: ValidationInfo) -> str | None:
        if not endpoint:
            if told.data.get("engine") == "served":
                raise ValueError("the engine served needs an address, such as http://localhost:8000/v1")
            return endpoint
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected an address such as http://localhost:8000/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("expected no key or other words in the address; see caption.api_key_variable")
        return endpoint.rstrip("/")

    @property
    def unkeyed(self) -> tuple[str, ...]:
        keyed = _KEYED[self.engine] | (_LIMITS if self.engine == "served" else set())
        return tuple(sorted(set(type(self).model_fields) - keyed))

    @property
    def limits(self) -> tuple[str, ...]:
        return tuple(sorted(_LIMITS))

    @property
    def reads(self) -> tuple[str, ...]:
        if self.engine == "metadata":
            return ("caption", "name", "tags", "category", "uri")
        return ("caption", "name", "tags", "category") if self.hint else ()

    @property
    def may_need(self) -> tuple[str, ...]:
        return ("embed",) if self.engine != "metadata" and self.typical_views else ()

    @property
    def on_gpu(self) -> bool:
        return self.engine == "vlm" and self.device == "gpu"

    @property
    def model_name(self) -> str:
        """What captions say they are by: NAME@HASH of a folder, OWNER/NAME@COMMIT of a hub's model."""
        if self.engine == "vlm":
            return self.checkpoint or str(self.model)
        return f"{self.model}@{self.revision}" if self.revision else str(self.model)

    @classmethod
    def schedule_for(cls, settings: Any) -> Schedule:
        """A model in the workers needs more than words that are there already, or than an endpoint."""
        engine = settings.get("engine") if isinstance(settings, Mapping) else getattr(settings, "engine", None)
        return _WRITING if engine == "vlm" else cls.default_schedule

    def resolve(self, gpus: float, before: Stage | None = None, earlier: Mapping[str, Stage] | None = None) -> Caption:
        if self.engine != "vlm":
            return self
        found = find(str(self.model), self.revision)
        _refuse_others(str(self.model), found.config)
        require(found, PICTURES, TEXTS)
        device = self.device if self.device != "auto" else "gpu" if gpus else "cpu"
        told = {"model": found.place, "revision": found.revision, "checkpoint": found.identity, "device": device}
        return self.model_copy(update=told)

    @classmethod
    def entry(cls, outcome: Row, artifact: ReadArtifact, row: Row) -> Row:
        return {"captions": [caption | {"score": None} for caption in outcome.get("captions", [])]}

    def open(self, context: Context) -> Work:
        return importlib.import_module(f"stages.captioning.{self.engine}").open_engine(self, context)

    def key(self, row: Row, needed: Sequence[str] = (), content: str = "", failed: bool = False) -> str:
        # Only the words in the names of the file and its folders are used: a collection that moves keeps its captions.
        return super().key({**row, "uri": words_in(row.get("uri") or "")}, needed, content, failed)


def _refuse_others(model: str, config: dict) -> None:
    """As far as a configuration tells; the worker that loads the model sees the rest."""
    looks = any(name in config for name in ("vision_config", "vision_tower", "image_token_id", "image_token_index"))
    speaks = any("Generation" in name or "CausalLM" in name for name in config.get("architectures") or [])
    if not looks or not speaks:
        raise ModelError(
            f"{model}: a {config['model_type']} model, and a captioner looks at pictures and writes; "
            "expected qwen2_5_vl, idefics3, llava or another that AutoModelForImageTextToText loads"
        )
