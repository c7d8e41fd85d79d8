"""What is known of a shard, and of all shards of a dataset: the fixed shapes of their JSON."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any, NotRequired

from typing_extensions import TypedDict  # pydantic needs it before Python 3.12

from manifests.dataset import DATA, FloatType
from manifests.distribution import Distribution, Summary
from manifests.forms import check_form


class Shard(TypedDict):
    """The columns of the outcome of a packed block."""

    shard: str  # the file's name in the run folder
    split: str
    index: int  # of the block in its split
    rows: int
    marks: NotRequired[str]  # see `marks`; earlier versions had none
    bytes: int
    sha256: str
    shape: list[int]  # views, Gaussians, SH coefficients
    float_type: FloatType
    categories: dict[str, int]
    licences: dict[str, int]
    scores: dict[str, dict[str, int]]  # of captions: histograms by kind (weak.py)
    figures: NotRequired[dict[str, str]]  # by column: the values (distribution.py); earlier versions had none
    contract: NotRequired[str]  # digest of the columns, if these are not the first that there were


class ListedShard(TypedDict):
    """A shard in index.json."""

    shard: str  # the file's name in the dataset folder
    split: str
    index: int
    rows: int
    bytes: int
    sha256: str


class ListedShape(TypedDict):
    """The fields of `dataset.Shape`."""

    views: int
    gaussians: int
    sh_coefficients: int
    float_type: FloatType


class WeakCaptions(TypedDict):
    percent: float
    below: dict[str, float]  # by kind of caption


class DatasetIndex(TypedDict):
    """index.json."""

    version: int
    shape: ListedShape | None  # None: there are no shards
    rows: dict[str, int]  # by split
    bytes: dict[str, int]  # by split
    categories: dict[str, dict[str, int]]  # by split
    licences: dict[str, int]
    weak_captions: NotRequired[WeakCaptions]  # earlier versions marked none
    figures: NotRequired[dict[str, Summary]]  # by column, of the shards that have them
    provenance: dict[str, Any]
    shards: list[ListedShard]


def marks(members: Iterable[tuple[str, str]]) -> str:
    """Which rows are in a block, by id and key of the content, in short: the driver holds it for every row."""
    named = (f"{key} {row_id}" for row_id, key in members)
    return " ".join(hashlib.blake2b(name.encode(), digest_size=8).hexdigest() for name in named)


def check_shard(columns: Any) -> Shard:
    """Return what is known of a shard; raise ValueError where it cannot be that."""
    check_form(Shard, columns)
    Distribution.of_texts(columns.get("figures", {}).values())
    _check_name(columns["shard"], f"{DATA}/")
    return columns


def check_index(index: Any) -> DatasetIndex:
    """Return the content of index.json; raise ValueError where it cannot be that."""
    check_form(DatasetIndex, index)
    for shard in index["shards"]:
        _check_name(shard["shard"], "data/")
    return index


def _check_name(name: str, folder: str) -> None:
    if not re.fullmatch(rf"{folder}[^/]+\.parquet", name):
        raise ValueError(f"{name!r} is not the name of a shard")
