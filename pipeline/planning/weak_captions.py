"""List the captions of a run that count as weak."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from manifests import dataset_index
from manifests.log import read_object
from manifests.records import OK
from manifests.weak import is_weak
from pipeline.planning.row_states import State
from pipeline.planning.run import Run
from stages.contract.stage import Stage


def list_weak(run: Run) -> list[dict[str, Any]]:
    """The captions that are weak according to the dataset's index, lowest score first."""
    index = dataset_index.read_index(run.store)
    if index is None or "weak_captions" not in index:
        return []
    texts_by_row = _column(run, "texts")
    scores_by_row = _column(run, "scores")
    ids, below = run.listing.ids, index["weak_captions"]["below"]
    rows = []
    for number, scores in scores_by_row.items():
        for text, score in zip(texts_by_row.get(number, []), scores, strict=False):
            if is_weak(text | {"score": score}, below):
                rows.append({"id": ids[number].as_py(), "kind": text["kind"], "score": score, "text": text["text"]})
    return sorted(rows, key=lambda row: (row["score"], row["id"]))


def why_none(run: Run) -> str:
    """Why no caption is listed as weak."""
    if any(step.stage.shown.scores for step in run.plan.steps.values()):
        return "No weak captions."
    return "No caption has a score: scores come from a teacher, which a build takes with --embed.model MODEL."


def _column(run: Run, shown: str) -> dict[int, list[Any]]:
    """By row, the column that a stage declares as its `texts` or `scores`."""
    return {
        number: outcome.get(getattr(step.stage.shown, shown), [])
        for step in run.plan.steps.values()
        if getattr(step.stage.shown, shown)
        for number, outcome in _outcomes(run, step.stage)
    }


def _outcomes(run: Run, stage: Stage) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each row that is ok at a stage, with the columns that the stage gave it."""
    latest = run.log.latest_of(stage.name, run.listing.ids, ("status", "columns"))
    states = run.plan.states[stage.name]
    batches = latest.records.to_batches(max_chunksize=10_000)  # all at once take gigabytes in a long run
    records = (record for batch in batches for record in batch.to_pylist())
    for number, record in zip(latest.rows.tolist(), records, strict=True):
        if states[number] == State.OK and record["status"] == OK:
            yield number, read_object(record["columns"])
