"""Which workers get which cards; no GPU is needed to tell."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from pipeline.recipe import RecipeError, load_recipe
from pipeline.step import Step
from tests.pipeline.building import ROOT
from tests.pipeline.run_steps import QUICK, make_rows, run_steps
from tests.pipeline.tiny_stages import ShowCards, Start


def test_full_without_a_gpu_is_refused_with_what_to_set() -> None:
    with pytest.raises(RecipeError, match=r"^fit\.engine: gsplat takes 1 GPUs .* there are 0: set it to cpu"):
        load_recipe("full").resolve(gpus=0)
    assert load_recipe("full").resolve(gpus=1).steps()[2].gpus == 1
    assert load_recipe("full", {"fit.engine": "cpu"}).resolve(gpus=0).steps()[2].gpus == 0
    with pytest.raises(RecipeError, match=r"schedule\.fit\.gpus"):
        load_recipe("full", {"schedule.fit.gpus": 4}).resolve(gpus=2)


def test_the_kuberay_job_asks_for_no_card_its_cluster_lacks() -> None:
    job = yaml.safe_load((ROOT / "docker" / "kuberay_job.yaml").read_text())["spec"]
    groups = job["rayClusterSpec"]["workerGroupSpecs"]
    limits = [group["template"]["spec"]["containers"][0]["resources"]["limits"] for group in groups]
    preset = re.search(r"pipeline build (\w+)", job["entrypoint"])[1]
    load_recipe(preset).resolve(gpus=sum(float(limit.get("nvidia.com/gpu", 0)) for limit in limits))


def test_auto_follows_the_machine_once_and_then_the_run() -> None:
    recipe = load_recipe("demo")
    first = recipe.resolve(gpus=2)
    assert first.fit.engine == "gsplat"
    assert first.steps()[2].gpus == 1
    assert recipe.resolve(gpus=0).fit.engine == "cpu"
    assert recipe.resolve(gpus=2, before=recipe.resolve(gpus=0)).fit.engine == "cpu"
    with pytest.raises(RecipeError):
        recipe.resolve(gpus=0, before=first)


@pytest.mark.parametrize(("gpus", "cards"), [(1.0, {"4", "7"}), (0.5, {"4", "7"}), (2.0, {"4,7"})])
def test_each_local_worker_sees_the_cards_that_are_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: float, cards: set[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, 7")
    schedule = QUICK.model_copy(update={"gpus": gpus, "batch": 1, "workers": None})
    rows = make_rows(**dict.fromkeys("abcdefgh", ""))
    ran = run_steps(tmp_path, rows, [Step(Start(), QUICK), Step(ShowCards(), schedule)])
    told = [ran.records["showcards", row["id"]].columns for row in rows]
    assert {columns["cards"] for columns in told} == cards
    assert {columns["device"] for columns in told} == {"cuda"}
