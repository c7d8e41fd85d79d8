"""The dataset contract, version 1: what a shard's columns are, how they lie in Parquet, and which shards count.

The columns are a function of `Shape` alone. Arrays are flat fixed-size lists: nested ones cost readers hundreds of
times more. Vectors are plain lists of lists, because the teacher's dimension is unknown until one has run, and a
column's type must not change when it does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from manifests import weak
from manifests.store import Store

VERSION = 1
FOLDER = "dataset"
DATA = f"{FOLDER}/data"
INDEX = f"{FOLDER}/index.json"
CARD = f"{FOLDER}/README.md"
STAGES = ("ingest", "render", "fit", "embed", "caption", "align")  # whose keys a row carries; null where not run

# Readers decode pictures only where the field is exactly this: these names, this order, nullable.
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
CAPTION = pa.struct([("text", pa.string()), ("kind", pa.string()), ("model", pa.string()), ("score", pa.float32())])

FloatType = Literal["float32", "float16"]


@dataclass(frozen=True)
class Shape:
    """The numbers that a dataset's column types depend on: the same for all of its shards."""

    views: int  # V
    gaussians: int  # N, padded
    sh_coefficients: int  # K = (degree + 1) squared
    float_type: FloatType = "float32"  # of the Gaussians


@dataclass(frozen=True)
class Column:
    name: str
    type: pa.DataType
    meaning: str  # with shape, unit and frame


def columns(shape: Shape) -> list[Column]:
    """The columns in their order."""
    views, count, terms = shape.views, shape.gaussians, shape.sh_coefficients
    real = pa.float16() if shape.float_type == "float16" else pa.float32()
    vectors = pa.list_(pa.list_(pa.float16()))
    text = pa.string()
    cameras = "x right, y down, z forward"
    return [
        Column("id", text, "name of the object, unique in the dataset"),
        Column(
            "group",
            text,
            "objects of one group share a split unless a rule divides them; the content hash where none was given",
        ),
        Column("category", text, "as the source list gives it"),
        Column("source", text, "path or URI of the mesh, as the source list gives it"),
        Column("licence", text, "as the source list or the file gives it; null: unknown"),
        Column("content_hash", text, "hash of the mesh file and the files it refers to"),
        Column("views", pa.list_(IMAGE), "V PNGs, RGBA 8 bit, straight alpha, sRGB, in camera order"),
        Column("depth", pa.list_(IMAGE), "V PNGs, 16 bit: distance along the camera's axis in steps; 0 = empty"),
        Column("depth_scale", pa.float64(), "length of one depth step, in radii of the unit sphere"),
        Column("intrinsics", pa.list_(pa.float32(), views * 9), "[V, 3, 3], pixels, pixel centres at +0.5"),
        Column("camera_to_world", pa.list_(pa.float32(), views * 16), f"[V, 4, 4], cameras OpenCV: {cameras}"),
        Column("held_out", pa.list_(pa.int32()), "indices of the views that the fit never saw"),
        Column("normalization", pa.list_(pa.float64(), 16), "[4, 4], source frame to unit sphere (world)"),
        Column("means", pa.list_(real, count * 3), "[N, 3], centres in the unit sphere's frame"),
        Column("log_scales", pa.list_(real, count * 3), "[N, 3], natural log of the axes' standard deviations"),
        Column("quaternions", pa.list_(real, count * 4), "[N, 4], w x y z, not necessarily of length 1"),
        Column("opacity_logits", pa.list_(real, count), "[N], opacity = sigmoid(logit)"),
        Column("sh", pa.list_(real, count * terms * 3), "[N, K, 3], rgb at degree 0 = 0.28209479 sh[:, 0] + 0.5"),
        Column("gaussian_count", pa.int32(), "real Gaussians among N; those after are padding: finite, transparent"),
        Column("view_vectors", vectors, "V vectors of the teacher's dimension, length 1; null where no teacher ran"),
        Column("captions", pa.list_(CAPTION), "kind: metadata, name, short, detailed, tags; score: fit to the views"),
        Column("caption_vectors", vectors, "a teacher's vector for each of captions, length 1; null where none ran"),
        Column("teacher", text, "model and revision; null where none ran"),
        Column("psnr", pa.float32(), "dB over the held-out views, white background"),
        Column("psnr_foreground", pa.float32(), "dB over the object's pixels of the held-out views"),
        Column("ssim", pa.float32(), "over the held-out views, white background"),
        Column("warnings", pa.list_(text), "what the stages found odd"),
        Column("keys", pa.struct([(stage, text) for stage in STAGES]), "key of every stage; null where not run"),
        Column("metadata", text, "JSON object: the other columns of the source list, its own words among them"),
    ]


