"""Write the dataset card: its front matter for `load_dataset`, and a description of the dataset for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import yaml

from manifests import dataset
from manifests.distribution import Summary, edge, number
from manifests.markdown import fenced, front_matter, plain, table
from manifests.shards import DatasetIndex, WeakCaptions

_BAR = 30  # characters of the longest bar of a histogram
_LISTED = 100  # categories and licences named in the card; index.json has them all

_LOADING = """\
```python
from datasets import load_dataset

rows = load_dataset("PATH/TO/THIS/FOLDER", split="{split}")
row = rows[0]
row["views"][0]  # a PIL image, RGBA
row["captions"]  # [{{"text": ..., "kind": ..., "model": ..., "score": ...}}, ...]

arrays = rows.select_columns(["means", "camera_to_world"]).with_format("numpy")
means = arrays[0]["means"].reshape({gaussians}, 3)
poses = arrays[0]["camera_to_world"].reshape({views}, 4, 4)
```"""

_CONVENTIONS = """\
- World: the object is centred and scaled into the unit sphere; `normalization` takes points of the source file there.
- Cameras: OpenCV axes (x right, y down, z forward); `camera_to_world` is a rigid transform; pixel centres at +0.5.
- Pictures have straight alpha; quality figures are over a white background, on views that the fit never saw.
- Gaussians are raw parameters as in an INRIA PLY (log scale, opacity logit, quaternion w x y z) in farthest-point
  order: any prefix is a well-spread subset. Those from `gaussian_count` on are padding: finite and transparent.
- Arrays are flat lists, the last dimension running fastest."""


def card(index: DatasetIndex, declared: Mapping[str, Sequence[dataset.Column]]) -> str:
    """The text of README.md for an index, and for the columns that each stage declares."""
    contract = dataset.Contract(dataset.Shape(**index["shape"]), declared) if index["shape"] else None
    parts = [front_matter(_front(index, contract))]
    parts.append("# 3DGS-image-text triplets\n")
    if contract is None:
        parts.append("This dataset is empty: no object has come through every stage yet.\n")
    else:
        parts.append(
            f"{sum(index['rows'].values())} objects. Each row is one object: pictures from known cameras with depth, "
            "3D Gaussians fitted to them, and texts.\n"
        )
        parts.append(_counts(index))
        if index.get("figures"):
            parts.append(_quality(index["figures"], contract))
        parts.append(_columns(contract))
        parts.append("## Conventions\n\n" + _CONVENTIONS + "\n")
        shape = contract.shape
        example = _LOADING.format(split=next(iter(index["rows"])), gaussians=shape.gaussians, views=shape.views)
        parts.append("## Loading\n\n" + example + "\n\nThis needs `datasets` 4 or newer.\n")
    settings = yaml.safe_dump(index["provenance"], sort_keys=True, allow_unicode=True, width=120)
    made = f"gs-triplets, dataset contract {index['version']}, settings:"
    parts.append(f"## How it was made\n\n{made}\n\n{fenced(settings, 'yaml')}\n")
    return "\n".join(parts)


def _front(index: DatasetIndex, contract: dataset.Contract | None) -> dict[str, Any]:
    """What the Hugging Face hub and `load_dataset` read. Only the files named here are loaded."""
    front: dict[str, Any] = {
        "pretty_name": "3DGS-image-text triplets",
        "tags": ["3d", "gaussian-splatting", "text-to-3d", "image-to-3d"],
    }
    files = [
        {"split": split, "path": [shard["shard"] for shard in index["shards"] if shard["split"] == split]}
        for split in index["rows"]
    ]
    front["configs"] = [{"config_name": "default", "data_files": files}]
    if contract is not None:
        front["dataset_info"] = {
            "config_name": "default",
            "features": [{"name": name, **_feature(type_)} for name, type_ in contract.types.items()],
            "splits": [
                {"name": split, "num_bytes": index["bytes"][split], "num_examples": rows}
                for split, rows in index["rows"].items()
            ],
            "download_size": sum(index["bytes"].values()),
            "dataset_size": sum(index["bytes"].values()),
        }
    return front


def _feature(type_: pa.DataType) -> dict[str, Any]:
    """A type in the card's own spelling of features, in which a list of a plain type shortens to its name."""
    if type_ == dataset.IMAGE:
        return {"dtype": "image"}
    if pa.types.is_struct(type_):
        return {"struct": [{"name": field.name, **_feature(field.type)} for field in type_]}
    if pa.types.is_list(type_) or pa.types.is_fixed_size_list(type_):
        inner = _feature(type_.value_type)
        if list(inner) in (["dtype"], ["struct"]):
            inner = next(iter(inner.values()))
        length = {"length": type_.list_size} if pa.types.is_fixed_size_list(type_) else {}
        return {"list": inner, **length}
    return {"dtype": dataset.value_name(type_)}


