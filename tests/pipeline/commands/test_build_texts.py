"""Texts in meshes that are hard to store or to show: they cost no row of others, and stay short and plain."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from manifests.text import LONGEST
from tests.pipeline.building import build, ids_in_dataset, index, say, status, write_meshes

HALF = "half \ud83d"
CONTROL = "\x1b[31m[red]\x1b]0;owned\x07[/] :smile:"
CORNERS = struct.pack("<12f", 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1)
FACES = struct.pack("<12H", 0, 2, 1, 0, 1, 3, 1, 2, 3, 0, 3, 2)


def gltf(**changes: Any) -> str:
    """A tetrahedron."""
    data = base64.b64encode(CORNERS + FACES).decode()
    scene = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}, "doubleSided": True}],
        "textures": [{"source": 0}],
        "images": [{"uri": "missing.png"}],
        "buffers": [{"byteLength": 72, "uri": f"data:application/octet-stream;base64,{data}"}],
        "bufferViews": [{"buffer": 0, "byteLength": 48}, {"buffer": 0, "byteOffset": 48, "byteLength": 24}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3", "min": [0] * 3, "max": [1] * 3},
            {"bufferView": 1, "componentType": 5123, "count": 12, "type": "SCALAR"},
        ],
    }
    return json.dumps(scene | changes)  # which writes half a pair as \ud83d


def image(text: str) -> list[dict[str, str]]:
    return [{"name": text, "uri": f"{text}.png"}]


def write_hostile(folder: Path) -> tuple[set[str], set[str]]:
    """Write meshes; return the ids of those that are to be refused, and of those that are only odd."""
    huge = "x" * 3_000_000
    refused = {
        f"{name}_{field}": gltf(**{field: value})
        for name, text in {"half": HALF, "control": CONTROL, "huge": huge}.items()
        for field, value in {"asset": {"version": text}, "extensionsRequired": [text]}.items()
    }
    refused["half_image"] = gltf(images=image(HALF))
    odd = {"odd_control": gltf(images=image(CONTROL))}
    for name, text in {**refused, **odd}.items():
        (folder / f"{name}.gltf").write_text(text)
    return {f"{name}.gltf" for name in refused}, {f"{name}.gltf" for name in odd}


def test_texts_in_meshes_cost_no_row_of_others_and_are_stored_and_shown_short(tmp_path: Path) -> None:
    source, run = write_meshes(tmp_path / "source", count=1), tmp_path / "run"
    good = {path.name for path in source.iterdir()}
    refused, odd = write_hostile(source)
    build(source, run)
    failed = {row["id"]: row for row in status(run)["failed"]}
    assert failed.keys() == refused and {row["reason"] for row in failed.values()} <= {"unsupported", "corrupt_file"}
    assert ids_in_dataset(run) == good | odd

    paths = [run / "dataset" / shard["shard"] for shard in index(run)["shards"]]
    tables = [pq.read_table(path, columns=["id", "warnings"]) for path in paths]
    warnings = {row["id"]: " ".join(row["warnings"]) for table in tables for row in table.to_pylist()}
    assert "[red][/] :smile:.png" in warnings["odd_control.gltf"]
    details = [row["detail"] for row in failed.values()]
    texts = [text for text in [*details, *warnings.values()] if text]
    assert all(len(text) <= LONGEST and text.isprintable() for text in texts)

    shown = say("status", "--run", run, "--failed").stdout
    assert "[red]" in shown and ":smile:" in shown and "\x1b" not in shown and len(shown) < 100_000
    manifest = [path for path in (run / "manifest").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in manifest) < 500_000
