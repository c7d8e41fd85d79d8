"""Train the tokenizer of both models, a byte-level BPE, on the corpus's texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

SPECIAL = PAD, START, END, IMAGE, ANSWER = "<pad>", "<start>", "<end>", "<image>", "<answer>"
CONTEXT = 64  # tokens of a text that the CLIP reads
CAPTIONER_CONTEXT = 1024  # six pictures, a prompt with a hint, and an answer take half of it


def learn(texts: Iterable[str], size: int) -> Any:
    """Train a BPE of at most `size` tokens; the same texts give the same one."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=size, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
        ),
    )
    return tokenizer


def for_clip(vocabulary: Any) -> Any:
    """Return the CLIP's tokenizer: texts are between START and END."""
    from tokenizers import Tokenizer, processors
    from transformers import PreTrainedTokenizerFast

    framed = Tokenizer.from_str(vocabulary.to_str())
    ends = [(token, framed.token_to_id(token)) for token in (START, END)]
    framed.post_processor = processors.TemplateProcessing(single=f"{START} $A {END}", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=framed, pad_token=PAD, bos_token=START, eos_token=END, model_max_length=CONTEXT
    )


def for_captioner(vocabulary: Any) -> Any:
    """Return the captioner's tokenizer: nothing is added, as the chat template does that. Padding is on the left."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=vocabulary, pad_token=PAD, eos_token=END, additional_special_tokens=[START, IMAGE, ANSWER],
        model_max_length=CAPTIONER_CONTEXT, padding_side="left",
    )  # fmt: skip
