"""What only a GPU can show, in slices of under nine minutes that can be run again: each ends with its table.

python -m tests.benchmarks.gpu SLICE [--meshes FOLDER] [--out runs/gpu]

build    compile gsplat's kernels
test     the tests marked gpu
render   views a second through EGL, against the script that people write
fit-256  a batch of objects at 256², and quality beside the aim
fit-512  a batch at 512² with 36 views, and one object at a time
curve    seconds an object by batch size, and quality by budget
embed    images a second through the embedding stage, and as a share of the bare model
caption  captions a second by a vision-language model
train    a CLIP-GS step at the size of the aim: share of the card, against the plain step
learn    the corpus preset, built by local processes, then trained and evaluated; stopped in time, it goes on next time

Objects are of the demo corpus, and textured meshes of FOLDER where one is given; views are kept under --out. Needs no
Ray.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from stages.ahead import ahead
from stages.fitting.batched import BatchedEngine
from stages.fitting.kernels import KernelsError, rasterization
from stages.fitting.photos import Photos
from stages.fitting.problem import FitProblem, FitResult, Method
from stages.fitting.quality import measure
from stages.fitting.start import start_from
from tests.benchmarks.fit import photos_of
from tests.benchmarks.fit_objects import rendered

_THREADS = 12  # that prepare objects
_CURVE = (1, 4, 16, 64, 256)
_BUDGETS = (200, 600, 2000)
_LEARN_SECONDS = 510.0


@dataclass(frozen=True)
class Setting:
    size: int
    gaussians: int
    steps: int
    views: int
    aim_psnr: float
    aim_seconds: float

    @property
    def floor_ms(self) -> float:
        """A view forward and backward, by the H200's bandwidth: 0.045 ms for 32,768 Gaussians."""
        return 0.045 * self.gaussians / 32768


_AT_256 = Setting(256, 8192, 600, 24, 34.0, 0.2)
_AT_512 = Setting(512, 16384, 2000, 36, 35.0, 0.5)


@dataclass(frozen=True)
class Measured:
    seconds: float  # an object, all of a batch together
    steps: float
    psnr: float
    foreground: float
    ssim: float
    gib: float  # at the most
    prepared: float  # seconds an object to read and to start, on the CPU, not counted above

    def line(self, title: str, aim: str = "") -> str:
        return (
            f"{title:<34}{self.psnr:>8.2f}{self.foreground:>8.2f}{self.ssim:>8.3f}{self.steps:>8.0f}"
            f"{self.seconds:>10.4f}{1000 * self.seconds / max(self.steps, 1):>10.4f}{self.gib:>8.1f}"
            f"{self.prepared:>9.2f}  {aim}"
        )


_HEAD = (
    f"{'':<34}{'psnr':>8}{'object':>8}{'ssim':>8}{'steps':>8}{'s/object':>10}{'ms/step':>10}{'GiB':>8}{'start s':>9}"
)


def fit(paths: list[Path], setting: Setting, most: int, steps: int | None = None) -> Measured:
    """Fit them all, at most so many at once. Starts are made before the clock runs, figures after it has stopped."""
    method = Method(setting.gaussians, setting.steps if steps is None else steps)
    held_out: dict[str, Photos] = {}

    def problem(path: Path) -> FitProblem:
        training, held_out[path.name] = photos_of(path)
        return FitProblem(path.name, training, start_from(training, method.gaussians, 1), method, 1)

    begun = time.perf_counter()
    problems = list(ahead(problem, paths, _THREADS))
    prepared = (time.perf_counter() - begun) / len(paths)
    engine = BatchedEngine(rasterization(), "cuda", most)
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.synchronize()
    begun = time.perf_counter()
    results = dict(engine.fit(iter(problems)))
    torch.cuda.synchronize()
    seconds = time.perf_counter() - begun
    found = []
    for name, result in results.items():
        assert isinstance(result, FitResult), result
        figures = measure(lambda splat: engine.draw(splat, held_out[name], False), result.splat, held_out[name].colors)  # noqa: B023
        found.append((result.steps, figures["psnr"], figures["psnr_foreground"], figures["ssim"]))
    steps_taken, psnr, foreground, ssim = (statistics.median(values) for values in zip(*found, strict=True))
    memory = torch.cuda.max_memory_allocated() / 2**30
    return Measured(seconds / len(paths), steps_taken, psnr, foreground, ssim, memory, prepared)


def repeated(paths: list[Path], count: int) -> list[Path]:
    """So many, the same ones again where there are not enough: speed does not know them."""
    return [paths[index % len(paths)] for index in range(count)]


