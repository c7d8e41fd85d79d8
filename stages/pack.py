"""Pack a block of settled rows into one Parquet shard.

in (a row is a block): split, index, members: source rows with `keys` of their stages, whose outcomes give `views` of
render, `splat`, `held_out`, `psnr`, `psnr_foreground`, `ssim` of fit, `view_vectors`, `teacher` of embed, `captions`
of caption, `caption_vectors`, `caption_scores` of align, `warnings` of any
out: shard, split, index, rows, marks (a hash of each member's id and content), bytes, sha256, shape, float_type,
categories, licences, scores (of captions, counted by kind)

Reasons: missing_input (transient: an outcome or artifact of a member is gone or damaged; it is made again), storage
(transient: a full disk, a store out of reach), missing_key (a member did not come through ingest, render and fit),
mixed_views (a member has another number of views than the first of its block), mixed_gaussians (its Gaussians have
another number of SH coefficients), not_finite (a splat has a number that is infinite or NaN in `float_type`).
"""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from manifests import dataset, weak
from manifests.store import Store
from stages.splat import Splat
from stages.stage import MISSING_INPUT, Context, Done, Row, Stage, StageError, Work, each
from stages.vectors import from_bytes
from stages.views import Views

REQUIRED = ("ingest", "render", "fit")  # stages without which a row cannot be packed

_OWN_COLUMNS = {"id", "keys", "group", "category", "source", "licence", "split"}

# What stands behind the last real Gaussian: tiny, at the origin, an opacity of 2e-9.
_PADDING = {"means": 0.0, "log_scales": -10.0, "quaternions": (1.0, 0.0, 0.0, 0.0), "opacity_logits": -20.0, "sh": 0.0}


class Pack(Stage):
    """Write a block of rows as a shard of the dataset, under a name made from its content."""

    version: ClassVar[int] = 3  # 3: a warning once; more of the source list in `metadata`; surplus Gaussians cut
    unkeyed: ClassVar[tuple[str, ...]] = ("weak_percent",)

    gaussians: int | None = Field(None, ge=0)
    """Gaussians a row has in the dataset, N; of more the first are taken, fewer are padded. Usually those of fit."""
    float_type: Literal["float32", "float16"] = "float32"
    """Type of the Gaussians' numbers."""
    compression: Literal["zstd", "snappy", "none"] = "zstd"
    """Of all columns but the pictures, which are PNGs already."""
    row_group_bytes: int = Field(100_000_000, ge=1, le=1_000_000_000)
    """Uncompressed bytes after which a row group is closed; also what bounds the memory of a worker."""
    row_group_rows: int | None = Field(None, ge=1)
    """Rows after which a row group is closed, where that comes first."""
    weak_percent: float = Field(10.0, ge=0, le=100)
    """So many percent of each kind of caption, those with the lowest scores, are marked as weak; none is left out."""

    def open(self, context: Context) -> Work:
        if self.gaussians is None:
            raise ValueError("pack.gaussians is not set: it should be the number of Gaussians that fit writes")
        return each(lambda block: self._pack(block, context))

    def stands(self, store: Store, columns: Row) -> bool:
        return store.exists(columns["shard"])

    def _pack(self, block: Row, context: Context) -> Done:
        path = context.scratch / f"{block['id']}.parquet"
        try:
            counts = {"categories": {}, "licences": {}, "scores": {}}
            shape = self._write(path, _counted(_read(block, context), counts), context)
            _validate(path, shape, len(block["members"]))
            size, digest = path.stat().st_size, _sha256(path)
            name = f"{dataset.DATA}/{block['split']}-{block['index']:05d}-{digest[:12]}.parquet"
            context.store.upload(name, path)
        except OSError as error:  # a full disk, a store out of reach
            raise StageError("storage", f"{block['id']}: {error}", transient=True) from error
        finally:
            path.unlink(missing_ok=True)
        return Done(
            columns={
                "shard": name,
                "split": block["split"],
                "index": block["index"],
                "rows": len(block["members"]),
                "marks": marks(block["members"]),
                "bytes": size,
                "sha256": digest,
                "shape": [shape.views, shape.gaussians, shape.sh_coefficients],
                "float_type": shape.float_type,
                **counts,
            }
        )

    def _write(self, path: Path, entries: Iterator[tuple[Row, Views, Splat]], context: Context) -> dataset.Shape:
        """Write the shard, holding one row group at a time."""
        import pyarrow.parquet as parquet

        shape = writer = None
        rows, waiting = [], 0
        try:
            for row, views, splat in entries:
                if shape is None:
                    shape = dataset.Shape(len(views.colors), self.gaussians, splat.sh.shape[1], self.float_type)
                    settings = dataset.writer_settings(shape, self.compression)
                    writer = parquet.ParquetWriter(path, dataset.schema(shape), **settings)
                rows.append(row | _view_columns(row["id"], views, shape) | _splat_columns(row["id"], splat, shape))
                waiting += _bytes(rows[-1])
                if waiting >= self.row_group_bytes or len(rows) == self.row_group_rows:
                    writer.write_table(dataset.table(rows, shape))
                    rows, waiting = [], 0
            if shape is None:
                raise ValueError("a block without members was sent to be packed")
            if rows:
                writer.write_table(dataset.table(rows, shape))
        finally:
            if writer is not None:
                writer.close()  # after an exception too it looks valid; the caller then throws it away
        return shape


