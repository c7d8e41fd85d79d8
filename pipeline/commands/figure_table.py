"""Show the distribution of each figure of a run on one line of a table: percentiles and a histogram."""

from __future__ import annotations

from rich.table import Table

from manifests.distribution import PERCENTILES, Bin, number
from pipeline.planning.quality import Measured

_BLOCKS = " ▁▂▃▄▅▆▇█"
_DIGITS = " 123456789"  # where the terminal has no blocks: tenths of the highest bar


def figure_table(measured: list[Measured], blocks: bool = True) -> Table:
    table = Table(header_style="bold", pad_edge=False)
    table.add_column("figure", overflow="fold")
    for percent in PERCENTILES:
        table.add_column("median" if percent == 50 else f"p{percent}", justify="right", no_wrap=True)
    table.add_column("lowest to highest", no_wrap=True)
    for each in measured:
        unit = f", {each.figure.unit}" if each.figure.unit else ""
        percentiles = (number(each.distribution.percentile(percent)) for percent in PERCENTILES)
        bars = each.distribution.histogram()
        drawn = draw_histogram(bars, _BLOCKS if blocks else _DIGITS)
        span = f"{number(bars[0]['low'])} {drawn} {number(bars[-1]['high'])}"
        table.add_row(f"{each.stage}: {each.figure.meaning}{unit}", *percentiles, span)
    return table


def draw_histogram(bars: list[Bin], letters: str) -> str:
    """One letter a bar, higher for more objects; only a bar without objects is blank."""
    most, steps = max(bar["objects"] for bar in bars), len(letters) - 1
    return "".join(letters[-(-bar["objects"] * steps // most)] for bar in bars)
