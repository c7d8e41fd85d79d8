"""Embedding: images a second through the stage, and as a share of what the bare model reaches on ready tensors.

python -m tests.benchmarks.embed [--model PATH] [--size 256] [--objects 4] [--rounds 3] [--threads N] [--batch 256]

Without a model one of ViT-B/32's shape with random weights is made; speed does not depend on what weights say. Views
are of the demo corpus, rendered before. The stage reads them from a run folder, and decodes, prepares and embeds them;
the bare model is given the same prepared pictures, in batches as the stage makes them. The two take turns. On a CPU
seconds are those that the process had of it, whatever else ran. Where there is a GPU, it is measured too, by the clock.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import torch

from manifests.store import LocalStore
from stages.artifacts.views import Views
from stages.contract.stage import Context, Done, Row
from stages.embed import Embed
from stages.embedding.teacher import Prepared, Teacher
from tests.benchmarks.clock import seconds_of
from tests.benchmarks.fit_objects import rendered
from tests.stages.checkpoints import write_tokenizer

_VIEWS = 24


def write_vit_b_32(folder: Path) -> Path:
    """CLIP as its first authors made it, untrained, with a text tower of two layers, which is not measured."""
    import transformers
    from transformers import CLIPConfig, CLIPModel, CLIPProcessor
    from transformers.utils import is_torchvision_available

    tokenizer = write_tokenizer(folder)
    text = {"vocab_size": len(tokenizer), "num_hidden_layers": 2, "bos_token_id": 1, "eos_token_id": 2}
    vision = {"hidden_size": 768, "num_hidden_layers": 12, "patch_size": 32}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    backend = "" if is_torchvision_available() else "Pil"
    CLIPProcessor(getattr(transformers, f"CLIPImageProcessor{backend}")(), tokenizer).save_pretrained(folder)
    return folder


def bare(teacher: Teacher, batches: list[Prepared]) -> None:
    """The model alone: tensors that are ready, nothing read back."""
    with torch.inference_mode():
        for batch in batches:
            teacher.model.get_image_features(**batch)


def ready_batches(teacher: Teacher, paths: list[Path], count: int) -> list[Prepared]:
    """The same pictures as the model takes them, on its device, so many at once."""
    prepared = [one for path in paths for one in teacher.prepare(Views.from_bytes(path.read_bytes()).pictures())]
    groups = [prepared[start : start + count] for start in range(0, len(prepared), count)]
    return [
        teacher.to_device({name: torch.stack([one[name] for one in group]) for name in group[0]}) for group in groups
    ]


def measure(
    stage: Embed, paths: list[Path], device: str, threads: int = 1, rounds: int = 3
) -> dict[str, float | str | list[float]]:
    """Images a second through the stage, and which share of the bare model's rate that is, round by round."""
    context = Context(LocalStore(str(paths[0].parent)), paths[0].parent, device, threads)
    work, teacher = stage.open(context), stage.load(context)
    # Enough objects for full batches, the same views again and again.
    many = paths * (1 if device == "cpu" else -(-16 * stage.batch_images // (_VIEWS * len(paths))))
    rows: list[Row] = [{"id": str(number), "views": path.name} for number, path in enumerate(many)]
    count = _VIEWS if device == "cpu" else stage.batch_images // _VIEWS * _VIEWS
    batches = ready_batches(teacher, many, count)

    def through_the_stage() -> None:
        assert all(isinstance(outcome, Done) for _, outcome in work(rows))

    through_the_stage()
    bare(teacher, batches[:2])
    images, shares, rates = _VIEWS * len(many), [], []
    for _ in range(rounds):
        staged, alone = seconds_of(through_the_stage, device), seconds_of(lambda: bare(teacher, batches), device)
        rates.append(images / staged)
        shares.append(alone / staged)
    return {"images": images, "at_once": count, "dtype": str(teacher.model.dtype), "rates": rates, "shares": shares}


def show(found: dict, device: str, options: argparse.Namespace) -> None:
    name = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {options.threads} threads"
    unit = "images/s" if device == "cuda" else "images a second of CPU time"
    shares = found["shares"]
    print(f"{name}: {found['images']} images of {options.size}², {found['dtype']}, {found['at_once']} at once")
    print(
        f"  {statistics.median(found['rates']):,.1f} {unit} through the stage, "
        f"{statistics.median(shares):.0%} of the bare model ({min(shares):.0%} to {max(shares):.0%})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a checkpoint (default: ViT-B/32's shape, random weights)")
    parser.add_argument("--size", type=int, default=256, help="of the views, in pixels")
    parser.add_argument("--objects", type=int, default=4, help="of the demo corpus")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of a worker; on a GPU several prepare pictures")
    parser.add_argument("--batch", type=int, default=256, help="on a GPU")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        model = options.model or str(write_vit_b_32(Path(scratch) / "vit-b-32"))
        paths = rendered(Path(scratch), options.size, _VIEWS, options.objects, None, 0)
        for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
            stage = Embed(model=model, batch_images=options.batch).resolve(gpus=device == "cuda")
            show(measure(stage, paths, device, options.threads, options.rounds), device, options)


if __name__ == "__main__":
    main()
