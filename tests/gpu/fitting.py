"""What the parts that measure fits share: the kit's objects, a timed fit, and how busy the device is."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.autograd import DeviceType

from stages.fitting.engines.gsplat import BatchedEngine
from stages.fitting.kernels import rasterization
from stages.fitting.problem import FitProblem, FitResult, Method
from stages.fitting.quality import measure
from tests.gpu.objects import SUFFIX, FitObject, halved, read_objects
from tests.gpu.part import Part, cores


@dataclass(frozen=True)
class Setting:
    gaussians: int
    steps: int
    views: int  # of which every eighth is held out

    @property
    def method(self) -> Method:
        return Method(self.gaussians, self.steps)


AT_512 = Setting(16_384, 2000, 36)
AT_256 = Setting(8_192, 600, 24)
TOY = Setting(40, 6, 6)


def setting(part: Part, full: Setting) -> Setting:
    return TOY if part.toy else full


def objects_at_512(part: Part, count: int) -> list[FitObject]:
    return _repeated(_read(part, count), count)


def objects_at_256(part: Part, count: int) -> list[FitObject]:
    wanted = setting(part, AT_256)
    with ThreadPoolExecutor(cores()) as pool:
        small = list(pool.map(lambda one: halved(one, wanted.views, wanted.gaussians), _read(part, count)))
    return _repeated(small, count)


def _read(part: Part, count: int) -> list[FitObject]:
    """Read `count` objects of the kit, spread over their names, or all of them."""
    paths = sorted((part.kit / "objects").glob(f"*{SUFFIX}"))
    if not paths:
        raise SystemExit(f"{part.kit / 'objects'} has no objects: run make gpu-kit first")
    spread = [paths[index * len(paths) // count] for index in range(count)] if count < len(paths) else paths
    return read_objects(spread, cores())


def _repeated(objects: Sequence[FitObject], count: int) -> list[FitObject]:
    """Return `count` objects; if there are too few, repeat them under other names."""
    chosen = [objects[index % len(objects)] for index in range(count)]
    return [replace(one, name=f"{index:04d}-{one.name}") for index, one in enumerate(chosen)]


def engine(part: Part, at_once: int) -> BatchedEngine:
    if part.device == "cuda":
        return BatchedEngine(rasterization(), "cuda", at_once)
    from tests.stages import gaussian_oracle

    return BatchedEngine(gaussian_oracle.rasterization, "cpu", at_once)


def problems(objects: Sequence[FitObject], method: Method) -> list[FitProblem]:
    return [FitProblem(one.name, one.training, one.start, method, seed=index) for index, one in enumerate(objects)]


def warm_up(part: Part, objects: Sequence[FitObject], method: Method) -> None:
    """Fit briefly before measuring: libraries are loaded and memory is reserved at first use."""
    list(engine(part, 2).fit(problems(objects[:2], replace(method, steps=8, early_stop=False))))


def timed_fit(part: Part, objects: Sequence[FitObject], method: Method, at_once: int) -> dict[str, Any]:
    """Measure seconds per object, from given starts to splats in memory; then measure their quality."""
    fitter, waiting = engine(part, at_once), problems(objects, method)
    _reset_memory(part)
    results: dict[str, Any] = {}
    seconds = _seconds(part, lambda: results.update(fitter.fit(waiting)))
    lost = {name: result.reason for name, result in results.items() if not isinstance(result, FitResult)}
    if lost:
        raise SystemExit(f"{len(lost)} of {len(results)} objects were not fitted: {lost}")
    steps = statistics.median(result.steps for result in results.values())
    return {
        "objects": len(objects),
        "at_once": at_once,
        "seconds_an_object": seconds / len(objects),
        "steps": steps,
        "ms_a_step_an_object": 1000 * seconds / len(objects) / max(steps, 1),
        "memory_gib": torch.cuda.max_memory_allocated() / 2**30 if part.device == "cuda" else None,
        **_quality(fitter, objects, results),
    }


def _quality(fitter: BatchedEngine, objects: Sequence[FitObject], results: dict[str, FitResult]) -> dict[str, float]:
    """Medians over the objects, on held-out views over white."""

    def figures(one: FitObject) -> dict[str, float | None]:
        return measure(
            lambda splat: fitter.draw(splat, one.held_out, False), results[one.name].splat, one.held_out.colors
        )

    with ThreadPoolExecutor(cores()) as pool:
        found = list(pool.map(figures, objects))
    kept = {
        name: [each[name] for each in found if each[name] is not None] for name in ("psnr", "psnr_foreground", "ssim")
    }
    return {name: statistics.median(values) for name, values in kept.items() if values}


def busy_share(part: Part, objects: Sequence[FitObject], method: Method, at_once: int) -> float | None:
    """The share of a short fit's time in which the device runs a kernel; None without a GPU."""
    if part.device != "cuda":
        return None
    short = replace(method, steps=80, early_stop=False)
    fitter, waiting = engine(part, at_once), problems(objects[:at_once], short)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        seconds = _seconds(part, lambda: list(fitter.fit(waiting)))
    on_device = [event for event in profile.events() if event.device_type == DeviceType.CUDA]
    return covered([(event.time_range.start, event.time_range.end) for event in on_device]) / 1e6 / seconds


def covered(spans: Sequence[tuple[float, float]]) -> float:
    """The length of the union of intervals."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _seconds(part: Part, work: Callable[[], object]) -> float:
    synchronize = torch.cuda.synchronize if part.device == "cuda" else lambda: None
    synchronize()
    begun = time.perf_counter()
    work()
    synchronize()
    return time.perf_counter() - begun


def _reset_memory(part: Part) -> None:
    if part.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
