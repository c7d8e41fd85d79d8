"""Open a run folder: its store, the recipe of its last build, its listing, its log, and the plan they give."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import yaml

from manifests import dataset
from manifests.addresses import is_uri
from manifests.lease import read_bounds
from manifests.listing import Listing, read_listing
from manifests.log import LogReader
from manifests.outcomes import Outcomes
from manifests.store import Store, open_store
from manifests.text import message
from pipeline.planning.blocks import Blocks
from pipeline.planning.plan import Plan
from pipeline.planning.row_states import ReadingRules, Retry
from pipeline.planning.source_changes import SourceChanges
from pipeline.recipe import Recipe, RecipeError, parse_recipe
from stages.meshes.formats import Y_UP_ENDINGS

RECIPE = "recipe.yaml"
_SEAL = b"# sha256 of the lines above: "


class RunError(Exception):
    """The command cannot be carried out as given."""


def absolute_location(given: str, field: str) -> str:
    """Make a path absolute. Inside a Ray job a relative path is refused: the job runs in a temporary copy."""
    if is_uri(given):
        return given
    path = Path(given).expanduser()
    if not path.is_absolute() and "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        raise RunError(
            f"{field} {given}: relative, but a Ray job runs in a temporary copy of the working directory; "
            "pass an absolute path on storage that all nodes share, or a URI"
        )
    return str(path.absolute())


class DamagedRecipe(RunError):
    """The recipe of a run cannot be read."""


def write_recipe(store: Store, recipe: Recipe) -> None:
    """Write the recipe of a run, with a checksum as its last line."""
    text = recipe.to_yaml().encode()
    store.replace(RECIPE, text + _SEAL + hashlib.sha256(text).hexdigest().encode() + b"\n")


def recipe_is_whole(store: Store) -> bool:
    """Whether the recipe is what a build wrote; those of earlier versions have no checksum."""
    text, seal, digest = store.read(RECIPE).rpartition(_SEAL)
    return not seal or hashlib.sha256(text).hexdigest().encode() == digest.strip()


def open_run_store(root: str) -> Store:
    """The store of a run; RunError if the path is a file, or lies below one."""
    store = open_store(absolute_location(root, "--run"))
    if not is_uri(store.root):
        for path in (Path(store.root), *Path(store.root).parents):
            if path.exists():
                if not path.is_dir():
                    raise RunError(f"--run {root}: {path} is not a folder; name a folder, which may be new")
                break
    return store


@dataclass(frozen=True)
class Run:
    store: Store
    recipe: Recipe
    listing: Listing
    log: LogReader
    plan: Plan


def make_plan(
    store: Store,
    recipe: Recipe,
    listing: Listing,
    log: LogReader,
    changes: SourceChanges,
    retry: Retry = Retry(),
    only: str = "",
    as_recorded: bool = False,
) -> Plan:
    listing = listing.with_up(recipe.up, Y_UP_ENDINGS)
    blocks = None
    steps, block_step = recipe.steps(only), recipe.block_step()
    if only in ("", block_step.name):
        there = store.list(dataset.DATA)
        blocks = Blocks(block_step, recipe.splits, listing, steps[0].name, there)
    makers = {step.name: step.stage for step in (*steps, block_step)}
    plan = Plan(steps, listing, Outcomes(store, makers), blocks)
    plan.load(log, ReadingRules(changes.is_unchanged, retry, as_recorded))
    return plan


def open_run(root: str) -> Run:
    """Open a run to read it, not to build it."""
    store = open_run_store(root)
    try:
        settings = yaml.safe_load(store.read(RECIPE))
    except FileNotFoundError:
        raise RunError(f"--run {root}: no run there ({RECIPE} is missing); make one with `build`") from None
    except yaml.YAMLError as error:
        raise DamagedRecipe(
            f"{root}/{RECIPE} is damaged: {message(error)}; the build command writes it again"
        ) from error
    try:
        recipe = parse_recipe(settings)
    except RecipeError as error:
        raise DamagedRecipe(f"{root}/{RECIPE}: cannot be read by this version: {error}") from error
    for _ in range(3):
        try:
            return _open(store, recipe)
        except FileNotFoundError:
            continue  # a build has just replaced parts of the log by a snapshot
    return _open(store, recipe)


def _open(store: Store, recipe: Recipe) -> Run:
    listing = read_listing(store)
    log = LogReader(store, read_bounds(store))
    plan = make_plan(store, recipe, listing, log, SourceChanges(False), as_recorded=True)
    plan.begin()  # find the blocks that are packed
    return Run(store, recipe, listing, log, plan)
