"""Compare what is asked of a build with what its run has: which rows, settings and work change."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import yaml

from manifests.lease import read_bounds
from manifests.listing import Listing, Revision, read_listing, revise, with_earlier_names
from manifests.log import LogReader
from manifests.source_row import SourceRow
from manifests.store import Store
from manifests.text import message
from pipeline.planning.changes import Changes, changed_settings, count_work
from pipeline.planning.plan import Plan
from pipeline.planning.row_states import Retry
from pipeline.planning.run import RECIPE, make_plan, open_run_store
from pipeline.planning.source_changes import SourceChanges
from pipeline.planning.source_rows import last_source, limited, read_rows, source_of
from pipeline.recipe import Recipe, RecipeError, parse_recipe

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuildRequest:
    """What the command line asks for."""

    recipe: Recipe
    run: str
    source: str = ""
    engine: str = "ray"
    only: str = ""
    limit: int | None = None
    retry: Retry = Retry()
    refresh: bool | None = None
    confirmed: bool = False  # --yes: rows may be withdrawn, and the source be another


@dataclass(frozen=True)
class Prepared:
    """What is known before workers are started."""

    listing: Listing
    revision: Revision | None  # None: the rows are those last listed
    changes: Changes
    recipe: Recipe | None = None  # resolved as the last build had it, and its plan; None in a new run
    plan: Plan | None = None

    @property
    def is_finished(self) -> bool:
        return self.plan is not None and self.plan.is_finished


def preview(request: BuildRequest) -> Changes:
    """What a build would change. Nothing is written, and the demo's corpus is not made."""
    store = open_run_store(request.run)
    rows = read_rows(request.recipe, request.source, store)
    return prepare(request, store, rows, LogReader(store, read_bounds(store))).changes


def prepare(request: BuildRequest, store: Store, rows: list[SourceRow] | None, records: LogReader) -> Prepared:
    """Compare rows, recipe and source with those of the last build. rows: None if they are those last listed."""
    before, last = read_listing(store), last_recipe(store)
    revision = None if rows is None else revise(store, limited(with_earlier_names(rows, before), request.limit, before))
    listing = revision.listing if revision else before
    counts = revision.count() if revision else None
    if last is None:
        return Prepared(listing, revision, Changes(rows=counts))
    recipe = request.recipe.resolve(math.inf, last)
    plan = make_plan(store, recipe, listing, records, SourceChanges(request.refresh), request.retry, request.only)
    done = make_plan(store, last, before, records, SourceChanges(False), only=request.only, as_recorded=True)
    sources = last_source(store), source_of(request.recipe, request.source)
    other = sources if all(sources) and sources[0] != sources[1] else None
    changes = Changes(counts, other, changed_settings(last, recipe, request.recipe), count_work(plan, done))
    return Prepared(listing, revision, changes, recipe, plan)


def last_recipe(store: Store) -> Recipe | None:
    """The recipe of the last build; None for a new run, or if another version wrote a recipe that cannot be read."""
    if not store.exists(RECIPE):
        return None
    try:
        return parse_recipe(yaml.safe_load(store.read(RECIPE)))
    except (RecipeError, yaml.YAMLError) as error:
        logger.warning("%s/%s cannot be read and is written again: %s", store.root, RECIPE, message(error))
        return None
