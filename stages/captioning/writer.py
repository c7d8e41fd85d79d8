"""A vision-language model of transformers that writes about pictures, several objects at a time."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, LogitsProcessor, LogitsProcessorList

from stages.captioning.processor import load_processor
from stages.captioning.subject import Answer, Question
from stages.common.models import ModelError, folder_of, loading, refuse_incomplete
from stages.contract.stage import StageError

_NO_LIMIT = 10**7  # tokenizers without one say 1e30


class Writer:
    def __init__(self, model: str, revision: str | None, device: str, threads: int = 1):
        self.device = torch.device(device)
        torch.set_num_threads(threads)
        place = str(folder_of(model) or model)
        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        with loading(model):
            self.processor = load_processor(place, revision)
            self.model, told = AutoModelForImageTextToText.from_pretrained(
                place, revision=revision or "main", dtype=dtype, output_loading_info=True
            )
        refuse_incomplete(model, told["missing_keys"])
        tokenizer = getattr(self.processor, "tokenizer", None)
        if tokenizer is None or not hasattr(self.processor, "image_processor"):
            raise ModelError(
                f"{model}: its processor is a {type(self.processor).__name__}; expected pictures and texts"
            )
        if not (getattr(self.processor, "chat_template", None) or getattr(tokenizer, "chat_template", None)):
            raise ModelError(f"{model}: it has no chat template; expected chat_template.jinja, or one of its tokenizer")
        self.model.eval().to(self.device)
        inner = getattr(self.model, "model", None)
        if hasattr(inner, "get_image_features"):
            inner.get_image_features = _remembering(inner.get_image_features)
        self._ends = self._set_greedy(tokenizer)
        self.context = self._context(tokenizer)

    def _set_greedy(self, tokenizer: Any) -> set[int]:
        """Draw nothing, whatever the checkpoint's own habit; the tokens that end an answer."""
        settings = self.model.generation_config
        settings.update(do_sample=False, temperature=None, top_p=None, top_k=None, min_p=None, typical_p=None)
        told = settings.eos_token_id if settings.eos_token_id is not None else tokenizer.eos_token_id
        ends = set(told) if isinstance(told, list) else {told} - {None}
        settings.pad_token_id = next(
            (one for one in (settings.pad_token_id, tokenizer.pad_token_id, *ends) if one is not None), 0
        )
        tokenizer.padding_side = "left"  # an answer follows its question
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token_id = settings.pad_token_id
        return ends

    def _context(self, tokenizer: Any) -> int | None:
        """Tokens that the model can take, questions and answers together."""
        text = self.model.config.get_text_config()
        known = [getattr(text, "max_position_embeddings", None), getattr(tokenizer, "model_max_length", None)]
        return min((int(limit) for limit in known if limit and limit < _NO_LIMIT), default=None)

    def write(self, questions: Sequence[Question], most: int, temperature: float = 0.0) -> list[Answer | StageError]:
        """An answer of at most so many tokens to each question; MemoryError where so many are too much at once."""
        try:
            return self._write(questions, most, temperature)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
                raise
            told = " ".join(str(error).split())[:200]
        # Outside of the handler, whose traceback holds the tensors of all frames.
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        raise MemoryError(told)

    @torch.inference_mode()
    def _write(self, questions: Sequence[Question], most: int, temperature: float) -> list[Answer | StageError]:
        inputs = self._inputs(questions)
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        if self.context and max(lengths) + most > self.context:
            return self._without_the_long(questions, lengths, most, temperature)
        watch = _Watch([question.seed for question in questions], temperature)
        written = self.model.generate(
            **inputs.to(self.device, self.model.dtype),
            max_new_tokens=most,
            logits_processor=LogitsProcessorList([watch]),
        )[:, inputs["input_ids"].shape[1] :]
        chances = watch.chances(written)  # [B, T] log-probabilities
        return [self._answer(tokens, row) for tokens, row in zip(written.tolist(), chances.tolist(), strict=True)]

    def _inputs(self, questions: Sequence[Question]) -> Any:
        conversations = []
        for question in questions:
            parts: list[dict[str, Any]] = [{"type": "image", "image": picture} for picture in question.pictures]
            parts.append({"type": "text", "text": question.text})
            conversations.append([{"role": "user", "content": parts}])
        return self.processor.apply_chat_template(
            conversations, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
            processor_kwargs={"padding": True},
        )  # fmt: skip

    def _without_the_long(
        self, questions: Sequence[Question], lengths: list[int], most: int, temperature: float
    ) -> list[Answer | StageError]:
        """Those that fit are answered, the others fail."""
        fits = [length + most <= self.context for length in lengths]
        fitting = [question for question, fit in zip(questions, fits, strict=True) if fit]
        answers = iter(self._write(fitting, most, temperature) if fitting else [])
        return [
            next(answers) if fit else self._too_long(len(question.pictures), length, most)
            for question, length, fit in zip(questions, lengths, fits, strict=True)
        ]

    def _too_long(self, pictures: int, length: int, most: int) -> StageError:
        return StageError(
            "prompt_too_long",
            f"the prompt with {pictures} pictures takes {length} tokens and the answer up to {most}, the model takes "
            f"{self.context} in all; fewer caption.views, a smaller caption.picture_size or a shorter prompt would do",
        )

    def _answer(self, tokens: list[int], chances: list[float]) -> Answer:
        end = next((place + 1 for place, token in enumerate(tokens) if token in self._ends), None)
        told = chances[:end]
        text = self.processor.tokenizer.decode(tokens[:end], skip_special_tokens=True)
        return Answer(text, float(torch.tensor(told).mean().exp()) if told else None, cut=end is None)


def _remembering(look: Callable[..., Any]) -> Callable[..., Any]:
    """What the last pictures gave is kept: several questions about them come one after another."""
    given: list[Any] = []
    found: list[Any] = []

    @functools.wraps(look)  # `generate` reads its signature
    def remembering(*positional: Any, **named: Any) -> Any:
        told = [*positional, *(value for _, value in sorted(named.items()))]
        if not found or len(told) != len(given) or not all(map(_same, told, given)):
            found.clear()  # frees what is no longer wanted before more is taken
            found.append(look(*positional, **named))
            given[:] = told
        return found[0]

    return remembering


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    return type(one) is type(other) and one == other


class _Watch(LogitsProcessor):
    """Notes how likely each token was that was taken; above temperature 0 it also does the drawing.

    The likeliest of logits / temperature + Gumbel noise is a draw from their distribution. Noise of each row's own
    generator makes it the row's own draw, whatever else is in the batch.
    """

    def __init__(self, seeds: Sequence[int], temperature: float):
        self.temperature = temperature
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds] if temperature else []
        self.taken: list[torch.Tensor] = []
        self.last: torch.Tensor | None = None  # [B, vocabulary] log-probabilities of the next token

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self.last is not None:
            self._note(input_ids[:, -1])
        self.last = torch.log_softmax(scores.float(), dim=-1)
        if not self.temperature:
            return scores
        noise = torch.stack(
            [torch.empty(scores.shape[1]).exponential_(generator=one).clamp_min_(1e-30) for one in self.generators]
        )
        return scores.float() / self.temperature - noise.to(scores.device).log()

    def _note(self, tokens: torch.Tensor) -> None:
        self.taken.append(self.last.gather(1, tokens[:, None])[:, 0])

    def chances(self, written: torch.Tensor) -> torch.Tensor:
        """[B, T] of all that was written, once it is through."""
        self._note(written[:, -1])
        return torch.stack(self.taken, dim=1)
