"""What a new mesh format takes: its file, and its line in the table of formats."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stages.render import Render
from tests.extending.checkout import Checkout

TRI = '''
"""Read TRI files: a first line `tri COLOR_FILE`, then the nine coordinates of a triangle on each line."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stages.contract.stage import StageError
from stages.meshes import references
from stages.meshes.mesh_file import Companion, MeshFile
from stages.meshes.model import Limits, Material, Model, make_part


class TriFile(MeshFile):
    format = "tri"
    endings = (".tri",)

    @staticmethod
    def sniff(data: bytes, head: bytes) -> bool:
        return head.startswith(b"tri ")

    def check(self) -> None:
        for number, line in enumerate(self.data.splitlines()[1:], 2):
            if len(line.split()) != 9:
                raise StageError("corrupt_file", f"{self.name}: line {number} is not nine numbers")

    def companions(self) -> list[Companion]:
        return [Companion(self._color_uri(), needed=True)]

    def read(self, members: Mapping[str, bytes], limits: Limits, max_side: int) -> Model:
        corners = np.array([line.split() for line in self.data.splitlines()[1:]], np.float64).reshape(-1, 3)
        limits.check("vertices", len(corners))
        color = members[references.find(self._color_uri(), self.name, members)]
        factor = (*map(float, color.split()), 1.0)
        return Model([make_part(corners, np.arange(len(corners)), Material(), factor=factor)])

    def _color_uri(self) -> str:
        return self.data.split(None, 2)[1].decode()
'''
IMPORT, LINE = "from stages.meshes.tri import TriFile\n", "    TriFile,\n"
GOOD, BAD = b"tri red.txt\n-1 -1 0 1 -1 0 0 1 0\n", b"tri red.txt\n-1 -1 0 1 -1 0 0 1\n"
SCRIPT = """
import json, sys
from pathlib import Path
from manifests.sources import read_source
from manifests.store import open_store
from stages.artifacts.views import Views
from stages.contract.stage import Context, StageError
from stages.ingest import Ingest
from stages.meshes.formats import ENDINGS
from stages.render import Render

folder = Path(sys.argv[1])
store = open_store(folder / "run")
context = Context(store, folder)
rows = read_source(str(folder / "meshes"), ENDINGS)
outcomes = dict(Ingest().open(context)(rows))
reasons = {name: outcome.reason for name, outcome in outcomes.items() if isinstance(outcome, StageError)}
taken = outcomes["good.tri"]
store.replace("mesh.zip", taken.artifact)
row = {"id": "good.tri", "key": "0" * 32, **taken.columns, "mesh": "mesh.zip"}
((_, drawn),) = Render(size=32, views=1, cameras="orbit", elevation_deg=0, light="none").open(context)([row])
middle = Views.from_bytes(drawn.artifact).color_pixels()[0, 16, 16].tolist()
print(json.dumps({"found": sorted(outcomes), "reasons": reasons, "format": taken.columns["format"],
                  "bytes": taken.columns["mesh_bytes"], "faces": drawn.columns["faces"], "middle": middle}))
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What ingest and render make of a folder of such files, in a copy of the packages that has one format more."""
    checkout = Checkout(tmp_path_factory.mktemp("checkout"))
    checkout.add_file("stages/meshes/tri.py", TRI)
    checkout.add_line("stages/meshes/formats.py", IMPORT, after="from stages.meshes.stl import StlFile\n")
    checkout.add_line("stages/meshes/formats.py", LINE, after="    ObjFile,\n")
    meshes = checkout.folder / "meshes"
    meshes.mkdir()
    for file, data in {"good.tri": GOOD, "bad.tri": BAD, "red.txt": b"1 0 0", "lost.tri": b"tri blue.txt\n"}.items():
        (meshes / file).write_bytes(data)
    return json.loads(checkout.run("-c", SCRIPT, str(checkout.folder), **Render.environment).stdout)


def test_a_folder_source_finds_its_files(seen: dict[str, Any]) -> None:
    assert seen["found"] == ["bad.tri", "good.tri", "lost.tri"]


def test_ingest_recognises_and_checks_it(seen: dict[str, Any]) -> None:
    assert seen["format"] == "tri"
    assert seen["reasons"] == {"bad.tri": "corrupt_file", "lost.tri": "missing_file"}


def test_its_companion_is_fetched(seen: dict[str, Any]) -> None:
    assert seen["bytes"] == len(GOOD) + len(b"1 0 0")


def test_render_draws_it(seen: dict[str, Any]) -> None:
    assert seen["faces"] == 1
    assert seen["middle"] == [255, 0, 0, 255]
