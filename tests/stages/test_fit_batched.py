"""The engine gsplat: with gsplat on a GPU, on any machine with the oracle's function in place of gsplat's.

Slow tests run it with gsplat's own sources compiled for the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from stages.contract.stage import StageError
from stages.fitting.engines.cpu import CpuEngine
from stages.fitting.engines.gsplat import BatchedEngine
from stages.fitting.photos import read_photos
from stages.fitting.problem import Engine, FitProblem, FitResult, Method
from stages.fitting.start import start_from
from tests.stages import gaussian_oracle
from tests.stages.gsplat_on_cpu import substitute
from tests.stages.test_fit import ball, views_of

METHOD = Method(gaussians=40, steps=24, early_stop=False)
TOLERANCE = 1e-4  # how much a splat's numbers may depend on the other objects of the batch


def problem(name: str, radius: float = 0.8, method: Method = METHOD, count: int = 40) -> FitProblem:
    photos = read_photos(name, views_of(*ball(count=6, size=16, radius=radius)).to_bytes())
    return FitProblem(name, photos, start_from(photos, count, 1), method, seed=sum(name.encode()))


def on(rasterization: Callable[..., Any], device: str) -> Callable[..., BatchedEngine]:
    return lambda **settings: BatchedEngine(rasterization, device, **settings)


@pytest.fixture(
    params=[
        "torch",
        pytest.param("gsplat", marks=pytest.mark.gpu),
        pytest.param("gsplat_on_cpu", marks=substitute.MARKS),
    ]
)
def engine(request: pytest.FixtureRequest) -> Callable[..., BatchedEngine]:
    if request.param == "torch":
        return on(gaussian_oracle.rasterization, "cpu")
    if request.param == "gsplat_on_cpu":
        return on(substitute.rasterization(), "cpu")
    from stages.fitting.kernels import rasterization

    return on(rasterization(), "cuda")


def fit(engine: Engine, *problems: FitProblem) -> dict[str, FitResult | StageError]:
    return dict(engine.fit(iter(problems)))


def numbers(result: FitResult | StageError) -> np.ndarray:
    """[N, 14]"""
    assert isinstance(result, FitResult), result
    splat = result.splat
    parts = [splat.means, splat.log_scales, splat.quaternions, splat.opacity_logits[:, None], splat.sh[:, 0]]
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize(
    "changed", [{}, {"sh_degree": 2}, {"antialiased": True}, {"ssim_share": 0.0}, {"early_stop": True, "steps": 200}]
)
def test_does_what_the_cpu_engine_does(engine: Callable[..., BatchedEngine], changed: dict[str, Any]) -> None:
    one = problem("a", method=replace(METHOD, **changed))
    ours, theirs = fit(engine(), one)["a"], fit(CpuEngine(), one)["a"]
    assert isinstance(ours, FitResult)
    assert ours.steps == theirs.steps
    drawn = [CpuEngine().draw(each.splat, one.photos, one.method.antialiased) for each in (ours, theirs)]
    assert abs(drawn[0] - drawn[1]).mean() < 2e-3
    if ours.steps == 24:
        np.testing.assert_allclose(numbers(ours), numbers(theirs), atol=0.02)
    np.testing.assert_allclose(
        engine().draw(ours.splat, one.photos, one.method.antialiased), drawn[0], atol=1e-4
    )  # fmt: skip


def test_an_object_is_what_it_is_in_any_company(engine: Callable[..., BatchedEngine]) -> None:
    one = problem("a")
    alone = numbers(fit(engine(), one)["a"])
    among = fit(engine(), problem("b", 0.5), one, problem("c", 0.6, count=9))
    np.testing.assert_allclose(numbers(among["a"]), alone, atol=TOLERANCE)
    assert len(numbers(among["c"])) == 9


def test_one_that_goes_astray_takes_nobody_along(engine: Callable[..., BatchedEngine]) -> None:
    one, lost = problem("a"), problem("lost")
    broken = replace(lost, start=replace(lost.start, means=lost.start.means * np.float32(np.nan)))
    found = fit(engine(), broken, one)
    assert isinstance(found["lost"], StageError)
    assert found["lost"].reason == "not_finite"
    np.testing.assert_allclose(numbers(found["a"]), numbers(fit(engine(), one)["a"]), atol=TOLERANCE)


def test_the_next_takes_the_place_of_what_is_finished(engine: Callable[..., BatchedEngine]) -> None:
    early = replace(METHOD, steps=240, early_stop=True)
    problems = [problem(f"{index}", 0.4 + 0.1 * index, early) for index in range(5)]
    asked: list[str] = []

    def coming() -> Iterator[FitProblem]:
        for one in problems:
            asked.append(one.id)
            yield one

    found = {}
    for name, result in engine(batch_size=2).fit(coming()):
        assert len(asked) <= len(found) + 5  # two in the batch, the one just asked for, and two being put in order
        found[name] = result
    assert sorted(found) == ["0", "1", "2", "3", "4"]
    assert len({result.steps for result in found.values()}) > 1
    for one in problems[::2]:
        alone = fit(engine(), one)[one.id]
        assert alone.steps == found[one.id].steps
        np.testing.assert_allclose(numbers(found[one.id]), numbers(alone), atol=TOLERANCE)


def test_objects_of_other_sizes_follow_each_other(engine: Callable[..., BatchedEngine]) -> None:
    small = read_photos("s", views_of(*ball(count=3, size=11)).to_bytes())
    other = FitProblem("s", small, start_from(small, 20, 1), METHOD, 3)
    found = fit(engine(), problem("a"), other, problem("b"))
    assert [type(result) for result in found.values()] == [FitResult] * 3


@pytest.mark.parametrize("room", [3, 2, 1])
def test_without_the_memory_for_all_fewer_are_fitted_at_once(room: int) -> None:
    asked: list[int] = []

    def narrow(means: torch.Tensor, *given: Any, **named: Any) -> Any:
        asked.append(len(means))
        if len(means) > room:
            raise torch.OutOfMemoryError("no room")
        return gaussian_oracle.rasterization(means, *given, **named)

    problems = [problem(f"{index}", 0.5 + 0.1 * index) for index in range(4)]
    found = fit(BatchedEngine(narrow, "cpu"), *problems)
    free = fit(BatchedEngine(gaussian_oracle.rasterization, "cpu"), *problems)
    assert asked[0] == 4
    assert max(asked[3:]) <= room
    for name, result in free.items():
        np.testing.assert_allclose(numbers(found[name]), numbers(result), atol=TOLERANCE)


def test_an_object_too_large_alone_has_its_reason() -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("no room")

    found = fit(BatchedEngine(full, "cpu"), problem("a"), problem("b"))
    assert {result.reason for result in found.values()} == {"out_of_memory"}


def test_no_steps_leave_the_start(engine: Callable[..., BatchedEngine]) -> None:
    one = problem("a", method=replace(METHOD, steps=0))
    found = fit(engine(), one)["a"]
    assert found.steps == 0
    np.testing.assert_allclose(np.sort(found.splat.means, axis=0), np.sort(one.start.means, axis=0), atol=1e-6)
