"""The dataset contract, version 1: what a shard's columns are, and how they are stored in Parquet.

The stages declare most of the columns, this module the others; together they are a `Contract`. Their types depend on
the numbers of a `Shape`. Arrays are flat fixed-size lists: nested ones cost readers hundreds of times more. Vectors are
plain lists of lists, because the teacher's dimension is unknown until one has run, and a column's type must not change
when it does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa

VERSION = 1
FOLDER = "dataset"
DATA = f"{FOLDER}/data"
INDEX = f"{FOLDER}/index.json"
CARD = f"{FOLDER}/README.md"

# Readers decode pictures only where the field is exactly this: these names, this order, nullable.
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
CAPTION = pa.struct([("text", pa.string()), ("kind", pa.string()), ("model", pa.string()), ("score", pa.float32())])
TEXT = pa.string()
VECTORS = pa.list_(pa.list_(pa.float16()))

FloatType = Literal["float32", "float16"]


@dataclass(frozen=True)
class Shape:
    """The numbers that a dataset's column types depend on: the same for all of its shards."""

    views: int  # V
    gaussians: int  # N, padded
    sh_coefficients: int  # K = (degree + 1) squared
    float_type: FloatType = "float32"  # of the Gaussians

    @property
    def real(self) -> pa.DataType:
        """The type of the Gaussians' numbers."""
        return pa.float16() if self.float_type == "float16" else pa.float32()


@dataclass(frozen=True)
class Column:
    """A column of the dataset."""

    name: str
    type: pa.DataType | Callable[[Shape], pa.DataType]
    meaning: str  # with shape, unit and frame
    missing: Any = None  # the value where the stage that gives it was left out or failed
    padding: Any = None  # of a column with a value for each Gaussian: the values after the last real Gaussian

    def type_for(self, shape: Shape) -> pa.DataType:
        return self.type if isinstance(self.type, pa.DataType) else self.type(shape)


# Columns that belong to no one stage.
_OWN = (
    Column("id", TEXT, "name of the object, unique in the dataset"),
    Column(
        "group",
        TEXT,
        "objects of one group share a split unless a rule divides them; the content hash where none was given",
    ),
    Column("category", TEXT, "as the source list gives it"),
    Column("source", TEXT, "path or URI of the mesh, as the source list gives it"),
    Column("licence", TEXT, "as the source list or the file gives it; null: unknown"),
    Column("warnings", pa.list_(TEXT), "what the stages found odd"),
    Column("metadata", TEXT, "JSON object: the other columns of the source list, its own words among them"),
)

# Version 1 has these columns in this order; columns that came later follow before `warnings`.
_ORDER = (
    "id group category source licence content_hash views depth depth_scale intrinsics camera_to_world held_out "
    "normalization means log_scales quaternions opacity_logits sh gaussian_count view_vectors captions "
    "caption_vectors teacher psnr psnr_foreground ssim"
).split()
_LAST = ("warnings", "keys", "metadata")


@dataclass(frozen=True)
class Contract:
    """The columns of a dataset: those that each stage declares, by the stage's name, and those of this module."""

    shape: Shape
    declared: Mapping[str, Sequence[Column]] = field(hash=False)

    @cached_property
    def columns(self) -> list[Column]:
        """All columns in their order."""
        keys = pa.struct([(stage, TEXT) for stage in self.declared])
        found = {column.name: column for column in (*_OWN, *(each for part in self.declared.values() for each in part))}
        found["keys"] = Column("keys", keys, "key of every stage; null where not run")
        later = [name for name in found if name not in _ORDER and name not in _LAST]
        return [found[name] for name in (*_ORDER, *later, *_LAST) if name in found]

    @cached_property
    def types(self) -> dict[str, pa.DataType]:
        return {column.name: column.type_for(self.shape) for column in self.columns}

    def giver(self, column: str) -> str:
        """The stage that gives a column."""
        return next(stage for stage, columns in self.declared.items() if any(each.name == column for each in columns))

    def schema(self) -> pa.Schema:
        """The Arrow schema of every shard, with the metadata that lets Hugging Face `datasets` decode pictures."""
        described = {
            "version": VERSION,
            "shape": asdict(self.shape),
            "units": "lengths in radii of the unit sphere, image coordinates in pixels, psnr in dB",
            "columns": {column.name: column.meaning for column in self.columns},
        }
        features = {name: _feature(type_) for name, type_ in self.types.items()}
        metadata = {
            "huggingface": json.dumps({"info": {"features": features}}),
            "gs_triplets": json.dumps(described),
        }
        return pa.schema([pa.field(name, type_) for name, type_ in self.types.items()], metadata)

    def digest(self) -> str:
        """A short hash of names, types and meanings of all columns."""
        described = [(column.name, _feature(self.types[column.name]), column.meaning) for column in self.columns]
        return hashlib.blake2b(json.dumps(described).encode(), digest_size=8).hexdigest()

    def table(self, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
        """Rows as one Arrow table. Fixed-size columns are numpy arrays of any shape, pictures lists of PNGs."""
        arrays = [_array([row[name] for row in rows], type_) for name, type_ in self.types.items()]
        return pa.Table.from_arrays(arrays, schema=self.schema())

    def misfit(self, row: Mapping[str, Any]) -> tuple[str, Exception] | None:
        """The first column whose value cannot be stored in a shard, and why; None if all values can."""
        for name, type_ in self.types.items():
            try:
                _array([row[name]], type_).validate()
            except (pa.ArrowException, LookupError, TypeError, ValueError, OverflowError) as error:
                return name, error
        return None

    def writer_settings(self, compression: str) -> dict[str, Any]:
        """How columns are stored in Parquet; keyword arguments of `pyarrow.parquet.ParquetWriter`.

        PNGs gain nothing from compression; the bytes of floats do once they are split by significance.
        """
        leaves = [leaf for name, type_ in self.types.items() for leaf in _leaves(name, type_)]
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


def _array(values: list[Any], type_: pa.DataType) -> pa.Array:
    if pa.types.is_fixed_size_list(type_):
        flat = [np.asarray(value, type_.value_type.to_pandas_dtype()).reshape(-1) for value in values]
        if any(len(value) != type_.list_size for value in flat):
            raise ValueError(
                f"expected {type_.list_size} numbers, got {' and '.join(str(len(value)) for value in flat)}"
            )
        return pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(flat)), type=type_)
    if type_ == pa.list_(IMAGE):
        values = [[{"bytes": png, "path": None} for png in value] for value in values]
    return pa.array(values, type_)


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


def _leaves(name: str, type_: pa.DataType) -> Iterator[tuple[str, pa.DataType]]:
    """Parquet's own names for what it stores below a column."""
    if pa.types.is_struct(type_):
        for field in type_:
            yield from _leaves(f"{name}.{field.name}", field.type)
    elif pa.types.is_list(type_) or pa.types.is_fixed_size_list(type_):
        yield from _leaves(f"{name}.list.element", type_.value_type)
    else:
        yield name, type_
