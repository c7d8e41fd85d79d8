"""Load the teacher, a transformers model with one space for images and texts (CLIP, SigLIP, MetaCLIP), and run it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor

from manifests.text import message
from stages.common.models import ModelError, folder_of, loading, refuse_incomplete

Prepared = dict[str, torch.Tensor]  # one picture, or several stacked, as the model takes them


class Teacher:
    """Computes in bfloat16 on a GPU, else in float32; vectors are normalised in float32 and returned as float16."""

    def __init__(self, model: str, revision: str | None, device: str, threads: int = 1):
        self.device = torch.device(device)
        torch.set_num_threads(threads)
        source = str(folder_of(model) or model)
        revision = revision or "main"
        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        with loading(model):
            self.model, loaded = AutoModel.from_pretrained(
                source, revision=revision, trust_remote_code=False, dtype=dtype, output_loading_info=True
            )
            processor = AutoProcessor.from_pretrained(source, revision=revision, trust_remote_code=False)
        if not (hasattr(self.model, "get_image_features") and hasattr(self.model, "get_text_features")):
            kind = type(self.model).__name__
            raise ModelError(f"{model}: a {kind} has no vectors for both images and texts; expected a CLIP model")
        refuse_incomplete(model, loaded["missing_keys"])
        if not (hasattr(processor, "image_processor") and hasattr(processor, "tokenizer")):
            kind = type(processor).__name__
            raise ModelError(f"{model}: its {kind} does not process both images and texts; expected a CLIP model")
        self.model.eval().to(self.device)
        self.image_processor, self.tokenizer = processor.image_processor, processor.tokenizer
        self.context = min(self.tokenizer.model_max_length, self.model.config.text_config.max_position_embeddings)
        self._normalises_late = self._can_normalise_late()

    # -- pictures ------------------------------------------------------------------------------------------------

    def prepare(self, pictures: Sequence[Image.Image]) -> list[Prepared]:
        """Prepare pictures with the checkpoint's own processor, without normalising where `to_device` does that."""
        late = {"do_rescale": False, "do_normalize": False} if self._normalises_late else {}
        batch = self.image_processor(images=list(pictures), return_tensors="pt", **late)
        return [{name: tensor[index] for name, tensor in batch.items()} for index in range(len(pictures))]

    def embed_pictures(self, prepared: Sequence[Prepared]) -> np.ndarray:
        """[n, D] float16 of prepared pictures; MemoryError if they are too many for the GPU."""
        stacked = {name: torch.stack([one[name] for one in prepared]) for name in prepared[0]}
        return self._vectors(lambda: self.model.get_image_features(**self.to_device(stacked)))

    def to_device(self, stacked: Prepared) -> Prepared:
        """Move prepared pictures to the device, normalise them, and give them the model's number type."""
        moved = {name: tensor.to(self.device, non_blocking=True) for name, tensor in stacked.items()}
        if self._normalises_late:
            moved["pixel_values"] = self._normalised(moved["pixel_values"])
        return {
            name: tensor.to(self.model.dtype) if tensor.is_floating_point() else tensor
            for name, tensor in moved.items()
        }

    def _normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """The processor's last two steps, done on the device so that pictures are moved as bytes."""
        pixels = pixels.float()
        if self.image_processor.do_rescale:
            pixels = pixels * self.image_processor.rescale_factor
        if self.image_processor.do_normalize:
            mean, deviation = (
                torch.tensor(values, device=pixels.device).view(-1, 1, 1)
                for values in (self.image_processor.image_mean, self.image_processor.image_std)
            )
            pixels = (pixels - mean) / deviation
        return pixels

    def _can_normalise_late(self) -> bool:
        """Whether normalising last gives the same numbers, as it does not if, say, pictures are cut into patches."""
        ramp = np.linspace(0, 255, 40 * 50 * 3).astype(np.uint8).reshape(40, 50, 3)
        probe = [Image.fromarray(ramp)]
        normalised = self.image_processor(images=probe, return_tensors="pt")
        try:
            raw = self.image_processor(images=probe, return_tensors="pt", do_rescale=False, do_normalize=False)
            if set(normalised) != {"pixel_values"} or raw["pixel_values"].dtype != torch.uint8:
                return False
            return torch.allclose(self._normalised(raw["pixel_values"]), normalised["pixel_values"], atol=1e-5)
        except (AttributeError, TypeError, ValueError, RuntimeError):
            return False

    # -- texts ---------------------------------------------------------------------------------------------------

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """[n, D] float16 of texts, each cut to `context` tokens; MemoryError if they are too many for the GPU."""
        # SigLIP was trained on texts padded to its context, which its processors do not do by default.
        padding = "max_length" if "siglip" in self.model.config.model_type else True
        tokens = self.tokenizer(
            list(texts), padding=padding, truncation=True, max_length=self.context, return_tensors="pt"
        ).to(self.device)
        return self._vectors(lambda: self.model.get_text_features(**tokens))

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text, uncut."""
        return [len(ids) for ids in self.tokenizer(list(texts), verbose=False)["input_ids"]]

    # ------------------------------------------------------------------------------------------------------------

    def _vectors(self, features: Callable[[], Any]) -> np.ndarray:
        try:
            with torch.inference_mode():
                output = features()
                vectors = output if isinstance(output, torch.Tensor) else output.pooler_output
                lengths = vectors.float().norm(dim=-1, keepdim=True)
                return (vectors.float() / lengths).half().cpu().numpy()
        except torch.OutOfMemoryError as error:
            line = message(error, 200)
        torch.cuda.empty_cache()  # here, because the error's frames keep tensors alive
        raise MemoryError(line)
