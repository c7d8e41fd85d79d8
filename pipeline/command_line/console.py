"""The console of commands: prints every text as it is, since texts of others may hold rich's markup."""

from __future__ import annotations

from typing import Any

from rich.console import Console


def plain_console(**options: Any) -> Console:
    """Make a console for which [red] and :smile: are ordinary text; what is bold is a `rich.text.Text`."""
    return Console(highlight=False, markup=False, emoji=False, **options)
