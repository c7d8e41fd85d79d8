"""Write tiny vision-language checkpoints of real families from their configurations, of a few 100 kB each.

Weights are random. A checkpoint that should answer with a given text has layers that add nothing to the residual
stream, and a head that leads from each token to the next of the text: greedy decoding gives that text for any image.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

FAMILIES = ("qwen2_5_vl", "qwen3_vl", "idefics3", "llava")
SENTENCE = "a small red wooden chair with four round legs ."
_WORDS = "a an the small large red blue green wooden metal chair table lamp with four round legs and of describe tags ."
_SPECIAL = ["<pad>", "<unk>", "<end>", "<image>", "<|vision_start|>", "<|image_pad|>", "<|video_pad|>"]
_SPECIAL += ["<|vision_end|>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", "<video>"]
_SPECIAL += [f"<row_{row}_col_{column}>" for row in range(1, 3) for column in range(1, 3)]
_PICTURE = {"qwen2_5_vl": "<|vision_start|><|image_pad|><|vision_end|>", "idefics3": "<image>", "llava": "<image>"}
_PICTURE["qwen3_vl"] = _PICTURE["qwen2_5_vl"]


@dataclass(frozen=True)
class Scale:
    """The size of a checkpoint and of its images."""

    width: int = 32
    layers: int = 2
    head: int = 8  # width of an attention head
    picture: int = 32

    def tower(self) -> dict[str, int]:
        return {"hidden_size": self.width, "intermediate_size": 2 * self.width}

    def encoder(self) -> dict[str, int]:
        more = {"num_hidden_layers": self.layers, "num_attention_heads": self.width // self.head}
        return {**self.tower(), **more, "image_size": self.picture, "patch_size": 8}

    def text(self, tokenizer: Any, length: int) -> dict[str, Any]:
        heads = self.width // self.head
        more = {"num_hidden_layers": self.layers, "num_attention_heads": heads, "num_key_value_heads": heads // 2}
        more |= {"vocab_size": len(tokenizer), "max_position_embeddings": length, "pad_token_id": 0}
        return {**self.tower(), **more, "tie_word_embeddings": False}

    def turns(self) -> dict[str, Any]:
        """Rotary positions: time, height and width share half of a head."""
        section = [self.head // 8, self.head // 8, self.head // 4]
        return {"rope_type": "default", "mrope_section": section, "rope_theta": 10000.0}


def make_checkpoint(
    folder: Path, family: str, says: str = "", seed: int = 0, length: int = 4096, scale: Scale = Scale()
) -> Path:
    """Write a checkpoint with its processor. `says`: its only answer; `length`: the tokens of its context."""
    import torch

    torch.manual_seed(seed)
    tokenizer = _tokenizer(family, says, length)
    model, image_processor, more = _MAKERS[family](tokenizer, length, scale)
    model.generation_config.update(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    if says:
        _teach(model, tokenizer, says)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _write_processor(folder, family, image_processor, more)
    return folder


def _tokenizer(family: str, says: str, length: int) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = [*_SPECIAL, "user", "assistant", *_WORDS.split(), *says.split()]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(words))}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", unk_token="<unk>", eos_token="<end>", model_max_length=length,
        additional_special_tokens=_SPECIAL[3:],
    )  # fmt: skip
    picture = f"{{% if part['type'] == 'image' %}} {_PICTURE[family]} {{% else %}}{{{{ part['text'] }}}}{{% endif %}}"
    parts = f"{{% for part in message['content'] %}}{picture}{{% endfor %}}"
    message = f"{{% for message in messages %}} {{{{ message['role'] }}}} {parts} <end> {{% endfor %}}"
    tokenizer.chat_template = message + "{% if add_generation_prompt %} assistant {% endif %}"
    return tokenizer


def _teach(model: Any, tokenizer: Any, says: str) -> None:
    import torch

    chain = [tokenizer.convert_tokens_to_ids(word) for word in ["assistant", *says.split(), "<end>"]]
    assert len(set(chain)) == len(chain), "a word that comes twice has two successors"
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.zero_()
        embeddings, head = model.get_input_embeddings().weight, model.lm_head.weight
        head.zero_()
        for before, after in zip(chain, chain[1:], strict=False):
            head[after] = embeddings[before] / embeddings[before].norm() * 4


def _write_processor(folder: Path, family: str, image_processor: Any, more: dict[str, Any]) -> None:
    """Write the files that the families' checkpoints have: an image processor and the processor's class."""
    import json

    image_processor.save_pretrained(folder)
    names = {"qwen2_5_vl": "Qwen2_5_VLProcessor", "qwen3_vl": "Qwen3VLProcessor"}
    names |= {"idefics3": "Idefics3Processor", "llava": "LlavaProcessor"}
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": names[family], **more}))


def _number(tokenizer: Any, word: str) -> int:
    return tokenizer.convert_tokens_to_ids(word)


def _qwen_tokens(tokenizer: Any) -> dict[str, int]:
    return {
        "image_token_id": _number(tokenizer, "<|image_pad|>"),
        "video_token_id": _number(tokenizer, "<|video_pad|>"),
        "vision_start_token_id": _number(tokenizer, "<|vision_start|>"),
        "vision_end_token_id": _number(tokenizer, "<|vision_end|>"),
        "tie_word_embeddings": False,
    }


def _qwen_tower(scale: Scale) -> dict[str, int]:
    more = {"depth": scale.layers, "num_heads": scale.width // 16, "out_hidden_size": scale.width}
    return {**scale.tower(), **more}


def _qwen_pictures(patch: int, scale: Scale) -> Any:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    least, most = (2 * patch) ** 2, max(4 * patch, scale.picture) ** 2  # patches are merged two by two
    return Qwen2VLImageProcessorPil(
        patch_size=patch, merge_size=2, temporal_patch_size=2, size={"shortest_edge": least, "longest_edge": most}
    )


def _qwen2_5_vl(tokenizer: Any, length: int, scale: Scale) -> tuple[Any, Any, dict[str, Any]]:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    vision = {**_qwen_tower(scale), "patch_size": 14, "window_size": 56, "fullatt_block_indexes": [scale.layers - 1]}
    text = {**scale.text(tokenizer, length), "rope_parameters": scale.turns()}
    text |= {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **_qwen_tokens(tokenizer))
    return Qwen2_5_VLForConditionalGeneration(config), _qwen_pictures(14, scale), {}


def _qwen3_vl(tokenizer: Any, length: int, scale: Scale) -> tuple[Any, Any, dict[str, Any]]:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    vision = {**_qwen_tower(scale), "patch_size": 16, "deepstack_visual_indexes": [0], "num_position_embeddings": 16}
    text = {**scale.text(tokenizer, length), "head_dim": scale.head, "rope_parameters": scale.turns()}
    config = Qwen3VLConfig(text_config=text, vision_config=vision, **_qwen_tokens(tokenizer))
    return Qwen3VLForConditionalGeneration(config), _qwen_pictures(16, scale), {}


def _idefics3(tokenizer: Any, length: int, scale: Scale) -> tuple[Any, Any, dict[str, Any]]:
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    config = Idefics3Config(
        vision_config=scale.encoder(), text_config={**scale.text(tokenizer, length), "model_type": "llama"},
        scale_factor=2, image_token_id=_number(tokenizer, "<image>"), pad_token_id=0, tie_word_embeddings=False,
    )  # fmt: skip
    side = {"longest_edge": scale.picture}
    pictures = Idefics3ImageProcessorPil(size=side, max_image_size=side, do_image_splitting=False)
    return Idefics3ForConditionalGeneration(config), pictures, {"image_seq_len": (scale.picture // 16) ** 2}


def _llava(tokenizer: Any, length: int, scale: Scale) -> tuple[Any, Any, dict[str, Any]]:
    from transformers import LlavaConfig, LlavaForConditionalGeneration
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    config = LlavaConfig(
        vision_config={**scale.encoder(), "model_type": "clip_vision_model", "projection_dim": scale.width},
        text_config={**scale.text(tokenizer, length), "model_type": "llama"},
        image_token_index=_number(tokenizer, "<image>"), image_seq_length=(scale.picture // 8) ** 2,
        tie_word_embeddings=False,
    )  # fmt: skip
    square = {"height": scale.picture, "width": scale.picture}
    pictures = CLIPImageProcessorPil(size={"shortest_edge": scale.picture}, crop_size=square)
    more = {"patch_size": 8, "num_additional_image_tokens": 1, "vision_feature_select_strategy": "default"}
    return LlavaForConditionalGeneration(config), pictures, more


_MAKERS = {"qwen2_5_vl": _qwen2_5_vl, "qwen3_vl": _qwen3_vl, "idefics3": _idefics3, "llava": _llava}
