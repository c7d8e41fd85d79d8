"""Write tiny checkpoints with random weights: all files of a folder from the hub, in a few hundred kilobytes."""

from __future__ import annotations

from pathlib import Path

SIDE = 32  # pixels of the images that they take
DIMENSION = 16  # of their vectors
CONTEXT = 32  # tokens of a text at most

_TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
_VISION = {**_TOWER, "image_size": SIDE, "patch_size": 8}


def write_clip(folder: Path, seed: int = 0) -> Path:
    """A CLIPModel with CLIP's processor and a tokenizer of bytes."""
    import torch
    from transformers import CLIPConfig, CLIPModel, CLIPProcessor

    tokenizer = write_tokenizer(folder)
    text = _text_tower(tokenizer)
    torch.manual_seed(seed)
    CLIPModel(CLIPConfig(text_config=text, vision_config=_VISION, projection_dim=DIMENSION)).save_pretrained(folder)
    CLIPProcessor(_image_processor("CLIP"), tokenizer).save_pretrained(folder)
    return folder


def write_siglip(folder: Path, seed: int = 0) -> Path:
    """A SiglipModel, whose vectors have the width of its towers."""
    import torch
    from transformers import SiglipConfig, SiglipModel, SiglipProcessor

    tokenizer = write_tokenizer(folder)
    text = {**_text_tower(tokenizer), "projection_size": _TOWER["hidden_size"]}
    torch.manual_seed(seed)
    SiglipModel(SiglipConfig(text_config=text, vision_config=_VISION)).save_pretrained(folder)
    SiglipProcessor(_image_processor("Siglip"), tokenizer).save_pretrained(folder)
    return folder


def write_bert(folder: Path) -> Path:
    """A model of texts only."""
    from transformers import BertConfig, BertModel

    tokenizer = write_tokenizer(folder)
    BertModel(BertConfig(vocab_size=len(tokenizer), **_TOWER)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _text_tower(tokenizer) -> dict[str, int]:
    special = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    return {**_TOWER, **special, "vocab_size": len(tokenizer), "max_position_embeddings": CONTEXT}


def write_tokenizer(folder: Path):
    """Every byte is a token, between <start> and <end>, so that any script can be encoded."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<pad>", "<start>", "<end>"]
    vocabulary = {token: number for number, token in enumerate([*special, *letters])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    ends = [(token, vocabulary[token]) for token in special[1:]]
    tokenizer.post_processor = processors.TemplateProcessing(single="<start> $A <end>", special_tokens=ends)
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<start>", eos_token="<end>", model_max_length=CONTEXT
    )
    made.save_pretrained(folder)
    return made


def _image_processor(family: str):
    """An image processor for SIDE pixels, with or without torchvision."""
    import transformers
    from transformers.utils import is_torchvision_available

    backend = "" if is_torchvision_available() else "Pil"
    kind = getattr(transformers, f"{family}ImageProcessor{backend}")
    size = {"shortest_edge": SIDE} if family == "CLIP" else {"height": SIDE, "width": SIDE}
    crop = {"crop_size": {"height": SIDE, "width": SIDE}} if family == "CLIP" else {}
    return kind(size=size, **crop)
