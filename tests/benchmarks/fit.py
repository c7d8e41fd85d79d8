"""Measure the fit on one core (quality, seconds), beside a plain torch reference, and on two cores at once.

python -m tests.benchmarks.fit [FOLDER] [--sizes 128 256] [--demo 8] [--objects 20] [--antialiased]

FOLDER holds meshes, of which those with textures are used. Seconds cover reading views, start, steps and order;
rendering and figures are not included. `make gpu-run` measures a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from stages.fit import held_out_views
from stages.fitting.photos import Photos, read_photos
from tests.benchmarks.fit_objects import rendered

SETTINGS = {128: (4096, 400, 24), 256: (8192, 600, 24), 512: (16384, 1000, 36)}  # Gaussians, steps, views
COLUMNS = {
    "steps": "steps", "psnr": "psnr", "foreground": "psnr_foreground", "ssim": "ssim", "first half": "psnr_first_half",
    "quarter": "psnr_first_quarter", "seconds": "wall", "s a step": "step",
}  # fmt: skip
BUDGETS = (0.125, 0.5, 1.0)  # of the steps


def photos_of(path: Path) -> tuple[Photos, Photos]:
    """The training views and the held-out ones."""
    photos = read_photos(path.name, path.read_bytes())
    held_out = held_out_views(len(photos), 8)
    return photos.take([view for view in range(len(photos)) if view not in held_out]), photos.take(held_out)


def fit_all(paths: list[Path], gaussians: int, steps: int, antialiased: bool) -> list[dict[str, Any]]:
    """Fit objects one after the other. The first is fitted twice, because code is compiled on first use."""
    from stages.fitting.engines.cpu import CpuEngine
    from stages.fitting.problem import FitProblem, FitResult, Method
    from stages.fitting.quality import measure
    from stages.fitting.start import start_from

    engine, found = CpuEngine(), []
    for index, path in enumerate([paths[0], *paths]):
        wall, busy = time.perf_counter(), time.process_time()
        training, held_out = photos_of(path)
        start = start_from(training, gaussians, 1)
        begun = time.perf_counter()
        method = Method(gaussians, steps, antialiased=antialiased)
        ((_, result),) = engine.fit([FitProblem(path.name, training, start, method, 1)])
        assert isinstance(result, FitResult), result
        seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - busy}
        stepping = (time.perf_counter() - begun) / max(result.steps, 1)
        figures = measure(lambda splat: engine.draw(splat, held_out, antialiased), result.splat, held_out.colors)  # noqa: B023
        if index:
            found.append({"name": path.name, "steps": result.steps, "step": stepping, **seconds, **figures})
    return found


def seconds_of_plain_step(path: Path, gaussians: int) -> float:
    """Measure a step of the plain torch reference: project, blend and differentiate one view on one thread."""
    import torch

    from stages.fitting.in_torch.drawing import Rasterizer
    from stages.fitting.parameters import pack
    from stages.fitting.start import start_from
    from tests.stages import gaussian_oracle

    torch.set_num_threads(1)
    training, _ = photos_of(path)
    parameters = torch.from_numpy(pack(start_from(training, gaussians, 1)).T.copy()).requires_grad_()
    pose, lens = (torch.from_numpy(part[:1]) for part in (training.world_to_camera, training.intrinsics))
    begun = time.perf_counter()
    image = Rasterizer(gaussian_oracle.rasterization).draw(parameters, pose, lens, training.size, False)
    image.square().sum().backward()
    return time.perf_counter() - begun


def median(found: list[dict[str, Any]], name: str) -> float:
    return statistics.median(one[name] for one in found)


def _child(arguments: list[str], core: int) -> subprocess.Popen[str]:
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.fit", "--child", str(core), *arguments],
        stdout=subprocess.PIPE, text=True, env=os.environ | threads,
    )  # fmt: skip


def _answers(children: list[subprocess.Popen[str]]) -> list[dict[str, Any]]:
    texts = [child.communicate()[0] for child in children]
    assert all(child.returncode == 0 for child in children)
    return [json.loads(text.splitlines()[-1]) for text in texts]


def report(paths: list[Path], size: int, options: argparse.Namespace) -> None:
    gaussians, steps, views = SETTINGS[size]
    given = [str(size), *map(str, paths)] + (["--antialiased"] if options.antialiased else [])
    print(f"\n{size}², {gaussians:,} Gaussians, {views} views, {len(paths)} objects, one core")
    print(f"{'at most':>12}" + "".join(f"{title:>12}" for title in COLUMNS))
    for budget in BUDGETS:
        (answer,) = _answers([_child([f"--steps={round(steps * budget)}", *given], 0)])
        found = answer["found"]
        print(f"{round(steps * budget):>12}" + "".join(f"{median(found, name):>12.4g}" for name in COLUMNS.values()))
    print(f"peak memory {answer['mib']:.0f} MiB")
    if options.plain and size == min(options.sizes):
        (plain,) = _answers([_child([f"--steps={steps}", "--only-plain", *given], 0)])
        ratio = plain["plain"] / median(found, "step")
        print(f"a step of the plain torch reference takes {plain['plain']:.1f} s: {ratio:,.0f} times ours")
    if len(os.sched_getaffinity(0)) > 1:
        both = _answers([_child([f"--steps={steps}", *given], core) for core in (0, 1)])
        alone = sum(one["wall"] for one in found)
        together = max(sum(one["wall"] for one in answer["found"]) for answer in both)
        print(f"two at once on two cores: {2 * alone / together:.2f} times one")


def child(options: argparse.Namespace) -> None:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[options.child % len(cores)]})
    size, *names = options.given
    paths = [Path(name) for name in names]
    gaussians = SETTINGS[int(size)][0]
    if options.only_plain:
        print(json.dumps({"plain": seconds_of_plain_step(paths[0], gaussians)}))
        return
    found = fit_all(paths, gaussians, options.steps, options.antialiased)
    print(json.dumps({"found": found, "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("given", nargs="*", help="FOLDER of meshes, used beside the demo corpus")
    parser.add_argument("--sizes", nargs="+", type=int, default=[128, 256], choices=sorted(SETTINGS))
    parser.add_argument("--demo", type=int, default=8, help="objects of the demo corpus")
    parser.add_argument("--objects", type=int, default=20, help="the most textured meshes of FOLDER")
    parser.add_argument("--antialiased", action="store_true")
    parser.add_argument("--no-plain", dest="plain", action="store_false", help="leave out the torch reference")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--only-plain", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        child(options)
        return
    folder = Path(options.given[0]) if options.given else None
    with tempfile.TemporaryDirectory() as scratch:
        for size in options.sizes:
            report(
                rendered(Path(scratch), size, SETTINGS[size][2], options.demo, folder, options.objects), size, options
            )


if __name__ == "__main__":
    main()
