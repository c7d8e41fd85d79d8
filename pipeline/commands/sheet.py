"""The command `sheet`: draw every object of a run in some views, with its id, its warnings, or why it failed."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from manifests.addresses import is_uri
from manifests.outcomes import DamagedFile
from pipeline.command_line.options import positive
from pipeline.commands.sheet_page import TILE, Cell, draw_page
from pipeline.commands.sheet_pictures import CHOSEN, choose_views, draw_fitted
from pipeline.planning.failed_rows import list_failed
from pipeline.planning.quality import Measured, worst_rows
from pipeline.planning.row_states import State
from pipeline.planning.run import Run, RunError, open_run
from pipeline.planning.warnings import Warnings
from stages.artifacts.views import Views, open_png
from stages.common.progress_bar import progress_bar
from stages.common.telling import tell_if_slow
from stages.contract.stage import Stage

_LINES_PER_PAGE = 16
_EMPTY = Image.new("RGBA", (TILE, TILE))


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("sheet", parents=[common], help="draw all objects of a run on contact sheets")
    parser.add_argument("--run", required=True, help="the run folder: a path or a URI")
    parser.add_argument(
        "--out",
        type=Path,
        help="image file; several pages get numbers (default: sheet.png in the run folder; here, if that is a URI)",
    )
    parser.add_argument(
        "--views", default="", help="numbers of the views to show, such as 0,8 (default: two that show the object well)"
    )
    parser.add_argument("--splats", action="store_true", help="draw the fitted splat beside each view")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--id", action="append", help="draw this object; may be given several times (default: all)")
    chosen.add_argument("--worst", type=positive, metavar="N", help="draw the N objects with the worst fits")
    parser.add_argument("--columns", type=positive, metavar="N", help="objects per row")


def run(options: argparse.Namespace, overrides: dict[str, Any]) -> int:
    out = options.out or Path("" if is_uri(options.run) else options.run) / "sheet.png"
    layout = Layout(parse_views(options.views) if options.views else [], options.splats)
    for path in write_sheet(options.run, out, layout, options.columns, ChosenRows(options.id, options.worst)):
        print(path)
    return 0


@dataclass(frozen=True)
class ChosenRows:
    """Which objects are drawn: these, or so many of the worst; all where neither is given."""

    ids: list[str] | None = None
    worst: int | None = None

    def rows(self, run: Run, measured: list[Measured]) -> Iterable[int]:
        if self.worst:
            if not (rows := worst_rows(measured, self.worst)):
                raise RunError(f"--worst {self.worst}: no fit of {run.store.root} has been measured")
            return rows
        if not self.ids:
            return range(len(run.listing))
        row_of = {name: row for row, name in enumerate(run.listing.ids.to_pylist())}
        for name in self.ids:
            if name not in row_of:
                raise RunError(f"--id {name}: {run.store.root} has no object of this id")
        return dict.fromkeys(row_of[name] for name in self.ids)


@dataclass(frozen=True)
class Layout:
    """Which pictures each object has on the sheet."""

    views: list[int]  # none: those that show the object well
    splats: bool = False

    @property
    def tiles(self) -> int:
        """How many pictures an object has on the sheet."""
        return (len(self.views) or CHOSEN) * (2 if self.splats else 1)


def write_sheet(
    root: str, out: Path, layout: Layout, columns: int | None, chosen: ChosenRows = ChosenRows()
) -> list[Path]:
    """Write the sheet; return its files: `out`, or `out` with numbers if there are several pages."""
    _check_ending(out)
    with tell_if_slow("Reading what the run has"):
        run = open_run(root)
        known = Warnings.of(run)
    failures, drawn, ids = _failures(run), _is_drawn(run), run.listing.ids
    rows = [row for row in chosen.rows(run, known.measured) if drawn[row] or ids[row].as_py() in failures]
    columns = columns or max(1, 12 // layout.tiles)
    per_page = columns * _LINES_PER_PAGE
    count = -(-len(rows) // per_page)
    if not count:
        raise RunError(f"--run {root}: {'none of these objects' if chosen.ids else 'nothing'} is rendered yet")
    paths = [out] if count == 1 else [out.with_stem(f"{out.stem}-{number:03}") for number in range(1, count + 1)]
    out.parent.mkdir(parents=True, exist_ok=True)
    names = ((row, ids[row].as_py()) for row in rows)
    cells = (
        _cell(known, row, name, layout) if drawn[row] else Cell(name, failure=failures[name]) for row, name in names
    )
    with progress_bar("Drawing") as report:
        for page, path in enumerate(paths):
            shown = []
            for number, cell in enumerate(islice(cells, per_page), page * per_page + 1):
                shown.append(cell)
                report(number, len(rows))
            draw_page(shown, layout.tiles, columns).save(path)
    return paths


def _check_ending(out: Path) -> None:
    known = Image.registered_extensions()
    if known.get(out.suffix.lower()) not in Image.SAVE:
        raise RunError(f"--out {out}: {out.suffix or 'no ending'} is not an image format; use .png, .jpg or .webp")


def parse_views(text: str) -> list[int]:
    """Parse numbers of views, such as 0,8."""
    try:
        views = [int(word) for word in text.split(",")]
    except ValueError:
        views = [-1]
    if min(views) < 0:
        raise RunError(f"--views {text}: expected numbers of views separated by commas, such as 0,8")
    return views


def _drawn(run: Run) -> Stage:
    """The stage whose artifact is views."""
    stage = next((step.stage for step in run.plan.steps.values() if step.stage.shown.views), None)
    if stage is None:
        raise RunError(f"--run {run.store.root}: its recipe has no stage that makes views")
    return stage


def _is_drawn(run: Run) -> np.ndarray:
    """For each row, whether it has views."""
    return run.plan.states[_drawn(run).name] == State.OK


def _failures(run: Run) -> dict[str, str]:
    """By id, why each row without views failed."""
    rendered = {run.listing.ids[index].as_py() for index in np.flatnonzero(_is_drawn(run)).tolist()}
    rows = [row for row in list_failed(run) if row["stage"] in run.plan.steps and row["id"] not in rendered]
    return {row["id"]: f"{row['stage']}: {row['reason']}: {row['detail']}" for row in rows}


def _cell(known: Warnings, index: int, name: str, layout: Layout) -> Cell:
    run = known.run
    stage = _drawn(run)
    try:
        stored = run.plan.outcomes.read(stage.name, run.plan.key(stage.name, index))
        seen = Views.from_bytes(run.plan.outcomes.read_artifact(stored))
        views = [view for view in layout.views or choose_views(seen) if view < len(seen.colors)]
        pictures = [open_png(seen.colors[view]).convert("RGBA") for view in views]
    except FileNotFoundError:
        return Cell(name, failure="the views were deleted by `clean`")
    except DamagedFile as error:
        return Cell(name, failure=f"the views are damaged, which `verify` sets right: {error}")
    if layout.views and max(layout.views) >= len(seen.colors):
        raise RunError(f"--views {max(layout.views)}: {name} has views 0 to {len(seen.colors) - 1}")
    warnings = known.of_row(index)
    if layout.splats:
        fitted = draw_fitted(run, index, seen, views)
        pictures = [picture for pair in zip(pictures, fitted or [_EMPTY] * len(views), strict=True) for picture in pair]
        warnings += [] if fitted else ["no splat"]
    return Cell(name, pictures, warnings=warnings)
