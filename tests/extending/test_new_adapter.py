"""What a new adapter takes: its file, and its line in ADAPTERS. The command line and the refusals follow from these."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.extending.checkout import Checkout

CUBES = '''
"""Cubes of a shelf: SHELF/NAME.obj."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from manifests.adapters.adapter import Adapter, Entry


class Layout(Adapter):
    looks_for: ClassVar[str] = "shelf/ with cubes"

    @classmethod
    def find(cls, folder: Path) -> Path | None:
        return folder if (folder / "shelf").is_dir() else None

    def entries(self) -> Iterator[Entry]:
        for path in sorted((self.root / "shelf").glob("*.obj")):
            yield {"id": path.stem, "uri": str(path), "category": "cube"}
'''
AFTER = '    "objaverse": "a local cache of Objaverse 1.0",\n'
LINE = '    "cubes": "cubes of a shelf",\n'


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A copy with the adapter's file, without its line; and a folder of its layout."""
    checkout = Checkout(tmp_path)
    checkout.add_file("manifests/adapters/cubes.py", CUBES)
    (tmp_path / "mine" / "shelf").mkdir(parents=True)
    (tmp_path / "mine" / "shelf" / "red.obj").write_text("v 0 0 0")
    return checkout


def test_a_source_is_read_by_it_once_its_line_is_there(checkout: Checkout) -> None:
    words = ["build", "cpu", "--run", "run", "--dry-run", "--source"]
    refused = checkout.command(*words, "cubes:mine", code=2)
    assert "cubes is not an adapter; expected one of objaverse, " in refused.stderr
    checkout.add_line("manifests/adapters/__init__.py", LINE, after=AFTER)
    assert "Rows: 1, all of them new" in checkout.command(*words, "cubes:mine").stdout
