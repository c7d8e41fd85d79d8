"""A run folder, opened: the recipe it was built by, its listing, and the plan that follows from its log."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import yaml

from manifests import dataset
from manifests.lease import read_bounds
from manifests.listing import Listing, read_listing
from manifests.log import Folder
from manifests.outcomes import Outcomes
from manifests.store import Store, is_uri, open_store
from pipeline.blocks import Blocks
from pipeline.freshness import Freshness
from pipeline.plan import Plan, Retry
from pipeline.recipe import Recipe, RecipeError, parse_recipe

RECIPE = "recipe.yaml"


class RunError(Exception):
    """The run folder cannot be used as asked."""


def absolute_place(given: str, field: str) -> str:
    """A path made absolute; refused inside a Ray job, where a relative one points into a copy that is soon gone."""
    if is_uri(given):
        return given
    path = Path(given).expanduser()
    if not path.is_absolute() and "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        raise RunError(
            f"{field} {given}: relative, but a Ray job works in a copy of its working directory, gone with the job; "
            "give an absolute path on storage that all nodes see, or a URI"
        )
    return str(path.absolute())


@dataclass(frozen=True)
class Run:
    store: Store
    recipe: Recipe
    listing: Listing
    folder: Folder
    plan: Plan


def make_plan(
    store: Store,
    recipe: Recipe,
    listing: Listing,
    folder: Folder,
    freshness: Freshness,
    retry: Retry = Retry(),
    only: str = "",
    as_told: bool = False,
) -> Plan:
    blocks = None
    if only in ("", recipe.pack.name):
        there = set(store.list(dataset.DATA))
        blocks = Blocks(recipe.pack_step(), recipe.splits, listing, there)
    plan = Plan(recipe.steps(only), listing, Outcomes(store), blocks)
    plan.load(folder, freshness, retry, as_told)
    return plan


def open_run(root: str) -> Run:
    """A run as it stands, to be looked at."""
    store = open_store(absolute_place(root, "--run"))
    try:
        told = yaml.safe_load(store.read(RECIPE))
    except FileNotFoundError:
        raise RunError(f"--run {root}: no run there ({RECIPE} is missing); `build` makes one") from None
    try:
        recipe = parse_recipe(told)
    except RecipeError as error:
        raise RunError(f"{root}/{RECIPE}: made by another version: {error}") from error
    for _ in range(3):
        try:
            return _open(store, recipe)
        except FileNotFoundError:
            continue  # a build at work put a snapshot in the place of parts that were just listed
    return _open(store, recipe)


def _open(store: Store, recipe: Recipe) -> Run:
    listing = read_listing(store)
    folder = Folder(store, read_bounds(store))
    plan = make_plan(store, recipe, listing, folder, Freshness(False), as_told=True)
    plan.begin()  # which blocks stand
    return Run(store, recipe, listing, folder, plan)
