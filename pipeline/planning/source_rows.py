"""The rows that a build is asked to work: of its source, of the run's listing, or of the demo corpus."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from manifests.adapters import ADAPTERS, adapter_of
from manifests.addresses import is_uri
from manifests.listing import Listing, read_listing, require_listing
from manifests.source_row import SourceRow
from manifests.sources import SourceError, read_source
from manifests.store import LocalStore, Store
from manifests.text import public_address
from pipeline.command_line.suggestions import did_you_mean
from pipeline.planning.run import RECIPE, RunError, absolute_location
from pipeline.recipe import Recipe
from stages.common.telling import tell
from stages.corpus.corpus import Corpus
from stages.meshes.formats import ENDINGS

_ADAPTER = re.compile(r"([A-Za-z][\w-]+):[^:]")
_FOLDER = "corpus"
_LAST_SOURCE = "manifest/source.txt"


def read_rows(recipe: Recipe, source: str, store: Store) -> list[SourceRow] | None:
    """Read the rows of the source; None if they come from the run's listing, or from a corpus still to be made."""
    if recipe.corpus:
        if source:
            raise RunError(f"--source {source}: this recipe makes its own corpus; omit --source, or use another recipe")
        return None
    if not source:
        require_listing(store)
        if not len(read_listing(store)):
            raise RunError("--source is missing; pass a folder, a glob, a mesh, or a list of meshes")
        return None
    _refuse_own_folders(source)
    rows = read_source(source, ENDINGS, recipe.web, tell)
    if rows and all("problem" in row for row in rows):
        which = "its only row cannot be used" if len(rows) == 1 else f"none of its {len(rows):,} rows can be used"
        raise SourceError(f"{source}: {which}: {rows[0]['id']}: {rows[0]['problem_detail']}")
    return rows


def _refuse_own_folders(source: str) -> None:
    """Refuse a run or a dataset: a run has files that end like meshes, its splats."""
    path = Path(source).expanduser()
    if (path / RECIPE).is_file() and (path / "manifest").is_dir():
        raise RunError(
            f"--source {source}: is a run; pass the folder of the meshes, or leave out --source to resume it"
        )
    if (path / "index.json").is_file() and (path / "data").is_dir():
        raise RunError(f"--source {source}: is a dataset that a build has made; pass the folder of the meshes")


def absolute_source(given: str) -> str:
    """The source of a command line with its path made absolute; RunError for an adapter that is not known."""
    if given.rstrip(":") in ADAPTERS and not Path(given).exists():
        raise RunError(f"--source {given}: the folder is missing; expected {given.rstrip(':')}:DIR")
    if named := adapter_of(given):
        return f"{named[0]}:{absolute_location(named[1], '--source')}"
    if (found := _ADAPTER.match(given)) and not is_uri(given) and not Path(given).exists():
        hint = did_you_mean(found[1], ADAPTERS) or f"; expected one of {', '.join(ADAPTERS)}"
        raise RunError(f"--source {given}: {found[1]} is not an adapter{hint}")
    return absolute_location(given, "--source")


def make_corpus(corpus: Corpus, store: Store) -> list[SourceRow]:
    """Make the demo corpus in the run folder, and read its list. For a URI it is made here and uploaded."""
    if isinstance(store, LocalStore):
        return read_source(str(_write(corpus, Path(store.root) / _FOLDER)), ENDINGS)
    with tempfile.TemporaryDirectory() as scratch:
        listed = _write(corpus, Path(scratch))
        for path in sorted(Path(scratch).rglob("*.glb")):
            store.replace(f"{_FOLDER}/{path.relative_to(scratch)}", path.read_bytes())
        store.replace(f"{_FOLDER}/{listed.name}", listed.read_bytes())
    return read_source(f"{store.root}/{_FOLDER}/{listed.name}", ENDINGS)


def _write(corpus: Corpus, folder: Path) -> Path:
    with Progress(console=Console(file=sys.stderr)) as progress:
        task = progress.add_task(f"Demo corpus, seed {corpus.seed}", total=corpus.count)
        return corpus.write(folder, lambda done: progress.update(task, completed=done))


def limited(rows: list[SourceRow], limit: int | None, before: Listing) -> list[SourceRow]:
    """The first `limit` rows of the source, and those that were listed before: a limit never removes a row."""
    if limit is None:
        return rows
    kept = set(before.ids.to_pylist())
    return [row for number, row in enumerate(rows) if number < limit or row["id"] in kept]


def source_of(recipe: Recipe, source: str) -> str:
    """What the rows of a build come from, for a person; empty where they are those last listed."""
    return f"the demo corpus with seed {recipe.corpus.seed}" if recipe.corpus else public_address(source)


def last_source(store: Store) -> str:
    """What the rows of the run come from; empty where nobody knows."""
    try:
        return store.read(_LAST_SOURCE).decode(errors="replace")
    except FileNotFoundError:
        return ""


def write_source(store: Store, source: str) -> None:
    store.replace(_LAST_SOURCE, source.encode())