def marks(members: list[Row]) -> str:
    """Which rows are in a block, and with what content, in short: the driver holds it for every row."""
    named = (f"{member['keys']['ingest']} {member['id']}" for member in members)
    return " ".join(hashlib.blake2b(name.encode(), digest_size=8).hexdigest() for name in named)


def _read(block: Row, context: Context) -> Iterator[tuple[Row, Views, Splat]]:
    """A block's rows, without what their artifacts hold, and the artifacts."""
    for member in block["members"]:
        found = {stage: _outcome(member, stage, key, context) for stage, key in member["keys"].items() if key}
        for stage in REQUIRED:
            if stage not in found:
                raise StageError("missing_key", f"{member['id']}: no key of {stage} among {sorted(member['keys'])}")
        views = _artifact(member, "render", found["render"]["views"], Views.from_bytes, context)
        splat = _artifact(member, "fit", found["fit"]["splat"], Splat.from_ply, context)
        yield _row(member, found) | _vectors(member, found, context), views, splat


def _outcome(member: Row, stage: str, key: str, context: Context) -> Row:
    columns = context.outcomes.find(stage, key)
    if columns is None:
        detail = f"{member['id']}: the outcome of {stage} under {key} is gone; it will be worked again"
        raise StageError(MISSING_INPUT, detail, transient=True)
    return columns


def _artifact(member: Row, stage: str, name: str, parse: Any, context: Context) -> Any:
    try:
        return parse(context.store.read(name))
    except FileNotFoundError as error:
        raise StageError(MISSING_INPUT, f"{member['id']}: {name} is gone", transient=True) from error
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        context.outcomes.withdraw(stage, member["keys"][stage])  # damaged is as good as gone: it is made again
        raise StageError(MISSING_INPUT, f"{member['id']}: {name} cannot be read: {error}", transient=True) from error


def _row(member: Row, found: dict[str, Row]) -> Row:
    """The columns that do not come out of artifacts."""
    ingest, fit = found["ingest"], found["fit"]
    content_hash = ingest.get("content_hash")
    carried = {name: _json_value(value) for name, value in member.items() if name not in _OWN_COLUMNS}
    return {
        "id": member["id"],
        "group": _text(member.get("group")) or content_hash,
        "category": _text(member.get("category")),
        "source": _text(member.get("source")),
        "licence": _text(member.get("licence")) or _text(ingest.get("licence")),
        "content_hash": content_hash,
        "held_out": fit.get("held_out", []),
        "captions": _captions(found),
        "teacher": found.get("embed", {}).get("teacher"),
        "psnr": fit.get("psnr"),
        "psnr_foreground": fit.get("psnr_foreground"),
        "ssim": fit.get("ssim"),
        "warnings": _warnings(found),
        "keys": {stage: member["keys"].get(stage) for stage in dataset.STAGES},
        "metadata": _text(json.dumps(carried, sort_keys=True, ensure_ascii=False, default=str)),
    }


