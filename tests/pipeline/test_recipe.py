"""What the recipe makes of what it is told."""

from __future__ import annotations

import pytest

from pipeline.recipe import Recipe, RecipeError, load_recipe


def test_what_is_told_of_a_schedule_changes_the_stages_own_default() -> None:
    plain, told = load_recipe("cpu").schedule, load_recipe("cpu", {"schedule.caption.workers": 4}).schedule
    assert told.caption == plain.caption.model_copy(update={"workers": 4})
    assert told.caption.optional and told.caption.gpus == 1
    assert told.model_copy(update={"caption": plain.caption}) == plain


def test_a_captioner_in_the_workers_has_a_core_and_patience() -> None:
    words = {"caption.engine": "vlm", "caption.model": "somewhere"}
    writing = load_recipe("cpu", words).schedule.caption
    plain = load_recipe("cpu").schedule.caption
    assert (writing.cpus, writing.workers) == (1, None)
    assert writing.timeout_seconds > plain.timeout_seconds and writing.optional
    changed = load_recipe("cpu", words | {"schedule.caption.cpus": 3}).schedule.caption
    assert changed == writing.model_copy(update={"cpus": 3})


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
