"""What a build would change in a run: its rows, its settings, and the work that is done again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from manifests.listing import RowChanges
from pipeline.command_line.counted import counted
from pipeline.planning.counting import count_rows
from pipeline.planning.plan import Plan
from pipeline.planning.row_states import State
from pipeline.recipe import Recipe

_MOST_WITHDRAWN = 0.1  # of the rows, without being asked
_LISTED = 12  # settings that are named


@dataclass(frozen=True)
class Work:
    """How many rows a stage has to work, and how many of them it had finished with earlier settings or files."""

    todo: int
    again: int


@dataclass(frozen=True)
class Changes:
    rows: RowChanges | None = None  # None: the rows are those last listed
    source: tuple[str, str] | None = None  # another source than the last: before, now
    settings: list[str] = field(default_factory=list)
    work: dict[str, Work] = field(default_factory=dict)  # by stage

    def lines(self) -> Iterator[str]:
        """Sentences for a person, of what is not as it was."""
        rows = self.rows
        if rows and not rows.before:
            yield f"Rows: {rows.added}, all of them new"
        elif rows and (rows.added or rows.withdrawn or rows.changed):
            yield (
                f"Rows: {rows.before} were listed; {rows.added} added, {rows.withdrawn} withdrawn, "
                f"{rows.changed} changed"
            )
        if self.settings:
            more = len(self.settings) - _LISTED
            yield f"Settings: {', '.join(self.settings[:_LISTED])}" + (f", and {more} more" if more > 0 else "")
        todo = {stage: work for stage, work in self.work.items() if work.todo}
        if todo:
            yield "To do: " + ", ".join(
                f"{stage} {work.todo}" + (f" ({work.again} again)" if work.again else "")
                for stage, work in todo.items()
            )

    def fields(self) -> dict[str, Any]:
        """The same for a program."""
        return {
            "rows": None if self.rows is None else asdict(self.rows),
            "settings": self.settings,
            "work": {stage: asdict(work) for stage, work in self.work.items()},
        }

    def refusal(self, run: str) -> str:
        """Why this needs --yes; empty where it does not."""
        rows = self.rows
        if rows is None or not rows.before:
            return ""
        head = f"--run {run} has {counted(rows.before, 'row')}"
        end = "compare --run and --source, or confirm with --yes"
        numbers = f"{rows.withdrawn} would be withdrawn, {rows.added} added"
        if self.source and (rows.added or rows.withdrawn):
            return f"{head} of {self.source[0]}, and this build takes {self.source[1]}: {numbers}; {end}"
        if rows.withdrawn > _MOST_WITHDRAWN * rows.before:
            return f"{head}: {numbers}; {end}"
        return ""


def changed_settings(before: Recipe, now: Recipe, asked: Recipe) -> list[str]:
    """Each setting that decides what the dataset contains and differs: `fit.steps 300 (was 600)`.

    `now` is resolved, `asked` may say `auto`, which is shown where only the workers' machines can decide it.
    """
    old, new, given = (
        dict(_leaves(recipe.model_dump(mode="json", exclude={"schedule"}))) for recipe in (before, now, asked)
    )
    return [
        f"{path} {'auto' if given.get(path) == 'auto' else new.get(path, 'left out')} (was {old.get(path, 'left out')})"
        for path in dict.fromkeys([*old, *new])
        if old.get(path) != new.get(path)
    ]


def _leaves(settings: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{name}.")
        elif value is not None:
            yield f"{path}{name}", value


def count_work(plan: Plan, before: Plan | None) -> dict[str, Work]:
    """By stage; `before` is the plan with the settings and rows of the last build."""
    finished = {} if before is None else {name: _finished(before, name) for name in before.steps}
    ids = plan.listing.ids.to_pylist()
    found = {}
    for name, figures in count_rows(plan).items():
        if name in plan.steps:
            todo = np.flatnonzero(plan.states[name] == State.TODO).tolist()
            again = sum(ids[row] in finished.get(name, ()) for row in todo)
            found[name] = Work(figures["todo"], min(again, figures["todo"]))
    return found


def _finished(plan: Plan, stage: str) -> set[str]:
    ids = plan.listing.ids.to_pylist()
    return {ids[row] for row in np.flatnonzero(plan.states[stage] == State.OK).tolist()}