def schema(shape: Shape) -> pa.Schema:
    """The Arrow schema of every shard, with the metadata that lets Hugging Face `datasets` decode pictures."""
    table = columns(shape)
    described = {
        "version": VERSION,
        "shape": asdict(shape),
        "units": "lengths in radii of the unit sphere, image coordinates in pixels, psnr in dB",
        "columns": {column.name: column.meaning for column in table},
    }
    features = {column.name: _feature(column.type) for column in table}
    metadata = {
        "huggingface": json.dumps({"info": {"features": features}}),
        "gs_triplets": json.dumps(described),
    }
    return pa.schema([pa.field(column.name, column.type) for column in table], metadata)


def _feature(type_: pa.DataType) -> dict[str, Any]:
    if type_ == IMAGE:
        return {"_type": "Image"}
    if pa.types.is_struct(type_):
        return {field.name: _feature(field.type) for field in type_}
    if pa.types.is_fixed_size_list(type_):
        return {"feature": _feature(type_.value_type), "length": type_.list_size, "_type": "List"}
    if pa.types.is_list(type_):
        return {"feature": _feature(type_.value_type), "_type": "List"}
    return {"dtype": value_name(type_), "_type": "Value"}


def value_name(type_: pa.DataType) -> str:
    """A plain type's name among `datasets` features."""
    return {"float": "float32", "double": "float64", "halffloat": "float16"}.get(str(type_), str(type_))


def table(rows: Sequence[Mapping[str, Any]], shape: Shape) -> pa.Table:
    """Rows as one Arrow table. Fixed-size columns are given as numpy arrays of any shape, pictures as lists of PNGs."""
    target = schema(shape)
    arrays = []
    for field in target:
        values = [row[field.name] for row in rows]
        if pa.types.is_fixed_size_list(field.type):
            dtype = field.type.value_type.to_pandas_dtype()
            flat = np.concatenate([np.asarray(value, dtype).reshape(-1) for value in values])
            arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(flat), type=field.type))
        elif field.type == pa.list_(IMAGE):
            pictures = [[{"bytes": png, "path": None} for png in value] for value in values]
            arrays.append(pa.array(pictures, field.type))
        else:
            arrays.append(pa.array(values, field.type))
    return pa.Table.from_arrays(arrays, schema=target)


def writer_settings(shape: Shape, compression: str) -> dict[str, Any]:
    """How columns lie in Parquet; keyword arguments of `pyarrow.parquet.ParquetWriter`.

    PNGs gain nothing from compression; the bytes of floats do once they are split by significance.
    """
    leaves = [(name, type_) for field in schema(shape) for name, type_ in _leaves(field.name, field.type)]
    floats = [name for name, type_ in leaves if pa.types.is_floating(type_) and name.endswith(".element")]
    scalars = [name for name, _ in leaves if "." not in name]
    return {
        "compression": {name: "none" if type_ == pa.binary() else compression for name, type_ in leaves},
        "use_dictionary": [name for name, type_ in leaves if type_ == pa.string()],
        "use_byte_stream_split": floats,
        "write_statistics": scalars,
        "write_page_index": True,
        "use_content_defined_chunking": True,
        "version": "2.6",
    }


