"""What a build did, for its summary and its exit code."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from manifests.shards import DatasetIndex
from pipeline.planning.figures import Figures
from pipeline.planning.tasks import Result
from stages.contract.shown import Choice, Figure
from stages.contract.stage import Stage

_OBJECTS = 3  # whose texts the summary shows


@dataclass
class Report:
    figures: Figures = field(default_factory=dict)
    seconds: float = 0.0
    rows: int = 0  # without duplicates
    lost: int = 0  # rows that are not in the dataset because a stage failed
    unfinished: int = 0  # rows and shards that could not be finished: their inputs are gone, or packing failed
    stopped_by: int = 0  # the number of a signal, 0 for none
    index: DatasetIndex | None = None
    worked: Counter[str] = field(default_factory=Counter)  # results by stage, in this build
    stage_seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    values: dict[Figure, list[float]] = field(default_factory=lambda: defaultdict(list))  # of rows of this build
    choices: dict[Choice, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))  # of the same rows
    texts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # of the first objects, by id
    details: dict[tuple[str, str], str] = field(default_factory=dict)  # by stage and reason: of the last failure

    def note(self, stage: Stage, result: Result) -> None:
        self.worked[stage.name] += 1
        self.stage_seconds[stage.name] += result.seconds
        if not result.ok:
            self.details[stage.name, result.reason] = result.detail
        shown, columns = stage.shown, result.columns
        for figure in shown.figures:
            if (value := figure.value(columns)) is not None:
                self.values[figure].append(value)
        if shown.choice:
            shown.choice.count(columns, self.choices[shown.choice])
        if columns.get(shown.texts) and len(self.texts) < _OBJECTS:
            self.texts[result.id] = columns[shown.texts]
        if shown.scores in columns and result.id in self.texts:
            pairs = zip(self.texts[result.id], columns[shown.scores], strict=True)
            self.texts[result.id] = [text | {"score": score} for text, score in pairs]
