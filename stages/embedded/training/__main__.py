"""Make the embedded models: draw the pictures, train, measure, and write each with its card.

python -m stages.embedded.training [clip] [captioner] [--folder runs/embedded] [--out stages/embedded]

What the folder holds already is not done again: the same command goes on where the last one stopped.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from stages.common.progress_bar import progress_bar
from stages.embedded.training import objects, pictures

MODELS = ("clip", "captioner")  # in this order: the captioner has the CLIP's eyes
NUMBERS = {objects.TRAIN: 24576, objects.INSTANCES: 640, objects.COMBINATIONS: 4352}  # of the corpus, to choose from
VIEWS = {objects.TRAIN: 8, objects.INSTANCES: 12, objects.COMBINATIONS: 12}  # many objects teach more than many views


def main() -> None:
    asked = _arguments()
    libraries = draw(asked.folder, asked.workers, asked.numbers)
    import torch

    from stages.common.training.checkpoint import CheckpointError
    from stages.embedded.training import making

    if asked.threads:
        torch.set_num_threads(asked.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for name in MODELS:
        if name in asked.models:
            try:
                out = asked.out / name
                making.make(name, libraries, asked.folder, out, device, asked.steps, built=asked.meshes)
            except CheckpointError as error:
                raise SystemExit(str(error)) from None


def draw(folder: Path, workers: int, most: int | None = None) -> dict[str, pictures.Library]:
    """The pictures of every split, by its name."""
    drawn = {}
    for split, numbers in NUMBERS.items():
        with progress_bar(f"pictures: {split.name}") as told:
            count = min(numbers, most or numbers)
            drawn[split.name] = pictures.drawn(
                folder / "pictures", split, count, VIEWS[split], pictures.SIDE, workers, told
            )
    return drawn


def _arguments() -> argparse.Namespace:
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(prog="python -m stages.embedded.training", description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"{' or '.join(MODELS)}; both by default")
    parser.add_argument("--folder", type=Path, default=Path("runs/embedded"), help="pictures, checkpoints, loss curves")
    parser.add_argument("--out", type=Path, default=Path("stages/embedded"), help="where the models are written")
    parser.add_argument("--steps", type=int, help="of each model, instead of its own number; for trying")
    parser.add_argument("--numbers", type=int, help="most numbers of the corpus a split, for trying")
    parser.add_argument(
        "--meshes", type=Path, metavar="RUN", help="of other meshes, built with the models: measure there"
    )
    parser.add_argument("--workers", type=int, default=cores, help="processes that draw")
    parser.add_argument("--threads", type=int, help="that train; as torch chooses by default")
    asked = parser.parse_args()
    wrong = [name for name in asked.models if name not in MODELS]
    if wrong:
        parser.error(f"{wrong[0]!r} is no model; expected {' or '.join(MODELS)}")
    asked.models = asked.models or list(MODELS)
    return asked


if __name__ == "__main__":
    main()
