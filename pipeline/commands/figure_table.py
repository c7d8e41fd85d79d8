"""Show how each figure of a run is distributed, on one line of a table: percentiles and a histogram."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from manifests.distribution import PERCENTILES, Bin, edge, number
from pipeline.planning.quality import Measured

_WIDE = 76  # columns of a terminal for all percentiles
_BLOCKS = " ▁▂▃▄▅▆▇█"
_DIGITS = " 123456789"  # where the terminal has no blocks


def figure_table(measured: list[Measured], console: Console) -> Table:
    percentiles = PERCENTILES if console.width >= _WIDE else PERCENTILES[::2]
    letters = _BLOCKS if console.encoding.startswith("utf") else _DIGITS
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("figure", overflow="fold")
    for percent in percentiles:
        table.add_column("median" if percent == 50 else f"p{percent}", justify="right", no_wrap=True)
    table.add_column("histogram", no_wrap=True)
    for each in measured:
        values = (number(each.distribution.percentile(percent)) for percent in percentiles)
        bars = each.distribution.histogram()
        drawn = f"{edge(bars[0]['low'])} {draw_histogram(bars, letters)} {edge(bars[-1]['high'])}"
        unit = f", {each.figure.unit}" if each.figure.unit else ""
        table.add_row(f"{each.figure.column}{unit}", *values, drawn)
    return table


def draw_histogram(bars: list[Bin], letters: str) -> str:
    """One letter a bar, higher for more objects; only a bar without objects is blank."""
    most, steps = max(bar["objects"] for bar in bars), len(letters) - 1
    return "".join(letters[-(-bar["objects"] * steps // most)] for bar in bars)
