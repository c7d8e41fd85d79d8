"""What stands between texts with pictures and a model's tensors: a checkpoint's processor, without torchvision too."""

from __future__ import annotations

from typing import Any


def load_processor(model: str, revision: str | None) -> Any:
    """The checkpoint's own processor.

    Those of some families (Qwen-VL) hold one for videos too, and transformers makes none without torchvision. Nobody
    shows videos here, so there a stand-in takes its place. With torchvision everything is as transformers has it.
    """
    from transformers import AutoProcessor

    try:
        return AutoProcessor.from_pretrained(model, revision=revision or "main")
    except ImportError as error:
        if "torchvision" not in str(error).lower():
            raise
        return _without_videos(model, revision or "main")


def _without_videos(model: str, revision: str) -> Any:
    from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
    from transformers.video_processing_utils import VideoProcessorMixin

    class NoVideos(VideoProcessorMixin):
        model_input_names: list[str] = []

    known = PROCESSOR_MAPPING[type(AutoConfig.from_pretrained(model, revision=revision))]

    class StillProcessor(known):
        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            return argument_name == "video_processor" or super().check_argument_for_proper_class(
                argument_name, argument
            )

    loaders = {
        "tokenizer": lambda: AutoTokenizer.from_pretrained(model, revision=revision),
        "image_processor": lambda: AutoImageProcessor.from_pretrained(model, revision=revision),
        "video_processor": NoVideos,
    }
    parts = [loaders[name]() for name in known.get_attributes()]
    settings, _ = StillProcessor.get_processor_dict(model, revision=revision)
    return StillProcessor.from_args_and_dict(parts, settings)