def _warnings(found: dict[str, Row]) -> list[str]:
    """Each once: a stage repeats what an earlier one said."""
    told = (warning for stage in dataset.STAGES for warning in found.get(stage, {}).get("warnings", []))
    return list(dict.fromkeys(told))


def _captions(found: dict[str, Row]) -> list[Row]:
    """With the teacher's scores, where it has read them."""
    captions = found.get("caption", {}).get("captions", [])
    scores = found.get("align", {}).get("caption_scores", [None] * len(captions))
    return [caption | {"score": score} for caption, score in zip(captions, scores, strict=True)]


def _vectors(member: Row, found: dict[str, Row], context: Context) -> Row:
    """The teacher's, as lists of float16 arrays; None where it has not run."""
    return {
        column: list(_artifact(member, stage, found[stage][column], from_bytes, context)) if stage in found else None
        for stage, column in (("embed", "view_vectors"), ("align", "caption_vectors"))
    }


def _text(value: Any) -> str | None:
    if _json_value(value) is None:
        return None
    return str(value).encode("utf-8", "backslashreplace").decode()  # a file name may hold bytes that are no UTF-8


def _json_value(value: Any) -> Any:
    """JSON has no NaN, which is how some source lists spell an empty field."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _view_columns(row_id: str, views: Views, shape: dataset.Shape) -> Row:
    if len(views.colors) != shape.views or len(views.depths) != shape.views:
        counts = f"{len(views.colors)} views and {len(views.depths)} depths"
        raise StageError("mixed_views", f"{row_id} has {counts}, its block {shape.views} of each")
    return {
        "views": views.colors,
        "depth": views.depths,
        "depth_scale": views.depth_scale,
        "intrinsics": views.intrinsics,
        "camera_to_world": views.camera_to_world,
        "normalization": views.normalization,
    }


def _splat_columns(row_id: str, splat: Splat, shape: dataset.Shape) -> Row:
    """The first Gaussians, padded to the shape's number and in its float type."""
    count, terms = min(len(splat), shape.gaussians), splat.sh.shape[1]
    if terms != shape.sh_coefficients:
        counts = f"{terms} SH coefficients a Gaussian"
        raise StageError("mixed_gaussians", f"{row_id} has {counts}, its block {shape.sh_coefficients}")
    row: Row = {"gaussian_count": count}
    for name, fill in _PADDING.items():
        real = np.asarray(getattr(splat, name))[:count]
        padded = np.empty((shape.gaussians, *real.shape[1:]), shape.float_type)
        with np.errstate(over="ignore"):  # looked for right below
            padded[:count] = real
        padded[count:] = fill
        if not np.isfinite(padded).all():
            raise StageError("not_finite", f"{row_id}: {name} of its splat is not finite in {shape.float_type}")
        row[name] = padded
    return row


def _counted(
    entries: Iterable[tuple[Row, Views, Splat]], counts: dict[str, dict[str, Any]]
) -> Iterator[tuple[Row, Views, Splat]]:
    """Pass rows on, counting what index and card tell."""
    for row, views, splat in entries:
        for column, into in (("category", counts["categories"]), ("licence", counts["licences"])):
            name = row[column] or ""
            into[name] = into.get(name, 0) + 1
        weak.count(counts["scores"], row["captions"])
        yield row, views, splat


def _bytes(row: Row) -> int:
    pictures = sum(len(png) for name in ("views", "depth") for png in row[name])
    return pictures + sum(value.nbytes for value in row.values() if isinstance(value, np.ndarray))


def _validate(path: Path, shape: dataset.Shape, rows: int) -> None:
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(path) as file:
        if file.metadata.num_rows != rows:
            raise OSError(f"the shard just written has {file.metadata.num_rows} rows of {rows}")
        written, meant = file.schema_arrow, dataset.schema(shape)
        if written != meant or written.metadata != meant.metadata:  # Parquet has its own names for items of lists
            raise OSError("the shard just written has other columns than the contract")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
