"""The teacher: a model of transformers that has one space for pictures and texts (CLIP, SigLIP, MetaCLIP and kin)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor

from stages.common.models import ModelError, folder_of, loading, refuse_incomplete

Prepared = dict[str, torch.Tensor]  # one picture as the model takes it


class Teacher:
    """On a GPU it reckons in bfloat16, elsewhere in float32; vectors are normalised in float32 and kept as float16."""

    def __init__(self, model: str, revision: str | None, device: str, threads: int = 1):
        self.device = torch.device(device)
        torch.set_num_threads(threads)
        place = str(folder_of(model) or model)
        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        with loading(model):
            named = {"pretrained_model_name_or_path": place, "revision": revision or "main"}
            self.model, told = AutoModel.from_pretrained(**named, dtype=dtype, output_loading_info=True)
            processor = AutoProcessor.from_pretrained(**named)
        if not (hasattr(self.model, "get_image_features") and hasattr(self.model, "get_text_features")):
            kind = type(self.model).__name__
            raise ModelError(f"{model}: a {kind}, which has no vectors for both pictures and texts; expected a CLIP")
        refuse_incomplete(model, told["missing_keys"])
        if not (hasattr(processor, "image_processor") and hasattr(processor, "tokenizer")):
            raise ModelError(f"{model}: its processor is a {type(processor).__name__}; expected pictures and texts")
        self.model.eval().to(self.device)
        self.pictures, self.tokenizer = processor.image_processor, processor.tokenizer
        self.context = min(self.tokenizer.model_max_length, self.model.config.text_config.max_position_embeddings)
        self._late = self._can_normalise_late()

    # -- pictures ------------------------------------------------------------------------------------------------

    def prepare(self, pictures: Sequence[Image.Image]) -> list[Prepared]:
        """Each picture by the checkpoint's own processor."""
        late = {"do_rescale": False, "do_normalize": False} if self._late else {}
        return _each(self.pictures(images=list(pictures), return_tensors="pt", **late))

    def look(self, prepared: Sequence[Prepared]) -> np.ndarray:
        """[n, D] float16 of prepared pictures."""
        stacked = {name: torch.stack([one[name] for one in prepared]) for name in prepared[0]}
        return self._vectors(lambda: self.model.get_image_features(**self.finished(stacked)))

    def finished(self, stacked: Prepared) -> Prepared:
        """Prepared pictures on the device, in the model's numbers."""
        moved = {name: tensor.to(self.device, non_blocking=True) for name, tensor in stacked.items()}
        if self._late:
            moved["pixel_values"] = self._normalised(moved["pixel_values"])
        return {
            name: tensor.to(self.model.dtype) if tensor.is_floating_point() else tensor
            for name, tensor in moved.items()
        }

    def _normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """The processor's last two steps, on the device: pictures travel as bytes."""
        pixels = pixels.float()
        if self.pictures.do_rescale:
            pixels = pixels * self.pictures.rescale_factor
        if self.pictures.do_normalize:
            mean, deviation = (
                torch.tensor(values, device=pixels.device).view(-1, 1, 1)
                for values in (self.pictures.image_mean, self.pictures.image_std)
            )
            pixels = (pixels - mean) / deviation
        return pixels

    def _can_normalise_late(self) -> bool:
        """Whether that gives what the processor gives: not where it cuts pictures into patches, say."""
        ramp = np.linspace(0, 255, 40 * 50 * 3).astype(np.uint8).reshape(40, 50, 3)
        probe = [Image.fromarray(ramp)]
        plain = self.pictures(images=probe, return_tensors="pt")
        try:
            early = self.pictures(images=probe, return_tensors="pt", do_rescale=False, do_normalize=False)
            if set(plain) != {"pixel_values"} or early["pixel_values"].dtype != torch.uint8:
                return False
            return torch.allclose(self._normalised(early["pixel_values"]), plain["pixel_values"], atol=1e-5)
        except (AttributeError, TypeError, ValueError, RuntimeError):
            return False

    # -- texts ---------------------------------------------------------------------------------------------------

    def read(self, texts: Sequence[str]) -> np.ndarray:
        """[n, D] float16 of texts, cut to what the model reads."""
        # SigLIP was trained on texts filled up to its context, and its processors do not say so.
        padding = "max_length" if "siglip" in self.model.config.model_type else True
        tokens = self.tokenizer(
            list(texts), padding=padding, truncation=True, max_length=self.context, return_tensors="pt"
        ).to(self.device)
        return self._vectors(lambda: self.model.get_text_features(**tokens))

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """In tokens; beyond `context` a text is cut."""
        return [len(ids) for ids in self.tokenizer(list(texts), verbose=False)["input_ids"]]

    # ------------------------------------------------------------------------------------------------------------

    def _vectors(self, features) -> np.ndarray:
        try:
            with torch.inference_mode():
                found = features()
                pooled = found if isinstance(found, torch.Tensor) else found.pooler_output
                lengths = pooled.float().norm(dim=-1, keepdim=True)
                return (pooled.float() / lengths).half().cpu().numpy()
        except torch.OutOfMemoryError as error:
            line = " ".join(str(error).split())[:200]
        torch.cuda.empty_cache()  # out here, where the error's frames hold no tensors any more
        raise MemoryError(line)


def _each(features) -> list[Prepared]:
    """A batch taken apart."""
    count = len(features["pixel_values"])
    return [{name: tensor[index] for name, tensor in features.items()} for index in range(count)]
