"""Pack a block of settled rows into one Parquet shard.

in (a block): split, index, marks (a hash of each member's id and content), members: each with what the source list says
    and the outcomes of its stages, which say by `Stage.entry` what they give a row of the dataset
out: shard, split, index, rows, marks, bytes, sha256, shape, float_type, categories, licences, scores (of captions,
    counted by kind), figures (their values, by column)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, PrivateAttr

from manifests import dataset, weak
from manifests.distribution import as_text
from manifests.outcomes import Recorded
from manifests.shards import Shard, check_shard
from stages.contract.schedule import Schedule
from stages.contract.shown import Figure
from stages.contract.stage import Context, Done, Member, Reason, Row, Stage, Work, each, store_error
from stages.fit import Fit
from stages.packing.rows import RowStage, fitted_to, row_of
from stages.packing.shard_file import ShardFile, sha256_of, validate

# Digest of the first contract. Keys of its shards do not contain it, since older versions did not know of contracts.
_FIRST_CONTRACT = "3231bee3609463ef"


class Pack(Stage):
    """Write a block of rows as a shard of the dataset, under a name made from its content."""

    version: ClassVar[int] = 3  # 3: a warning once; more of the source list in `metadata`; surplus Gaussians cut
    artifact: ClassVar[str] = "shard"
    unkeyed: ClassVar[tuple[str, ...]] = ("weak_percent",)
    outcome: ClassVar[Any] = Shard
    reasons: ClassVar[tuple[Reason, ...]] = (
        Reason("missing_key", "a row did not come through ingest, render and fit", "report it"),
        Reason(
            "mixed_views",
            "a row has another number of views than the first of its block",
            "report it",
        ),
        Reason(
            "mixed_gaussians",
            "a row's Gaussians have another number of harmonics than the first of its block",
            "report it",
        ),
        Reason(
            "not_finite",
            "a splat has a number that is infinite or NaN in `pack.float_type`",
            "set `pack.float_type` to float32",
        ),
    )
    default_schedule: ClassVar[Schedule] = Schedule(cpus=0.5, batch=1, workers=4, timeout_seconds=600)
    of_blocks: ClassVar[bool] = True

    gaussians: int | None = Field(None, ge=0)
    """Number of Gaussians of each row, N: the first N are taken, fewer are padded. Default: `fit.gaussians`."""
    float_type: Literal["float32", "float16"] = "float32"
    """Type of the Gaussians' numbers."""
    compression: Literal["zstd", "snappy", "none"] = "zstd"
    """Compression of all columns except the pictures, which are PNGs already."""
    row_group_bytes: int = Field(100_000_000, ge=1, le=1_000_000_000)
    """Uncompressed bytes after which a row group is closed; this bounds the memory of a worker."""
    row_group_rows: int | None = Field(None, ge=1)
    """Rows after which a row group is closed, where that comes first."""
    weak_percent: float = Field(10.0, ge=0, le=100)
    """Percentage of the captions of each kind that are marked as weak: those with the lowest scores. All are kept."""

    _stages: tuple[RowStage, ...] = PrivateAttr(())

    def over(self, stages: Iterable[RowStage]) -> Pack:
        """This stage for the columns of these stages: all stages of rows in order, also those a recipe leaves out."""
        pack = self.model_copy()
        pack._stages = tuple(stages)
        return pack

    def contract(self, shape: dataset.Shape) -> dataset.Contract:
        return dataset.Contract(shape, {stage.name: stage.kind.columns for stage in self._stages})

    @property
    def contract_mark(self) -> str:
        """The part of a shard's key that depends on the columns of the dataset; "" for the first contract."""
        digest = self.contract(dataset.Shape(1, 1, 1)).digest()
        return "" if digest == _FIRST_CONTRACT else digest

    def key(self, row: Row, needed: Sequence[str] = (), content: str = "", failed: bool = False) -> str:
        return super().key(row, needed, content + self.contract_mark, failed)

    def resolve(self, gpus: float, before: Stage | None = None, earlier: Mapping[str, Stage] | None = None) -> Pack:
        fit = (earlier or {}).get("fit")
        if self.gaussians or not isinstance(fit, Fit):
            return self
        return self.model_copy(update={"gaussians": fit.gaussians})

    def check_outcome(self, key: str, columns: Row) -> None:
        check_shard(columns)

    def recorded(self, columns: Row) -> Recorded:
        return Recorded(columns["bytes"], columns["sha256"])

    def open(self, context: Context) -> Work:
        if self.gaussians is None:
            raise ValueError("pack.gaussians is not set: expected the number of Gaussians that fit writes")
        return each(lambda block: Done({**self._pack(block, context)}))

    def _pack(self, block: Row, context: Context) -> Shard:
        members: list[Member] = block["members"]
        path = context.scratch / f"{block['id']}.parquet"
        counts = _Counts([figure for stage in self._stages for figure in stage.kind.shown.figures])
        try:
            rows = (row_of(member, self._stages, context.store) for member in members)
            contract = self._write(path, rows, counts)
            validate(path, contract, len(members))
            size, digest = path.stat().st_size, sha256_of(path)
            name = f"{dataset.DATA}/{block['split']}-{block['index']:05d}-{digest[:12]}.parquet"
            context.store.upload(name, path)
        except OSError as error:  # a full disk, or a store that cannot be reached
            raise store_error(error, block["id"]) from error
        finally:
            path.unlink(missing_ok=True)
        shape = contract.shape
        shard: Shard = {
            "shard": name,
            "split": block["split"],
            "index": block["index"],
            "rows": len(members),
            "marks": block["marks"],
            "bytes": size,
            "sha256": digest,
            "shape": [shape.views, shape.gaussians, shape.sh_coefficients],
            "float_type": shape.float_type,
            "categories": counts.categories,
            "licences": counts.licences,
            "scores": counts.scores,
            "figures": {column: as_text(values) for column, values in counts.values.items()},
        }
        if self.contract_mark:
            shard["contract"] = self.contract_mark
        return shard

    def _write(self, path: Path, rows: Iterator[Row], counts: _Counts) -> dataset.Contract:
        """Write the shard; its first row decides the shape."""
        first = next(rows, None)
        if first is None or self.gaussians is None:
            raise ValueError("a block without members was sent to be packed")
        contract = self.contract(
            dataset.Shape(len(first["views"]), self.gaussians, first["sh"].shape[1], self.float_type)
        )
        with ShardFile(path, contract, self.compression, self.row_group_bytes, self.row_group_rows) as file:
            file.write(counts.count(fitted_to(contract, row) for row in chain([first], rows)))
        return contract


@dataclass
class _Counts:
    """What index and card list of a shard's rows."""

    figures: Sequence[Figure]
    categories: dict[str, int] = field(default_factory=dict)
    licences: dict[str, int] = field(default_factory=dict)
    scores: weak.Counts = field(default_factory=dict)
    values: dict[str, list[float]] = field(default_factory=dict)  # of figures, by column

    def count(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Pass rows on, and count them."""
        for row in rows:
            for column, counts in (("category", self.categories), ("licence", self.licences)):
                name = row[column] or ""
                counts[name] = counts.get(name, 0) + 1
            weak.count(self.scores, row["captions"])
            for figure in self.figures:
                if (value := figure.value(row)) is not None:
                    self.values.setdefault(figure.column, []).append(value)
            yield row
