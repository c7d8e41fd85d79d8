"""Load the processor of a vision-language checkpoint, also where torchvision is not installed."""

from __future__ import annotations

from typing import Any


def load_processor(model: str, revision: str | None) -> Any:
    """The checkpoint's own processor.

    Those of some families (Qwen-VL) contain a processor for videos, which transformers makes only with torchvision. No
    videos are shown here, so without torchvision a stand-in replaces it.
    """
    from transformers import AutoProcessor

    try:
        return AutoProcessor.from_pretrained(model, revision=revision or "main", trust_remote_code=False)
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

    kind: Any = PROCESSOR_MAPPING[type(AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=False))]

    class StillProcessor(kind):
        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            return argument_name == "video_processor" or super().check_argument_for_proper_class(
                argument_name, argument
            )

    loaders = {
        "tokenizer": lambda: AutoTokenizer.from_pretrained(model, revision=revision, trust_remote_code=False),
        "image_processor": lambda: AutoImageProcessor.from_pretrained(
            model, revision=revision, trust_remote_code=False
        ),
        "video_processor": NoVideos,
    }
    parts = [loaders[name]() for name in kind.get_attributes()]
    settings, _ = StillProcessor.get_processor_dict(model, revision=revision)
    return StillProcessor.from_args_and_dict(parts, settings)
