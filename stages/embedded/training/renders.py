"""Draw the pictures of one shard of objects, in a process of its own that never imports torch.

python -m stages.embedded.training.renders FOLDER SPLIT VIEWS SIDE SHARD LENGTH

A shard covers LENGTH consecutive numbers of the corpus and has those of the split. It is two files; the rows are
written last, so if they exist, the pictures do:

SPLIT/00007.npy    [N, V, S, S, 3] uint8, on white
SPLIT/00007.jsonl  the corpus's columns, and `covered`: for each view the pixels that show the object
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from manifests.store import LocalStore
from stages.corpus.glb import Painted, glb
from stages.embedded.training.objects import SPLITS
from stages.meshes.gltf.format import GlbFile
from stages.meshes.model import Limits
from stages.rendering import cameras, encoding
from stages.rendering.drawing import Renderer
from stages.rendering.normalization import normalization

RENDERED = 128  # pixels, as the demo renders; then resized as by a model's processor
_FOV_DEG = 40.0
_SAMPLES = 4


def main(folder: str, split: str, views: str, side: str, shard: str, length: str) -> None:
    chosen, renderer = SPLITS[split], Renderer(RENDERED, _SAMPLES)
    corpus = chosen.corpus()
    rows, pictures = [], []
    first = int(shard) * int(length)
    for index in range(first, first + int(length)):
        columns, solids = corpus.model(index)
        if chosen.has(columns):
            drawn, covered = _draw(renderer, columns["id"], solids, directions(index, int(views)), int(side))
            rows.append({**columns, "number": index, "covered": covered})
            pictures.append(drawn)
    name = f"{int(shard):05d}"
    data = io.BytesIO()
    np.save(data, np.stack(pictures) if pictures else np.zeros((0, int(views), int(side), int(side), 3), np.uint8))
    store = LocalStore(str(Path(folder, split).absolute()))
    store.replace(f"{name}.npy", data.getvalue())
    store.replace(f"{name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())


def directions(index: int, views: int) -> np.ndarray:
    """[V, 3]: the directions of an object's cameras, which differ from object to object."""
    return cameras.fibonacci(views, index)


def _draw(
    renderer: Renderer, title: str, solids: list[Painted], towards: np.ndarray, side: int
) -> tuple[np.ndarray, list[int]]:
    """[V, S, S, 3] uint8, and the number of pixels that each view covers."""
    model = GlbFile(glb(title, solids), "mesh.glb").read({}, Limits(), 2048)
    poses = cameras.look_at_centre(towards, _FOV_DEG)
    intrinsics = cameras.intrinsics(len(towards), RENDERED, _FOV_DEG)
    pictures, covered = [], []
    for window, color, _ in renderer.draw(model, normalization(model, "y"), intrinsics, poses, albedo=False):
        pictures.append(_on_white(color, window, side))
        covered.append(int(np.count_nonzero(color[..., 3])))
    return np.stack(pictures), covered


def _on_white(color: np.ndarray, window: Any, side: int) -> np.ndarray:
    """[S, S, 3] uint8, by the steps of a build: straight alpha, white background, resized by the processor."""
    whole = np.zeros((RENDERED, RENDERED, 4), np.uint8)
    whole[window.top : window.bottom, window.left : window.right] = encoding.straight(color)
    view = Image.fromarray(whole)
    shown = Image.new("RGB", view.size, "white")
    shown.paste(view, mask=view.getchannel("A"))
    return np.asarray(shown.resize((side, side), Image.Resampling.BICUBIC))


if __name__ == "__main__":
    main(*sys.argv[1:])
