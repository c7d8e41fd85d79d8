"""Load a vision-language model with transformers and let it answer questions about pictures, in batches."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, LogitsProcessor, LogitsProcessorList

from manifests.text import message
from stages.captioning.processor import load_processor
from stages.captioning.subject import Answer, Question
from stages.common.models import ModelError, folder_of, loading, refuse_incomplete
from stages.contract.stage import StageError

_NO_LIMIT = 10**7  # a tokenizer without a limit has 1e30


class Writer:
    def __init__(self, model: str, revision: str | None, device: str, threads: int = 1):
        self.device = torch.device(device)
        torch.set_num_threads(threads)
        source = str(folder_of(model) or model)
        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        with loading(model):
            self.processor = load_processor(source, revision)
            self.model, loaded = _load(source, revision or "main", dtype)
        refuse_incomplete(model, loaded["missing_keys"])
        tokenizer = getattr(self.processor, "tokenizer", None)
        if tokenizer is None or not hasattr(self.processor, "image_processor"):
            kind = type(self.processor).__name__
            raise ModelError(f"{model}: its {kind} does not process both images and texts; expected a captioner")
        if not (getattr(self.processor, "chat_template", None) or getattr(tokenizer, "chat_template", None)):
            raise ModelError(f"{model}: the chat template is missing; expected chat_template.jinja")
        self.model.eval().to(self.device)
        inner = getattr(self.model, "model", None)
        if inner is not None and hasattr(inner, "get_image_features"):
            inner.get_image_features = _caching_last(inner.get_image_features)
        self._end_tokens = self._set_greedy(tokenizer)
        self.context = self._context(tokenizer)

    def _set_greedy(self, tokenizer: Any) -> set[int]:
        """Turn off sampling, whatever the checkpoint's settings say. Returns the tokens that end an answer."""
        config = self.model.generation_config
        config.update(do_sample=False, temperature=None, top_p=None, top_k=None, min_p=None, typical_p=None)
        end = config.eos_token_id if config.eos_token_id is not None else tokenizer.eos_token_id
        end_tokens = set(end) if isinstance(end, list) else {end} - {None}
        config.pad_token_id = next(
            (token for token in (config.pad_token_id, tokenizer.pad_token_id, *end_tokens) if token is not None), 0
        )
        tokenizer.padding_side = "left"  # so that an answer follows its question
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token_id = config.pad_token_id
        return end_tokens

    def _context(self, tokenizer: Any) -> int:
        """The most tokens that the model takes, question and answer together."""
        text = self.model.config.get_text_config()
        limits = [getattr(text, "max_position_embeddings", None), getattr(tokenizer, "model_max_length", None)]
        return min((int(limit) for limit in limits if limit and limit < _NO_LIMIT), default=_NO_LIMIT)

    def write(self, questions: Sequence[Question], most: int, temperature: float = 0.0) -> list[Answer | StageError]:
        """Answer each question with at most `most` tokens; MemoryError if they are too many at once."""
        try:
            return self._write(questions, most, temperature)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
                raise
            line = message(error, 200)
        # Outside of the handler, whose traceback keeps tensors alive.
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        raise MemoryError(line)

    @torch.inference_mode()
    def _write(self, questions: Sequence[Question], most: int, temperature: float) -> list[Answer | StageError]:
        inputs = self._inputs(questions)
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        if max(lengths) + most > self.context:
            return self._write_fitting(questions, lengths, most, temperature)
        sampler = _Sampler([question.seed for question in questions], temperature)
        written = self.model.generate(
            **inputs.to(self.device, self.model.dtype),
            max_new_tokens=most,
            logits_processor=LogitsProcessorList([sampler]),
        )[:, inputs["input_ids"].shape[1] :]
        logs = sampler.log_probabilities(written)
        return [self._answer(tokens, row) for tokens, row in zip(written.tolist(), logs.tolist(), strict=True)]

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

    def _write_fitting(
        self, questions: Sequence[Question], lengths: list[int], most: int, temperature: float
    ) -> list[Answer | StageError]:
        """Answer the questions that fit into the context; the others fail."""
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
            f"the prompt with {pictures} pictures has {length} tokens and the answer up to {most}, but the model takes "
            f"{self.context} in all; use fewer caption.views, a smaller caption.picture_size or a shorter prompt",
        )

    def _answer(self, tokens: list[int], log_probabilities: list[float]) -> Answer:
        end = next((index + 1 for index, token in enumerate(tokens) if token in self._end_tokens), None)
        logs = log_probabilities[:end]
        text = self.processor.tokenizer.decode(tokens[:end], skip_special_tokens=True)
        return Answer(text, float(torch.tensor(logs).mean().exp()) if logs else None, cut=end is None)


def _load(source: str, revision: str, dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
    """The model, and which of its tensors were missing: transformers returns both for `output_loading_info`."""
    loaded: Any = AutoModelForImageTextToText.from_pretrained(
        source, revision=revision, trust_remote_code=False, dtype=dtype, output_loading_info=True
    )
    return loaded


def _caching_last(function: Callable[..., Any]) -> Callable[..., Any]:
    """Keep the last result: several questions about the same pictures follow each other."""
    last_arguments: list[Any] = []
    last_result: list[Any] = []

    @functools.wraps(function)  # `generate` reads its signature
    def cached(*positional: Any, **named: Any) -> Any:
        arguments = [*positional, *(value for _, value in sorted(named.items()))]
        if not last_result or len(arguments) != len(last_arguments) or not all(map(_equal, arguments, last_arguments)):
            last_result.clear()  # frees its memory before the next is computed
            last_result.append(function(*positional, **named))
            last_arguments[:] = arguments
        return last_result[0]

    return cached


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    return type(one) is type(other) and one == other


class _Sampler(LogitsProcessor):
    """Samples tokens if the temperature is above 0, and records the log-probability of each token that was chosen.

    The largest of logits / temperature + Gumbel noise is a sample of their distribution. Each row has its own
    generator, so that its samples do not depend on the rest of the batch.
    """

    def __init__(self, seeds: Sequence[int], temperature: float):
        self.temperature = temperature
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds] if temperature else []
        self.chosen: list[torch.Tensor] = []  # [B] log-probabilities, one for each token so far
        self.next: torch.Tensor | None = None  # [B, vocabulary] log-probabilities of the next token

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self._record(input_ids[:, -1])
        self.next = torch.log_softmax(scores.float(), dim=-1)
        if not self.temperature:
            return scores
        noise = torch.stack(
            [torch.empty(scores.shape[1]).exponential_(generator=one).clamp_min_(1e-30) for one in self.generators]
        )
        return scores.float() / self.temperature - noise.to(scores.device).log()

    def _record(self, tokens: torch.Tensor) -> None:
        if self.next is not None:
            self.chosen.append(self.next.gather(1, tokens[:, None])[:, 0])

    def log_probabilities(self, written: torch.Tensor) -> torch.Tensor:
        """[B, T] of all tokens of the finished answers."""
        self._record(written[:, -1])
        return torch.stack(self.chosen, dim=1)
