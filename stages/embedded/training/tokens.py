"""The tokenizer of both models: pieces of words learnt from the corpus's texts, and bytes for all else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

SPECIAL = PAD, START, END, IMAGE, ANSWER = "<pad>", "<start>", "<end>", "<image>", "<answer>"
CONTEXT = 64  # tokens of a text that the CLIP reads
CAPTIONER_CONTEXT = 1024  # six pictures, a prompt with a hint, and an answer take half of it


def learn(texts: Iterable[str], size: int) -> Any:
    """A byte-level BPE of at most `size` tokens; the same texts give the same one."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    made.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=size, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
        ),
    )
    return made


def for_clip(learnt: Any) -> Any:
    """Texts stand between START and END."""
    from tokenizers import Tokenizer, processors
    from transformers import PreTrainedTokenizerFast

    framed = Tokenizer.from_str(learnt.to_str())
    ends = [(token, framed.token_to_id(token)) for token in (START, END)]
    framed.post_processor = processors.TemplateProcessing(single=f"{START} $A {END}", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=framed, pad_token=PAD, bos_token=START, eos_token=END, model_max_length=CONTEXT
    )


def for_captioner(learnt: Any) -> Any:
    """Texts are as they are; the chat template puts the turns together. Prompts are filled up on the left."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=learnt, pad_token=PAD, eos_token=END, additional_special_tokens=[START, IMAGE, ANSWER],
        model_max_length=CAPTIONER_CONTEXT, padding_side="left",
    )  # fmt: skip