def _leaves(name: str, type_: pa.DataType) -> Iterator[tuple[str, pa.DataType]]:
    """Parquet's own names for what it stores below a column."""
    if pa.types.is_struct(type_):
        for field in type_:
            yield from _leaves(f"{name}.{field.name}", field.type)
    elif pa.types.is_list(type_) or pa.types.is_fixed_size_list(type_):
        yield from _leaves(f"{name}.list.element", type_.value_type)
    else:
        yield name, type_


def write_index(
    store: Store, shards: Iterable[Mapping[str, Any]], *, provenance: Mapping[str, Any], weak_percent: float = 0.0
) -> dict[str, Any]:
    """Make these shards the dataset: the card, then, last, the index. Shards are the columns that pack returned.

    `provenance` goes into both as it is (the resolved recipe, the project's version); it should hold no times, so that
    equal datasets are equal byte for byte.
    """
    from manifests.dataset_card import card

    ordered = sorted(shards, key=lambda shard: (shard["split"], shard["index"]))
    _refuse_differences(ordered)
    shape = asdict(_shape(ordered[0])) if ordered else None
    counted = {"shard": "", "split": "", "index": 0, "rows": 0, "bytes": 0, "sha256": ""}
    index = {
        "version": VERSION,
        "shape": shape,
        "rows": _sum({shard["split"]: shard["rows"]} for shard in ordered),
        "bytes": _sum({shard["split"]: shard["bytes"]} for shard in ordered),
        "categories": {
            split: _sum(shard["categories"] for shard in ordered if shard["split"] == split)
            for split in sorted({shard["split"] for shard in ordered})
        },
        "licences": _sum(shard["licences"] for shard in ordered),
        "weak_captions": {
            "percent": weak_percent,
            "below": weak.bounds((shard["scores"] for shard in ordered), weak_percent),
        },
        "provenance": dict(provenance),
        "shards": [
            {name: shard[name] for name in counted} | {"shard": shard["shard"].removeprefix(f"{FOLDER}/")}
            for shard in ordered
        ],
    }
    text = json.dumps(index, indent=1, ensure_ascii=False, default=str)
    index = json.loads(text)
    store.replace(CARD, card(index).encode())
    store.replace(INDEX, (text + "\n").encode())
    return index


def _shape(shard: Mapping[str, Any]) -> Shape:
    views, gaussians, terms = shard["shape"]
    return Shape(views, gaussians, terms, shard["float_type"])


def _refuse_differences(shards: Sequence[Mapping[str, Any]]) -> None:
    for shard in shards[1:]:
        if _shape(shard) != _shape(shards[0]):
            raise ValueError(
                f"{shard['shard']} has {_shape(shard)} where {shards[0]['shard']} has {_shape(shards[0])}: "
                "one dataset has one number of views, Gaussians and SH coefficients"
            )
    places = [(shard["split"], shard["index"]) for shard in shards]
    if len(set(places)) < len(places):
        twice = next(place for place in places if places.count(place) > 1)
        raise ValueError(f"two shards for block {twice[1]} of split {twice[0]!r}: a block has one")


def _sum(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in counts:
        for name, count in part.items():
            total[name] = total.get(name, 0) + count
    return dict(sorted(total.items()))


def read_index(store: Store) -> dict[str, Any] | None:
    """The index, or None where no dataset has been finished yet."""
    try:
        index = json.loads(store.read(INDEX))
    except FileNotFoundError:
        return None
    if index["version"] != VERSION:
        raise ValueError(f"{INDEX} is of version {index['version']}, this program reads version {VERSION}")
    return index


def remove_superseded(store: Store, index: Mapping[str, Any]) -> list[str]:
    """Delete what lies among the shards and is not in the index; the names of what went."""
    kept = {f"{FOLDER}/{shard['shard']}" for shard in index["shards"]}
    gone = [name for name in store.list(DATA) if name not in kept]
    for name in gone:
        store.delete(name)
    return gone
