"""Make the embedded models: draw the pictures, train, measure, and write each with its card.

python -m stages.embedded.training [clip] [captioner] [--folder runs/embedded] [--out stages/embedded]

The same command resumes: what the folder has already is not done again.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from stages.common.progress_bar import progress_bar
from stages.embedded.training import objects, pictures

MODELS = ("clip", "captioner")  # in this order: the captioner uses the CLIP's image encoder
NUMBERS = {
    objects.TRAIN: 24576,
    objects.INSTANCES: 640,
    objects.COMBINATIONS: 4352,
}  # of the corpus, to choose objects from
VIEWS = {objects.TRAIN: 8, objects.INSTANCES: 12, objects.COMBINATIONS: 12}  # many objects teach more than many views


def main() -> None:
    options = _arguments()
    libraries = draw(options.folder, options.workers, options.numbers)
    import torch

    from stages.common.training.checkpoint import CheckpointError
    from stages.embedded.training import making

    if options.threads:
        torch.set_num_threads(options.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for name in MODELS:
        if name in options.models:
            try:
                out = options.out / name
                making.make(name, libraries, options.folder, out, device, options.steps, built=options.meshes)
            except CheckpointError as error:
                raise SystemExit(str(error)) from None


def draw(folder: Path, workers: int, most: int | None = None) -> dict[str, pictures.Library]:
    """Draw the pictures of every split; return them by its name."""
    drawn = {}
    for split, numbers in NUMBERS.items():
        with progress_bar(f"pictures: {split.name}") as report:
            count = min(numbers, most or numbers)
            drawn[split.name] = pictures.drawn(
                folder / "pictures", split, count, VIEWS[split], pictures.SIDE, workers, report
            )
    return drawn


def _arguments() -> argparse.Namespace:
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(prog="python -m stages.embedded.training", description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"{' or '.join(MODELS)}; both by default")
    parser.add_argument("--folder", type=Path, default=Path("runs/embedded"), help="pictures, checkpoints, loss curves")
    parser.add_argument("--out", type=Path, default=Path("stages/embedded"), help="where the models are written")
    parser.add_argument("--steps", type=int, help="steps for each model instead of its own number, to try it out")
    parser.add_argument(
        "--numbers", type=int, help="at most this number of corpus numbers for each split, to try it out"
    )
    parser.add_argument(
        "--meshes", type=Path, metavar="RUN", help="also measure on this run of other meshes, built with the models"
    )
    parser.add_argument("--workers", type=int, default=cores, help="number of processes that draw")
    parser.add_argument("--threads", type=int, help="number of threads that train (default: torch's choice)")
    options = parser.parse_args()
    wrong = [name for name in options.models if name not in MODELS]
    if wrong:
        parser.error(f"{wrong[0]!r}: no such model; expected {' or '.join(MODELS)}")
    options.models = options.models or list(MODELS)
    return options


if __name__ == "__main__":
    main()
