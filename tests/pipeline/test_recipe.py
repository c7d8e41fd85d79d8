"""The recipe: what is read from presets, files and options."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from pipeline.recipe import Recipe, RecipeError, load_recipe
from pipeline.settings import OF_BUILD, describe
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


def test_a_text_where_a_list_is_due_is_refused_with_an_example() -> None:
    with pytest.raises(RecipeError, match=r"^caption\.sources: .row,engine. is not allowed: expected a list, such as"):
        load_recipe("cpu", {"caption.sources": "row,engine"})


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


def written(folder: Path, text: str) -> str:
    path = folder / "own.yaml"
    path.write_text(text)
    return str(path)


def test_a_file_changes_the_preset_that_it_names(tmp_path: Path) -> None:
    own = load_recipe(written(tmp_path, "preset: demo\nfit: {steps: 7}\nsplits: {shares: {train: 1}}\n"))
    demo = load_recipe("demo")
    assert own.fit == demo.fit.model_copy(update={"steps": 7})
    assert own.splits.shares == {"train": 1.0}  # a mapping is one setting
    assert (own.corpus, own.caption, own.schedule) == (demo.corpus, demo.caption, demo.schedule)


def test_a_file_that_names_no_preset_changes_cpu(tmp_path: Path) -> None:
    own, cpu = load_recipe(written(tmp_path, "fit: {steps: 7}\n")), load_recipe("cpu")
    assert own == cpu.model_copy(update={"fit": cpu.fit.model_copy(update={"steps": 7})})


def test_what_a_build_prints_is_a_recipe(tmp_path: Path) -> None:
    full = load_recipe("full", {"fit.steps": 7, "embed.model": "PATH"})
    assert load_recipe(written(tmp_path, full.to_yaml())) == full


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "preset: dmo",
            r"own\.yaml: preset: 'dmo' is not a preset \(did you mean demo\?\); expected one of corpus, cpu",
        ),
        ("preset: [cpu]", r"preset: \['cpu'\] is not a preset"),
        ("- 1", "must be a mapping"),
        ("a: b: c", "not YAML"),
        ("fit: {stesp: 3}", r"fit\.stesp: no such field \(given 3\) \(did you mean steps\?\)"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(text: str, error: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=error):
        load_recipe(written(tmp_path, text))


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mesh.glb").write_bytes(b"glTF\xd0\xff\0")
    with pytest.raises(RecipeError, match=r"mesh\.glb: not YAML"):
        load_recipe(str(tmp_path / "mesh.glb"))


def test_a_recipe_is_described_by_its_preset_and_what_differs(tmp_path: Path) -> None:
    def described(name: str, overrides: dict | None = None) -> str:
        return describe(Recipe, name, overrides, OF_BUILD)

    assert described("cpu") == "Recipe cpu"
    assert described("cpu", {"fit.steps": 300, "render.size": 256}) == "Recipe cpu; changed: fit.steps 300 (cpu: 600)"
    assert described("cpu", {"align": None}).startswith("Recipe cpu; changed: align null (cpu: {")
    own = written(tmp_path, "preset: full\nfit: {steps: 7}\nschedule: {fit: {cpus: 2}}\n")
    changed = "fit.steps 7 (full: 2000), schedule.fit.cpus 2 (full: 4.0)"
    assert described(own) == f"Recipe {own}, on the preset full; changed: {changed}"
    assert described("demo", {"caption.endpoint": "http://me:pass@h.test/v1"}).count("pass") == 0


def test_up_of_a_source() -> None:
    assert load_recipe("cpu", {"up": "Z"}).up == "z"
    assert (
        "up" not in load_recipe("cpu").provenance() and load_recipe("cpu", {"up": "auto"}).provenance()["up"] == "auto"
    )
    with pytest.raises(RecipeError, match="up: 'x' is not allowed: expected 'y', 'z' or 'auto'"):
        load_recipe("cpu", {"up": "x"})


def test_the_provenance_in_card_and_index_has_no_credentials() -> None:
    caption = {"engine": "served", "model": "https://me:SECRET@h.test/m?token=SECRET", "endpoint": "http://h.test/v1"}
    recipe = Recipe.model_validate({"caption": caption})
    assert "SECRET" not in str(recipe.provenance()) and "https://h.test/m" in str(recipe.provenance())
    assert recipe.caption is not None and "SECRET" not in recipe.caption.model_name
