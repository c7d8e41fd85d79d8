"""The command `sheet`: draw every object of a run in some views, with its id, its warnings, or why it failed."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from manifests.addresses import is_uri
from manifests.outcomes import DamagedFile
from manifests.text import message, messages
from pipeline.command_line.options import positive
from pipeline.commands.sheet_pictures import CHOSEN, choose_views, draw_fitted
from pipeline.commands.status import list_failed
from pipeline.planning.row_states import State
from pipeline.planning.run import Run, RunError, open_run
from stages.artifacts.views import Views, open_png
from stages.contract.stage import Stage

_LINES_PER_PAGE = 16
_TILE = 128  # pixels of a view on the sheet
_GAP = 6
_LINE = 12  # pixels from one line of text to the next
_TEXT_LINES = 3
_GROUND = (226, 229, 235)  # neither white nor grey, so that white objects and missing colours are visible
_INK, _WARNING, _FAILED = (20, 20, 20), (160, 84, 0), (180, 0, 0)

_EMPTY = Image.new("RGBA", (_TILE, _TILE))

_Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


@dataclass(frozen=True)
class Cell:
    """One object on the sheet."""

    name: str
    images: list[Image.Image] = field(default_factory=list)  # RGBA
    warnings: list[str] = field(default_factory=list)
    failure: str = ""


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
    parser.add_argument("--columns", type=positive, metavar="N", help="objects per row")


def run(options: argparse.Namespace, overrides: dict[str, Any]) -> int:
    out = options.out or Path("" if is_uri(options.run) else options.run) / "sheet.png"
    layout = Layout(parse_views(options.views) if options.views else [], options.splats)
    for path in write_sheet(options.run, out, layout, options.columns):
        print(path)
    return 0


@dataclass(frozen=True)
class Layout:
    """Which pictures each object has on the sheet."""

    views: list[int]  # none: those that show the object well
    splats: bool = False

    @property
    def tiles(self) -> int:
        """How many pictures an object has on the sheet."""
        return (len(self.views) or CHOSEN) * (2 if self.splats else 1)


def write_sheet(root: str, out: Path, layout: Layout, columns: int | None) -> list[Path]:
    """Write the sheet; return its files: `out`, or `out` with numbers if there are several pages."""
    _check_ending(out)
    run = open_run(root)
    columns = columns or max(1, 12 // layout.tiles)
    per_page = columns * _LINES_PER_PAGE
    count = -(-_count(run) // per_page)
    if not count:
        raise RunError(f"--run {root}: nothing is rendered yet")
    paths = [out] if count == 1 else [out.with_stem(f"{out.stem}-{number:03}") for number in range(1, count + 1)]
    out.parent.mkdir(parents=True, exist_ok=True)
    cells = _cells(run, layout)
    for path in paths:
        _page(list(islice(cells, per_page)), layout.tiles, columns).save(path)
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


def _count(run: Run) -> int:
    return int(_is_drawn(run).sum()) + len(_failures(run))


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


def _cells(run: Run, layout: Layout) -> Iterator[Cell]:
    """Yield the cells in the order of the listing, without rows that are still to be worked."""
    failures, drawn = _failures(run), _is_drawn(run)
    for index, name in enumerate(run.listing.ids.to_pylist()):
        if drawn[index]:
            yield _cell(run, index, name, layout)
        elif name in failures:
            yield Cell(name, failure=failures[name])


def _cell(run: Run, index: int, name: str, layout: Layout) -> Cell:
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
    warnings = messages(stored.columns.get("warnings"))
    if layout.splats:
        fitted = draw_fitted(run, index, seen, views)
        pictures = [picture for pair in zip(pictures, fitted or [_EMPTY] * len(views), strict=True) for picture in pair]
        warnings += [] if fitted else ["no splat"]
    return Cell(name, pictures, warnings=warnings)


def _page(cells: list[Cell], views: int, columns: int) -> Image.Image:
    columns = min(columns, len(cells))
    width, height = views * _TILE + _GAP, _TILE + _TEXT_LINES * _LINE + _GAP
    page = Image.new("RGB", (columns * width + _GAP, -(-len(cells) // columns) * height + _GAP), _GROUND)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(10)
    for number, cell in enumerate(cells):
        left, top = _GAP + number % columns * width, _GAP + number // columns * height
        for number_of_view, image in enumerate(cell.images):
            image = image.resize(
                (_TILE, _TILE), Image.Resampling.BOX if image.width > _TILE else Image.Resampling.NEAREST
            )
            page.paste(image, (left + number_of_view * _TILE, top), image)
        below = top + (_TILE if cell.images else 0)
        notes = [(cell.failure, _FAILED)] if cell.failure else [(text, _WARNING) for text in cell.warnings]
        room = _TEXT_LINES if cell.images else (_TILE // _LINE + _TEXT_LINES)
        lines = [(_shortened(message(cell.name), font, width - _GAP), _INK)]
        lines += [(line, ink) for text, ink in notes for line in _wrapped(message(text), font, width - _GAP)]
        for line_number, (line, ink) in enumerate(lines[:room]):
            draw.text((left, below + line_number * _LINE), line, ink, font)
    return page


def _shortened(text: str, font: _Font, width: int) -> str:
    """Shorten an id at its start: ids made from paths differ at the end."""
    while font.getlength(text) > width and len(text) > 2:
        text = "…" + text[2:]
    return text


def _wrapped(text: str, font: _Font, width: int) -> list[str]:
    lines = [""]
    for letter in text:
        if font.getlength(lines[-1] + letter) > width:
            lines.append("")
        lines[-1] += letter
    return lines
