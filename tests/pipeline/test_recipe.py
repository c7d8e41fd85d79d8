"""The recipe: what is read from presets, files and options."""

from __future__ import annotations

import re

import pytest
import yaml

from pipeline.recipe import Recipe, RecipeError, load_recipe
from tests.pipeline.building import ROOT


def test_what_is_told_of_a_schedule_changes_the_stages_own_default() -> None:
    plain, changed = load_recipe("cpu").schedule, load_recipe("cpu", {"schedule.caption.workers": 4}).schedule
    assert changed.caption == plain.caption.model_copy(update={"workers": 4})
    assert changed.caption.optional and changed.caption.gpus == 1
    assert changed.model_copy(update={"caption": plain.caption}) == plain


def test_a_captioner_in_the_workers_has_a_core_and_patience() -> None:
    words = {"caption.engine": "vlm", "caption.model": "somewhere"}
    writing = load_recipe("cpu", words).schedule.caption
    plain = load_recipe("cpu").schedule.caption
    assert (writing.cpus, writing.workers) == (1, None)
    assert writing.timeout_seconds > plain.timeout_seconds and writing.optional
    changed = load_recipe("cpu", words | {"schedule.caption.cpus": 3}).schedule.caption
    assert changed == writing.model_copy(update={"cpus": 3})


@pytest.mark.parametrize("engine", [["vlm"], {"name": "vlm"}, 5, "unknown"])
def test_a_caption_engine_that_is_no_name_of_one_is_refused(engine: object) -> None:
    with pytest.raises(RecipeError, match=r"^caption\.engine: .* is not allowed: "):
        load_recipe("cpu", {"caption.engine": engine})


def test_a_resolved_recipe_reads_back_as_it_is() -> None:
    recipe = load_recipe("demo", {"schedule.caption.batch": 3})
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


def test_of_several_gpus_none_is_shared() -> None:
    with pytest.raises(RecipeError, match=r"schedule\.fit\.gpus: 1\.5 .*expected a whole number above 1"):
        load_recipe("cpu", {"schedule.fit.gpus": 1.5})
    assert load_recipe("cpu", {"schedule.fit.gpus": 0.5}).schedule.fit.gpus == 0.5


@pytest.mark.parametrize("stage", ["ingest", "render", "fit"])
def test_what_every_row_must_have_cannot_be_optional(stage: str) -> None:
    recipe = load_recipe("cpu", {f"schedule.{stage}.optional": True})
    with pytest.raises(RecipeError, match=rf"^schedule\.{stage}\.optional: true, but no row can be packed without"):
        recipe.resolve(gpus=0)
    load_recipe("cpu", {"schedule.caption.optional": False}).resolve(gpus=0)


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


def test_what_pack_is_given_by_the_recipe_is_no_setting() -> None:
    with pytest.raises(RecipeError, match=r"pack\.stages: no such field"):
        load_recipe("demo", {"pack.stages": "[]"})
