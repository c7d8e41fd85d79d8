"""The loader: samples a second against plain `datasets` iteration over the same shards, and against what a model takes.

python -m tests.benchmarks.loader [--rows 256] [--gaussians 4096] [--seen 1024] [--batch 64] [--readers 2] [--threads 1]
                                  [--rounds 3] [--model mini]

The dataset is made in a temporary folder. Both give the same columns as tensors, shuffled; the loader also makes of
them what a step sees. It is measured where a quarter of the rows fits into its memory, so that each is read again in
each epoch, and where all do. `datasets` is measured as a table, which is made of the shards before and whose shuffle is
an order of rows, and as a stream, whose shuffle is a buffer. They take turns, and so does a model in training steps on
a batch that is ready: what it takes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from stages.clip_gs.batch import Batch
from stages.clip_gs.data.columns import GAUSSIANS, VECTORS
from stages.clip_gs.data.loader import Loader
from stages.clip_gs.data.shards import Dataset
from stages.clip_gs.settings import Data, Model
from stages.clip_gs.training.precision import autocast
from tests.stages.clip_gs_dataset import things, write

_VIEWS, _DIMENSION = 24, 512
_PLAIN = [*GAUSSIANS, *VECTORS]

Source = Callable[[], Iterator[int]]  # so many samples each time


def of_loader(dataset: Dataset, options: argparse.Namespace, share: float) -> Source:
    """In the middle of a training, and for so long that the few batches that lie ready do not count."""
    data = Data(shuffle_rows=max(1, int(options.rows * share)), readers=options.readers)
    loader = Loader(dataset, data, options.seen, options.batch)
    batches = loader.batches()
    next(batches)
    return lambda: (len(batch) for batch in islice(batches, 20 * options.readers))


def of_datasets(shards: list[str], options: argparse.Namespace, cache: str) -> dict[str, Source]:
    from datasets import load_dataset, logging

    logging.disable_progress_bar()

    def samples(rows: Iterable[dict[str, Any]]) -> Iterator[int]:
        return (len(batch["gaussian_count"]) for batch in rows)

    def given(streaming: bool) -> Any:
        rows = load_dataset("parquet", data_files=shards, split="train", streaming=streaming, cache_dir=cache)
        return rows.select_columns(_PLAIN).with_format("torch")

    begun = time.perf_counter()
    table = given(False).shuffle(seed=0)
    print(f"datasets made its table of the shards in {time.perf_counter() - begun:.1f} s")
    stream = given(True).shuffle(seed=0, buffer_size=max(1, options.rows // 4))
    return {
        "datasets, a table": lambda: samples(table.iter(options.batch)),
        "datasets, a stream": lambda: samples(stream.iter(options.batch)),
    }


def of_model(dataset: Dataset, options: argparse.Namespace, device: torch.device) -> Source:
    """Training steps but for the optimiser, on one batch that is ready."""
    from stages.clip_gs.network.model import ClipGs

    settings = Model(size=options.model, gaussians=options.seen)
    model = ClipGs(settings, dataset.dimension).to(device)
    batch: Batch = next(Loader(dataset, Data(), options.seen, options.batch).batches()).to(device)

    def step() -> int:
        with autocast("auto", device):
            found = model(batch.gaussians)
        (found * batch.texts).sum().backward()
        model.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return len(batch)

    step()
    return lambda: (step() for _ in range(3))


def rates(source: Source) -> tuple[float, float]:
    """Samples a second by the clock, and a second of CPU time, of all threads together."""
    clock, cpu = time.perf_counter(), time.process_time()
    count = sum(source())
    return count / (time.perf_counter() - clock), count / (time.process_time() - cpu)


def report(sources: dict[str, Source], rounds: int) -> None:
    first = next(iter(sources))
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sources}
    for _ in range(rounds):
        for name, source in sources.items():
            found[name].append(rates(source))
    print(f"{'samples a second':34}{'by the clock':>14}{'of CPU time':>14}   the first line is so many times that")
    for name, measured in found.items():
        clock, cpu = (statistics.median(values) for values in zip(*measured, strict=True))
        pairs = list(zip(found[first], measured, strict=True))
        times = [statistics.median(a[kind] / b[kind] for a, b in pairs) for kind in (0, 1)]
        print(f"{name:34}{clock:14,.0f}{cpu:14,.0f}   {times[0]:.1f} by the clock, {times[1]:.1f} in CPU time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--gaussians", type=int, default=4096, help="that a row has in the dataset")
    parser.add_argument("--seen", type=int, default=1024, help="that a step looks at")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="torch's")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="mini", help="a size, whose steps are measured too")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        made = things(options.rows, gaussians=options.gaussians, views=_VIEWS, dimension=_DIMENSION)
        torch.set_num_threads(options.threads)
        place = write(Path(folder) / "run", made, gaussians=options.gaussians, rows_per_shard=64, row_group_rows=16)
        dataset = Dataset.open(place)
        shards = [dataset.path(shard["shard"]) for shard in dataset.index["shards"]]
        sources = {
            "loader, each row read again": of_loader(dataset, options, 0.25),
            "loader, all rows in memory": of_loader(dataset, options, 1),
            **of_datasets(shards, options, os.path.join(folder, "cache")),
            f"the model's steps ({options.model})": of_model(dataset, options, device),
        }
        named = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
        print(
            f"{named}, {options.readers} readers, torch on {torch.get_num_threads()} threads: {options.rows} rows of "
            f"{options.gaussians} Gaussians, {options.seen} seen, batches of {options.batch}"
        )
        report(sources, options.rounds)


if __name__ == "__main__":
    main()
