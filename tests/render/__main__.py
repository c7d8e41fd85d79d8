"""Compares the render stage with three.js, over a mesh for each feature and over all meshes of folders but OFF.

python -m tests.render [FOLDER ...] [--out FOLDER] [--only TEXT]

Prints the worst ten and writes their pictures: our views, three.js' views, the difference. Exits with 1 where one is
less alike than docs/rendering.md promises.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.render import features_packed, features_plain  # noqa: F401  their features join the others
from tests.render.browser import EyeError, open_eye
from tests.render.features import write_features
from tests.render.likenesses import Sight, picture, sights

_WORST = 10
_SUFFIXES = (".glb", ".gltf", ".obj", ".ply", ".stl")  # three.js reads no OFF


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.render")
    folders = [Path(path) for path in os.environ.get("RENDER_MESHES", "").split(os.pathsep) if path]
    parser.add_argument("folders", nargs="*", type=Path, default=folders, help="more meshes (default: $RENDER_MESHES)")
    parser.add_argument("--out", type=Path, default=Path("runs/render"), help="where the pictures go")
    parser.add_argument("--only", default="", metavar="TEXT", help="only meshes whose name holds it")
    options = parser.parse_args()
    for folder in options.folders:
        if not folder.is_dir():
            parser.error(f"{folder}: no such folder")
    with tempfile.TemporaryDirectory() as scratch:
        found = write_features(Path(scratch)) + [mesh for folder in options.folders for mesh in meshes_of(folder)]
        try:
            return compare([(name, path) for name, path in found if options.only in name], options.out)
        except EyeError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2


def meshes_of(folder: Path) -> list[tuple[str, Path]]:
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in _SUFFIXES]
    return [(str(path.relative_to(folder)), path) for path in paths]


def compare(found: list[tuple[str, Path]], out: Path) -> int:
    counts: Counter[str] = Counter()
    worst: list[Sight] = []  # pictures of the others are dropped
    with open_eye() as eye:
        for sight in sights(eye, found):
            counts[sight.verdict] += 1
            if sight.likeness is None:
                print(sight.line(), flush=True)
            else:
                worst = sorted([*worst, sight], key=Sight.badness, reverse=True)[:_WORST]
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("worst-*.png"):
        old.unlink()
    print(f"the worst, with pictures in {out}:")
    for number, sight in enumerate(worst, 1):
        print(f"{number:3}. {sight.line()}")
        picture(sight).save(out / f"worst-{number:02}-{sight.name.replace('/', '-')[-80:]}.png")
    print(f"{len(found)} meshes: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common()))
    return 0 if counts["alike"] == len(found) else 1


if __name__ == "__main__":
    sys.exit(main())
