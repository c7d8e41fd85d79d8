"""Which rows of a split are trained on, by small columns alone."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.splits import matches
from manifests.weak import is_weak
from stages.clip_gs.data.shards import Dataset, DatasetError, Group
from stages.clip_gs.settings import Data
from stages.common.models import same_model
from stages.common.prefetch import prefetch

logger = logging.getLogger(__name__)

SCORES = ("captions.list.element.kind", "captions.list.element.score")  # null where no teacher has read them
_GROUPS_AT_ONCE = 8
_OWN = {"id", "group", "category", "source", "licence"}  # columns that `metadata` does not repeat

Rule = Mapping[str, str]


@dataclass(frozen=True)
class Selection:
    groups: list[Group]
    kept: list[np.ndarray]  # of each group, its rows that are trained on
    left_out: dict[str, int]  # why, and how many rows
    captions: int  # the most that a row has
    kinds: dict[str, int]  # of each kind of caption, how many the rows that are trained on have to draw from
    unmet: Sequence[Rule]  # of `data.without`, that no row matches

    @property
    def rows(self) -> int:
        return sum(map(len, self.kept))

    @property
    def left_out_summary(self) -> str:
        return ", ".join(f"{rows} {why}" for why, rows in self.left_out.items())

    @property
    def captions_summary(self) -> str:
        """From what an object's text is drawn at each step."""
        counts = ", ".join(f"{count:,} {kind}" for kind, count in self.kinds.items())
        return f"At each step an object's text is one of its captions, all equally likely: {counts}."

    def warn(self, split: str) -> None:
        for rule in self.unmet:
            logger.warning("data.without: no row of split %r matches %s", split, dict(rule))
        if self.left_out:
            logger.warning("split %r: %d rows to train on; left out: %s", split, self.rows, self.left_out_summary)


def select_rows(dataset: Dataset, data: Data) -> Selection:
    groups = dataset.groups(data.split)
    named = {name for rule in data.without for name in rule}
    below = weak_below(dataset, data)
    columns = ["teacher", *SCORES, *sorted(named & _OWN), *(["metadata"] if named - _OWN else [])]
    kept, reasons, kinds, teachers, met, captions = [], Counter[str](), Counter[str](), set[str](), set[int](), 1
    for table in prefetch(lambda group: dataset.read(group, columns), groups, _GROUPS_AT_ONCE):
        why, rules = _left_out(table, data.without, below)
        kept.append(np.flatnonzero([not reason for reason in why]))
        drawn_from = (caption for row in table["captions"].take(kept[-1]).to_pylist() for caption in row)
        kinds.update(caption["kind"] for caption in drawn_from if not is_weak(caption, below))
        reasons.update(reason for reason in why if reason)
        captions = max(captions, pc.max(pc.list_value_length(table["captions"])).as_py() or 1)
        teachers |= set(table["teacher"].drop_null().to_pylist())
        met |= rules
    if any(not same_model(teacher, other) for teacher, other in pairwise(teachers)):
        raise DatasetError(
            f"{dataset.place}: split {data.split!r} has vectors of several teachers ({', '.join(sorted(teachers))}); "
            "build it again with one --embed.model"
        )
    unmet = [rule for number, rule in enumerate(data.without) if number not in met]
    return Selection(groups, kept, dict(reasons), captions, dict(kinds), unmet)


def weak_below(dataset: Dataset, data: Data) -> Mapping[str, float]:
    """Scores below which captions are not seen, by kind."""
    return dataset.weak_below if data.weak_captions == "skip" else {}


def _left_out(table: pa.Table, rules: Sequence[Rule], below: Mapping[str, float]) -> tuple[list[str], set[int]]:
    """Of each row why it is left out, "" where it is not; and which rules any row matches."""
    why, met = [], set()
    for row in table.to_pylist():
        teacher, captions = row["teacher"], row["captions"]
        known = {**json.loads(row.get("metadata") or "{}"), **row}
        matched = {number for number, rule in enumerate(rules) if matches(rule, known)}
        met |= matched
        if matched:
            why.append("named by data.without")
        elif not captions:
            why.append("without captions")
        elif teacher is None or captions[0]["score"] is None:
            why.append("without vectors")
        elif all(is_weak(caption, below) for caption in captions):
            why.append("with weak captions alone")
        else:
            why.append("")
    return why, met
