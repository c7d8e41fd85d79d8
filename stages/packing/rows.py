"""Make a row of the dataset from what the source list says and from what each stage made."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from manifests import dataset
from manifests.store import Store
from manifests.text import messages
from stages.contract.stage import DamagedInput, Member, ReadArtifact, Row, Stage, StageError, read_input

_TEXTS = ("group", "category", "source", "licence")
_OWN_COLUMNS = {"id", "keys", "group", "category", "source", "licence", "split"}


@dataclass(frozen=True)
class RowStage:
    """A stage of rows: its name, its class, and whether a row must have come through it to be packed."""

    name: str
    kind: type[Stage]
    required: bool


def row_of(member: Member, stages: Sequence[RowStage], store: Store) -> Row:
    """What the source list says of a row, and on top of it what each stage gave."""
    source = member["source"]
    carried = {name: _json_value(value) for name, value in source.items() if name not in _OWN_COLUMNS}
    row: Row = {
        "id": member["id"],
        **{name: _text(source.get(name)) for name in _TEXTS},
        "warnings": [],
        "keys": {stage.name: member["needed"].get(stage.name) for stage in stages},
        "metadata": _text(json.dumps(carried, sort_keys=True, ensure_ascii=False, default=str)),
    }
    for stage in stages:
        if stage.name in member["needed"]:
            row |= _entry(member, stage, store, row)
            row["warnings"] += messages(member["outcomes"][stage.name].get("warnings"))
        elif stage.required:
            raise StageError("missing_key", f"{member['id']}: no key of {stage.name} among {sorted(member['needed'])}")
        else:
            row |= {column.name: column.missing for column in stage.kind.columns}
    row["warnings"] = messages(row["warnings"])  # once each: a stage repeats what an earlier one said
    return row | {name: _text(row[name]) for name in _TEXTS}  # a stage may have given group and licence


def _entry(member: Member, stage: RowStage, store: Store, row: Row) -> Row:
    """What a stage gives the row. An outcome with columns of wrong types is damaged."""
    try:
        return stage.kind.entry(member["outcomes"][stage.name], _artifact_of(member, stage, store), row)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise DamagedInput(stage.name, f"{type(error).__name__}: {error}", member["id"]) from error


def _artifact_of(member: Member, stage: RowStage, store: Store) -> ReadArtifact:
    def read(parse: Any) -> Any:
        return read_input(store, member["outcomes"][stage.name], stage.kind.artifact, stage.name, parse, member["id"])

    return read


def _text(value: Any) -> str | None:
    if _json_value(value) is None:
        return None
    return str(value).encode("utf-8", "backslashreplace").decode()  # a file name may have bytes that are not UTF-8


def _json_value(value: Any) -> Any:
    """JSON has no NaN, which some source lists write for an empty field, and no infinity."""
    if isinstance(value, dict):
        return {name: _json_value(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_json_value(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def fitted_to(contract: dataset.Contract, row: Row) -> Row:
    """The row as its shard has it: the first Gaussians, padded to the shape's number and in its float type."""
    shape, row_id = contract.shape, row["id"]
    if len(row["views"]) != shape.views or len(row["depth"]) != shape.views:
        counts = f"{len(row['views'])} views and {len(row['depth'])} depths"
        raise StageError("mixed_views", f"{row_id} has {counts}, its block {shape.views} of each")
    if row["sh"].shape[1] != shape.sh_coefficients:
        counts = f"{row['sh'].shape[1]} SH coefficients a Gaussian"
        raise StageError("mixed_gaussians", f"{row_id} has {counts}, its block {shape.sh_coefficients}")
    count = min(row["gaussian_count"], shape.gaussians)
    padded = {
        column.name: _padded(row[column.name][:count], column.padding, shape)
        for column in contract.columns
        if column.padding is not None
    }
    for name, values in padded.items():
        if not np.isfinite(values).all():
            raise StageError("not_finite", f"{row_id}: {name} of its splat is not finite in {shape.float_type}")
    fitted = row | {"gaussian_count": count} | padded
    if (misfit := contract.misfit(fitted)) is not None:
        column, why = misfit
        raise DamagedInput(contract.giver(column), f"{column}: {why}", row_id)
    return fitted


def _padded(real: np.ndarray, padding: Any, shape: dataset.Shape) -> np.ndarray:
    values = np.empty((shape.gaussians, *real.shape[1:]), shape.float_type)
    with np.errstate(over="ignore"):  # the caller looks for what became infinite
        values[: len(real)] = real
    values[len(real) :] = padding
    return values