def _counts(index: DatasetIndex) -> str:
    splits = list(index["rows"])
    rows = [["**objects**", *(str(index["rows"][split]) for split in splits)]]
    totals: dict[str, int] = {}
    for counts in index["categories"].values():
        for name, count in counts.items():
            totals[name] = totals.get(name, 0) + count
    named = sorted(totals, key=lambda name: (-totals[name], name))
    rows += [
        [plain(name) or "(none)", *(str(index["categories"][split].get(name, 0)) for split in splits)]
        for name in named[:_LISTED]
    ]
    lines = ["## Contents\n", table(["", *splits], rows), *_rest(named, "categories")]
    licences = sorted(index["licences"].items(), key=lambda item: (-item[1], item[0]))
    by_licence = table(
        ["licence", "objects"], ([plain(name) or "(none)", str(count)] for name, count in licences[:_LISTED])
    )
    lines += [f"\n{by_licence}", *_rest(licences, "licences")]
    return "\n".join(lines) + "\n" + _weak(index["weak_captions"])


def _weak(marked: WeakCaptions) -> str:
    if not marked["below"]:
        return ""
    limits = ", ".join(f"{score:.4f} ({kind})" for kind, score in marked["below"].items())
    return (
        f"\nCaptions with a `score` below {limits} are the weakest {marked['percent']:g}% of their kind by the "
        "teacher; none has been left out.\n"
    )


def _quality(figures: Mapping[str, Summary], contract: dataset.Contract) -> str:
    """Percentiles of each figure, then a histogram of each."""
    names = list(next(iter(figures.values()))["percentiles"])
    meanings = {column.name: column.meaning for column in contract.columns}
    rows = [
        [f"`{name}`", str(summary["objects"]), *(number(summary["percentiles"][each]) for each in names)]
        for name, summary in figures.items()
    ]
    head = ["column", "objects", *("median" if name == "p50" else name for name in names)]
    lines = ["## Quality", "", table(head, rows)]
    for name, summary in figures.items():
        lines += ["", f"`{name}`: {meanings.get(name, '')}.{_far_below(summary)}", "", _bars(summary)]
    return "\n".join(lines) + "\n"


def _far_below(summary: Summary) -> str:
    if summary["far_below"] is None:
        return ""
    return f" Values below {number(summary['far_below'])} are far below the others."


def _bars(summary: Summary) -> str:
    """A histogram as text."""
    most = max(bar["objects"] for bar in summary["histogram"])
    labels = [f"{edge(bar['low'])} to {edge(bar['high'])}" for bar in summary["histogram"]]
    width = max(map(len, labels))
    lines = [
        f"{label:>{width}}  {bar['objects']:<{len(str(most))}} {'█' * math.ceil(bar['objects'] / most * _BAR)}".rstrip()
        for label, bar in zip(labels, summary["histogram"], strict=True)
    ]
    return fenced("\n".join(lines) + "\n", "text")


def _rest(named: list[Any], what: str) -> list[str]:
    return [f"\n{len(named) - _LISTED} more {what}: see index.json.\n"] if len(named) > _LISTED else []


def _columns(contract: dataset.Contract) -> str:
    shape = contract.shape
    rows = [[column.name, f"`{type_name(contract.types[column.name])}`", column.meaning] for column in contract.columns]
    return (
        f"## Columns\n\nV = {shape.views} views, N = {shape.gaussians} Gaussians, K = {shape.sh_coefficients}; "
        f"lengths in radii of the unit sphere.\n\n{table(['column', 'type', 'meaning'], rows)}\n"
    )


def type_name(type_: pa.DataType) -> str:
    """A type for a person: `list<image>`, `float32[24576]`."""
    if type_ == dataset.IMAGE:
        return "image"
    if pa.types.is_struct(type_):
        return "struct<" + ", ".join(field.name for field in type_) + ">"
    if pa.types.is_fixed_size_list(type_):
        return f"{type_name(type_.value_type)}[{type_.list_size}]"
    if pa.types.is_list(type_):
        return f"list<{type_name(type_.value_type)}>"
    return dataset.value_name(type_)