def unique(paths: Iterable[Path], folder: Path) -> Iterator[Path]:
    """The same objects under names of their own, as results are told by name."""
    for index, path in enumerate(paths):
        link = folder / f"{index:04d}-{path.name}"
        if not link.exists():
            link.symlink_to(path.absolute())
        yield link


def objects(setting: Setting, count: int, options: argparse.Namespace) -> list[Path]:
    paths = rendered(options.out, setting.size, setting.views, options.demo, options.meshes, options.objects)
    folder = options.out / f"{setting.size}-many"
    folder.mkdir(parents=True, exist_ok=True)
    return list(unique(repeated(paths, count), folder))


def show_fit(setting: Setting, at_once: int, alone: int, options: argparse.Namespace) -> None:
    paths = objects(setting, at_once, options)
    fit(paths[:2], setting, 2, steps=20)  # first launches build and load much
    batch = fit(paths, setting, at_once)
    lines = [batch.line(f"{at_once} at once", f"aim {setting.aim_psnr} dB in {setting.aim_seconds} s")]
    single = fit(paths[:alone], setting, 1)
    lines.append(single.line(f"one at a time ({alone} objects)", f"{single.seconds / batch.seconds:.1f} times as long"))
    floor = 1000 * batch.seconds / max(batch.steps, 1) / setting.floor_ms
    print(f"\n{setting.size}², {setting.gaussians:,} Gaussians, {setting.views} views, {torch.cuda.get_device_name()}")
    print(_HEAD, *lines, f"a step takes {floor:.1f} times the floor estimated for an H200", sep="\n")


def show_curve(options: argparse.Namespace) -> None:
    paths = objects(_AT_256, max(_CURVE), options)
    fit(paths[:2], _AT_256, 2, steps=20)
    lines = [fit(paths[: max(count, 4)], _AT_256, count).line(f"batch of {count}") for count in _CURVE]
    lines += [fit(paths[:64], _AT_256, 64, steps).line(f"64 at once, at most {steps} steps") for steps in _BUDGETS]
    print(f"\n256², 8,192 Gaussians, {torch.cuda.get_device_name()}", _HEAD, *lines, sep="\n")


def run_tests() -> int:
    return _module("pytest", "-q", "-m", "gpu", *Path("tests/stages").glob("test_*.py"))


def show_render(options: argparse.Namespace) -> int:
    folder = [options.meshes] if options.meshes else []
    return _module("tests.benchmarks.render", *folder, "--free", "--memory", 0)


def learn(options: argparse.Namespace) -> int:
    run, deadline = options.out / "corpus", time.monotonic() + _LEARN_SECONDS
    steps = [
        ("build", "corpus", "--run", run, "--engine", "local"),
        ("train", "corpus", "--run", run),
        ("evaluate", "--checkpoint", run / "training/default/last.pt", "--dataset", run, "--split", "test,unseen"),
    ]
    return next((code for step in steps if (code := _module("pipeline", *step, deadline=deadline))), 0)


def _module(name: str, *words: object, deadline: float | None = None) -> int:
    """Its exit code. At the deadline it is asked to stop."""
    process = subprocess.Popen([sys.executable, "-m", name, *map(str, words)])
    try:
        return process.wait(deadline and max(deadline - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        process.terminate()
        return process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slice", choices=[*_ALONE, *_FITS])
    parser.add_argument("--meshes", type=Path, help="a folder; its textured meshes are fitted too")
    parser.add_argument("--objects", type=int, default=16, help="of them at most")
    parser.add_argument("--demo", type=int, default=24, help="objects of the demo corpus")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"))
    options = parser.parse_args()
    if options.slice in _ALONE:
        return _ALONE[options.slice](options)
    try:
        rasterization()
        _FITS[options.slice](options)
    except KernelsError as error:
        print(f"gpu-check: {error}", file=sys.stderr)
        return 1
    return 0


_ALONE: dict[str, Callable[[argparse.Namespace], int]] = {
    "build": lambda options: _module("stages.fitting.kernels"),
    "test": lambda options: run_tests(),
    "render": show_render,
    "embed": lambda options: _module("tests.benchmarks.embed"),
    "caption": lambda options: _module("tests.benchmarks.caption"),
    "train": lambda options: _module("tests.benchmarks.train"),
    "learn": learn,
}
_FITS: dict[str, Callable[[argparse.Namespace], None]] = {  # for which gsplat's kernels must be there
    "fit-256": lambda options: show_fit(_AT_256, 256, 8, options),
    "fit-512": lambda options: show_fit(_AT_512, 64, 2, options),
    "curve": show_curve,
}


if __name__ == "__main__":
    sys.exit(main())
