"""Small datasets for the tests of clip_gs, packed by the project's own stage from what the stages before it leave.

An object's form follows from its category and its colour from itself; the teacher's vectors from both, so that a model
can learn to tell objects and categories apart.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from PIL import Image

from manifests import dataset, dataset_index
from manifests.outcomes import Outcomes
from manifests.store import Store, open_store
from pipeline.recipe import DECLARED, ROW_STAGES
from stages.artifacts.splat import SH_ZERO, Splat
from stages.artifacts.vectors import to_bytes
from stages.artifacts.views import Views
from stages.contract.stage import Context, Done, Member, Row
from stages.pack import Pack

TEACHER = "test-clip@0123"
VIEWS = 4


@dataclass
class Thing:
    """A row; `dataclasses.replace` makes others of it."""

    id: str
    splat: Splat
    category: str | None = "cup"
    captions: list[str] = field(default_factory=list)
    view_vectors: np.ndarray | None = None  # [V, D]
    caption_vectors: np.ndarray | None = None  # [C, D]
    views: int = VIEWS  # V, the same for all rows of a dataset
    teacher: str = TEACHER
    content: str = ""  # "": its own
    split: str = "train"
    scores: list[float] | None = None  # of the captions, by the teacher
    columns: dict[str, Any] = field(default_factory=dict)  # of the source list, which become `metadata`


def things(
    count: int,
    categories: Sequence[str] = ("cup", "lamp", "boat"),
    *,
    split: str = "train",
    seed: int = 0,
    gaussians: int = 48,
    terms: int = 1,
    dimension: int = 16,
    views: int = VIEWS,
    noise: float = 0.05,
) -> list[Thing]:
    """Objects of these categories in turn, each with two captions; an odd one has three quarters of the Gaussians."""
    made = []
    for number in range(count):
        random, category = np.random.default_rng([seed, number]), categories[number % len(categories)]
        color = random.uniform(0.1, 0.9, 3)
        splat = _splat(random, category, color, gaussians * 3 // 4 if number % 2 else gaussians, terms)
        centre = _random_of(category).normal(size=dimension)
        centre += (color - 0.5) @ _random_of("colours").normal(size=(3, dimension)) * 2
        name = f"{split}-{number:03d}"
        captions = [f"a {category} called {name}", f"{name}: {category}"]
        seen, read = _near(centre, views, noise, random), _near(centre, 2, noise, random)
        made.append(Thing(name, splat, category, captions, seen, read, views, split=split))
    return made


def _splat(random: np.random.Generator, category: str, color: np.ndarray, real: int, terms: int) -> Splat:
    means = random.normal(size=(real, 3)) * _random_of(category).uniform(0.1, 0.4, 3)
    sh = random.normal(size=(real, terms, 3)) * 0.1
    sh[:, 0] += (color - 0.5) / SH_ZERO
    return Splat(
        means=means.astype(np.float32),
        log_scales=random.normal(-4, 0.3, (real, 3)).astype(np.float32),
        quaternions=random.normal(size=(real, 4)).astype(np.float32),
        opacity_logits=random.normal(2, 0.5, real).astype(np.float32),
        sh=sh.astype(np.float32),
    )


def _near(vector: np.ndarray, count: int, noise: float, random: np.random.Generator) -> np.ndarray:
    """[count, D] of length 1"""
    spread = vector + noise * np.linalg.norm(vector) * random.normal(size=(count, len(vector)))
    return spread / np.linalg.norm(spread, axis=1, keepdims=True)


def _random_of(word: str) -> np.random.Generator:
    return np.random.default_rng(list(hashlib.blake2b(word.encode(), digest_size=8).digest()))


def write(
    place: str | Path,
    things: Sequence[Thing],
    *,
    gaussians: int = 48,
    rows_per_shard: int = 8,
    row_group_rows: int | None = 4,
    float_type: dataset.FloatType = "float32",
    weak_percent: float = 0.0,
) -> str:
    """A run folder, by path or URI, whose dataset holds these rows; the place."""
    store = open_store(place)
    pack = Pack(gaussians=gaussians, row_group_rows=row_group_rows, float_type=float_type).over(ROW_STAGES)
    shards = []
    with tempfile.TemporaryDirectory() as scratch:
        work = pack.open(Context(store, Path(scratch)))
        for split in dict.fromkeys(thing.split for thing in things):
            rows = [thing for thing in things if thing.split == split]
            for index, start in enumerate(range(0, len(rows), rows_per_shard)):
                members = [_member(store, thing) for thing in rows[start : start + rows_per_shard]]
                block = {
                    "id": f"{split}-{index}",
                    "key": "00",
                    "split": split,
                    "index": index,
                    "members": members,
                    "marks": {},
                }
                ((_, outcome),) = work([block])
                assert isinstance(outcome, Done), outcome
                shards.append(outcome.columns)
    dataset_index.write_index(store, shards, DECLARED, provenance={}, weak_percent=weak_percent)
    return str(place)


def _member(store: Store, thing: Thing) -> Member:
    """A row as pack is given it, its outcomes published."""
    keys: dict[str, str] = {}
    outcomes: dict[str, Row] = {}

    def publish(stage: str, columns: dict[str, Any], artifact: bytes | None = None, column: str = "") -> None:
        keys[stage] = f"{stage}-{thing.id}"
        outcomes[stage] = Outcomes(store).publish(stage, keys[stage], columns, artifact, column, ".bin")

    publish("ingest", {"content_hash": thing.content or f"content of {thing.id}"})
    publish("render", {}, _views(thing.views).to_bytes(), "views")
    publish("fit", {"psnr": 30.0, "held_out": [0]}, thing.splat.to_ply(), "splat")
    if thing.captions:
        texts = [{"text": text, "kind": "metadata", "model": None} for text in thing.captions]
        publish("caption", {"captions": texts})
    if thing.view_vectors is not None:
        publish("embed", {"teacher": thing.teacher}, to_bytes(thing.view_vectors), "view_vectors")
    if thing.caption_vectors is not None:
        columns = {"caption_scores": thing.scores or [0.25] * len(thing.caption_vectors)}
        publish("align", columns, to_bytes(thing.caption_vectors), "caption_vectors")
    source = {"source": f"{thing.id}.glb", "category": thing.category, "licence": "CC0-1.0", **thing.columns}
    return {"id": thing.id, "source": source, "needed": keys, "outcomes": outcomes}


def _picture(mode: type) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((2, 2, 4) if mode is np.uint8 else (2, 2), mode)).save(buffer, "PNG")
    return buffer.getvalue()


def _views(count: int) -> Views:
    eyes = np.tile(np.eye(4, dtype=np.float32), (count, 1, 1))
    pictures = [_picture(np.uint8)] * count, [_picture(np.uint16)] * count
    return Views(*pictures, eyes[:, :3, :3], eyes, 1e-4, np.eye(4))


def spoil(place: str | Path, row_id: str, **columns: Any) -> None:
    """Put other values into a row of a packed local dataset, as another program might: pack itself refuses NaN."""
    root = Path(place) / "dataset"
    index = json.loads((root / "index.json").read_text())
    for shard in index["shards"]:
        path = root / shard["shard"]
        with parquet.ParquetFile(path) as file:
            groups = [file.read_row_group(number) for number in range(file.num_row_groups)]
        if not any(row_id in group["id"].to_pylist() for group in groups):
            continue
        contract = dataset.Contract(dataset.Shape(**index["shape"]), DECLARED)
        with parquet.ParquetWriter(path, contract.schema(), **contract.writer_settings("zstd")) as writer:
            for group in groups:
                writer.write_table(_changed(group, row_id, columns))
        data = path.read_bytes()
        shard |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        (root / "index.json").write_text(json.dumps(index))
        return
    raise KeyError(row_id)


def _changed(group: pa.Table, row_id: str, columns: dict[str, Any]) -> pa.Table:
    rows = group.to_pylist()
    for row in rows:
        if row["id"] == row_id:
            row |= columns
    return pa.Table.from_pylist(rows, group.schema)
