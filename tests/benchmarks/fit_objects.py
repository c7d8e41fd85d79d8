"""Render the objects that fits are measured on: some of the demo corpus, and textured meshes of a folder.

python -m tests.benchmarks.fit_objects OUT SIZE VIEWS DEMO [MESH ...]

It is a process of its own, because a process that renders must not import torch.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from manifests.store import open_store
from stages.contract.stage import Context, Done, Row
from stages.corpus.corpus import Corpus
from stages.ingest import Ingest
from stages.meshes.formats import ENDINGS
from stages.render import Render


def rendered(out: Path, size: int, views: int, demo: int, folder: Path | None, count: int) -> list[Path]:
    """Archives of views of `demo` objects of the corpus and of up to `count` textured meshes."""
    place = out / f"{size}-{views}"
    meshes = [str(path) for path in _textured(folder)] if folder else []
    chosen = [meshes[index * len(meshes) // count] for index in range(min(count, len(meshes)))] if meshes else []
    given = [str(place), str(size), str(views), str(demo), *chosen]
    subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.fit_objects", *given], check=True, env=os.environ | Render.environment
    )
    return sorted(place.glob("*.views.zip"))


def _textured(folder: Path) -> list[Path]:
    """Meshes that contain or name a picture, because textures are what makes a fit hard."""
    names = (b"image/png", b"image/jpeg", b".png", b".jpg", b".jpeg")
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in ENDINGS]
    return [path for path in paths if any(name in path.read_bytes() for name in names)]


def main(out: str, size: str, views: str, demo: str, *meshes: str) -> None:
    place = Path(out)
    place.mkdir(parents=True, exist_ok=True)
    store = open_store(str(place))
    context = Context(store, place)
    take_in, draw = Ingest().open(context), Render(views=int(views), size=int(size)).open(context)
    for name, uri in [*_demo(place / "corpus", int(demo)), *((path, path) for path in meshes)]:
        title = f"{Path(name).parent.name}-{Path(name).stem}"
        if store.exists(f"{title}.views.zip"):
            continue
        ((_, taken),) = take_in([{"id": title, "uri": uri}])
        if not isinstance(taken, Done):
            print(f"{uri}: {taken.reason}", file=sys.stderr)
            continue
        store.replace("mesh.zip", taken.artifact or b"")
        row: Row = {"id": title, "key": "0" * 32, **taken.columns, "mesh": "mesh.zip"}
        ((_, drawn),) = draw([row])
        if isinstance(drawn, Done):
            store.replace(f"{title}.views.zip", drawn.artifact or b"")
        else:
            print(f"{uri}: {drawn.reason}", file=sys.stderr)


def _demo(folder: Path, count: int) -> list[tuple[str, str]]:
    if not count:
        return []
    Corpus(count=count).write(folder)
    return [(f"demo/{path.stem}", str(path)) for path in sorted(folder.rglob("*.glb"))]


if __name__ == "__main__":
    main(*sys.argv[1:])
