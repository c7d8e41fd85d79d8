"""Views a second through EGL: one process, and as many as there are cores, each drawing objects of the demo corpus.

A process that draws never imports torch, so this part does not either.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from manifests.store import LocalStore
from stages.contract.stage import Context, Done
from stages.corpus.corpus import Corpus
from stages.ingest import Ingest
from stages.render import Render
from tests.gpu.part import Part, cores, module, read_arguments

_VIEWS = 24
_SECONDS = 8.0  # that each process draws, after a first object


def main(part: Part) -> None:
    size, seconds = (32, 0.5) if part.toy else (256, _SECONDS)
    for count in (1, 2) if part.toy else (1, cores()):
        found = _together(part.scratch, size, seconds, count)
        rate = sum(one["views"] / one["seconds"] for one in found)
        part.figures.put(egl_device=found[0]["device"], **{f"views_a_second_{count}_processes": rate})
        part.figures.put(views_a_second=max(rate, part.figures.known.get("views_a_second", 0.0)))


def _together(scratch: Path, size: int, seconds: float, count: int) -> list[dict]:
    command = module("tests.gpu.parts.render", "--draw", scratch, size, seconds)
    children = [
        subprocess.Popen(
            [*command, str(number)], stdout=subprocess.PIPE, text=True, env=os.environ | Render.environment
        )
        for number in range(count)
    ]
    answers = [child.communicate()[0] for child in children]
    if any(child.returncode for child in children):
        raise SystemExit("a process that draws failed; its words stand above")
    return [json.loads(answer.splitlines()[-1]) for answer in answers]


def draw(scratch: Path, size: int, seconds: float, number: int) -> dict:
    """Draw objects of the demo corpus for so many seconds, each with its loading, depth and encoding."""
    folder = scratch / f"draws-{number}"
    folder.mkdir(exist_ok=True)
    store, stage = LocalStore(str(folder)), Render(views=_VIEWS, size=size)
    context = Context(store, folder)
    take_in, work = Ingest().open(context), stage.open(context)
    corpus, index, views, begun = Corpus(count=10_000), 64 * number, 0, 0.0
    while not begun or time.perf_counter() - begun < seconds:
        row, data = corpus.make(index)
        (folder / "mesh.glb").write_bytes(data)
        ((_, taken),) = take_in([{"id": row["id"], "uri": str(folder / "mesh.glb")}])
        assert isinstance(taken, Done), taken
        store.replace("mesh.zip", taken.artifact or b"")
        ((_, drawn),) = work([{"id": row["id"], "key": "0" * 32, **taken.columns, "mesh": "mesh.zip"}])
        assert isinstance(drawn, Done), drawn
        if begun:
            views += _VIEWS
        else:  # the first object compiles the programs
            begun = time.perf_counter()
        index += 1
    return {"views": views, "seconds": time.perf_counter() - begun, "device": _device()}


def _device() -> str:
    from OpenGL import GL

    return GL.glGetString(GL.GL_RENDERER).decode()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--draw"]:
        print(json.dumps(draw(Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))))
    else:
        main(read_arguments())
