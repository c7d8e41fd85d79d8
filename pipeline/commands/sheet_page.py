"""Draw one page of a contact sheet: objects in rows, each with its pictures, its id, and its warnings or failure."""

from __future__ import annotations

from dataclasses import dataclass, field

from PIL import Image, ImageDraw, ImageFont

from manifests.text import message

TILE = 128  # pixels of a view on the sheet
_GAP = 6
_LINE = 12  # pixels from one line of text to the next
_TEXT_LINES = 3
_GROUND = (226, 229, 235)  # neither white nor grey, so that white objects and missing colours are visible
_INK, _WARNING, _FAILED = (20, 20, 20), (160, 84, 0), (180, 0, 0)

_Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


@dataclass(frozen=True)
class Cell:
    """One object on the sheet."""

    name: str
    images: list[Image.Image] = field(default_factory=list)  # RGBA
    warnings: list[str] = field(default_factory=list)
    failure: str = ""


def draw_page(cells: list[Cell], views: int, columns: int) -> Image.Image:
    columns = min(columns, len(cells))
    width, height = views * TILE + _GAP, TILE + _TEXT_LINES * _LINE + _GAP
    page = Image.new("RGB", (columns * width + _GAP, -(-len(cells) // columns) * height + _GAP), _GROUND)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(10)
    for number, cell in enumerate(cells):
        left, top = _GAP + number % columns * width, _GAP + number // columns * height
        for number_of_view, image in enumerate(cell.images):
            image = image.resize((TILE, TILE), Image.Resampling.BOX if image.width > TILE else Image.Resampling.NEAREST)
            page.paste(image, (left + number_of_view * TILE, top), image)
        below = top + (TILE if cell.images else 0)
        notes = [(cell.failure, _FAILED)] if cell.failure else [(text, _WARNING) for text in cell.warnings]
        room = _TEXT_LINES if cell.images else (TILE // _LINE + _TEXT_LINES)
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
