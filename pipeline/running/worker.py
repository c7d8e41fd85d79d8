"""The worker process: opens one stage, then works batches of rows and publishes the outcomes.

A supervisor starts it as `python -m pipeline.running.worker FD SCRATCH`. They send messages over file descriptor FD;
SCRATCH is a folder for temporary files.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from manifests.outcomes import Outcomes
from manifests.store import open_store
from manifests.text import message
from pipeline.planning.tasks import LostInputs, Result
from pipeline.running.messages import EXCEPTION, OPEN_FAILED, OUT_OF_MEMORY, BatchEnd, WorkerDied, WorkerSpec
from stages.contract.stage import (
    STORE_FAILED,
    Context,
    DamagedInput,
    Done,
    MissingInput,
    Outcome,
    Row,
    Stage,
    StageError,
    Work,
    record_of,
    store_error,
)

_SEND_SECONDS = 0.05  # results that come faster are sent together


def main() -> None:
    die_with_parent()
    _be_first_to_be_killed()
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver handles Ctrl-C
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    connection = Connection(descriptor)
    spec: WorkerSpec = connection.recv()
    scratch = Path(sys.argv[2])
    try:
        device = "cuda" if spec.gpus else "cpu"
        context = Context(open_store(spec.run), scratch, device, spec.threads)
        try:
            work = spec.stage.open(context)
        except Exception as error:  # libraries may raise anything; the driver must get it
            connection.send(WorkerDied(OPEN_FAILED, _describe(error)))
            return
        connection.send(BatchEnd())
        runner = StageRunner(spec.stage, context, work, spec.makers)
        while (rows := connection.recv()) is not None:
            runner.run(rows, connection.send)
            connection.send(BatchEnd())
    except (EOFError, BrokenPipeError):
        return  # the supervisor has ended


def die_with_parent() -> None:
    """Have this process killed when its parent ends."""
    parent = os.getppid()
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _be_first_to_be_killed() -> None:
    """Make the kernel choose this process, and not the driver, where a machine has no memory left."""
    Path("/proc/self/oom_score_adj").write_text("500")


def _describe(error: BaseException) -> str:
    """One line: the exception, and where it was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1:] if error.__traceback__ else []
    where = f" ({Path(last[0].filename).name}:{last[0].lineno})" if last else ""
    text = message(error, 400)
    return f"{type(error).__name__}{': ' if text else ''}{text}{where}"


class StageRunner:
    """Runs one stage: adds the columns that rows need, calls the stage's work, and publishes the outcomes."""

    def __init__(self, stage: Stage, context: Context, work: Work, makers: Sequence[Stage] = ()):
        self.stage = stage
        self.outcomes = Outcomes(context.store, {maker.name: maker for maker in (stage, *makers)})
        self.work = work

    def run(self, items: list[Row], send: Callable[[list[Result]], Any]) -> None:
        """Work a batch and send every result soon: a later crash does not affect results that were sent."""
        sent_at = 0.0
        unsent: list[Result] = []
        for result in self._results(items):
            unsent.append(result)
            if time.monotonic() - sent_at > _SEND_SECONDS:
                send(unsent)
                unsent, sent_at = [], time.monotonic()
        if unsent:
            send(unsent)

    def _results(self, items: list[Row]) -> Iterator[Result]:
        rows = []
        for item in items:
            try:
                found = self._recover(item)
                if found is None:
                    row, lost = self._complete(item)
                    if not lost:
                        rows.append(row)
                        continue
                    found = self._missing(item, lost)
                yield found
            except Exception as error:  # a client of an object store may raise any; the row fails, not the batch
                yield self._failure(item, _from_store(error))
        yield from self._work(rows)

    def _recover(self, item: Row) -> Result | None:
        """Find an existing outcome: of a worker whose record was lost, or of another row with the same content."""
        if "key" not in item:
            return None
        stored = self.outcomes.find_stored(self.stage.name, item["key"])
        if stored is None or not self.outcomes.has_artifact(stored):
            return None
        return Result(item["id"], item["key"], True, columns=stored.columns)

    def _complete(self, item: Row) -> tuple[Row, LostInputs]:
        """Add what the needed stages made of the row, or of each member of the block; return also what is gone."""
        if not self.stage.of_blocks:
            outcomes, missing = self._find_outcomes(item["needed"])
            row = dict(item)
            for columns in outcomes.values():
                row |= columns
            return row, {item["id"]: missing} if missing else {}
        members = []
        for member in item["members"]:  # a block does not read every artifact, so none is asked for here
            outcomes, missing = self._find_outcomes(member["needed"], with_artifacts=False)
            if missing:
                return item, self._lost_of_block(item)
            members.append({**member, "outcomes": outcomes})
        return item | {"members": members}, {}

    def _lost_of_block(self, block: Row) -> LostInputs:
        found = {member["id"]: self._find_outcomes(member["needed"])[1] for member in block["members"]}
        return {name: stages for name, stages in found.items() if stages}

    def _find_outcomes(
        self, needed: Mapping[str, str], with_artifacts: bool = True
    ) -> tuple[dict[str, Row], tuple[str, ...]]:
        """The outcomes under these keys, by stage, and the stages whose outcome or artifact is gone or damaged.

        The columns are those of the outcome and, for `read_input`, what is recorded of the artifact.
        """
        outcomes, missing = {}, []
        for stage, key in needed.items():
            stored = self.outcomes.find_stored(stage, key)
            if stored is None or with_artifacts and not self.outcomes.has_artifact(stored):
                missing.append(stage)
            else:
                recorded = {record_of(stored.column): stored.recorded} if stored.column else {}
                outcomes[stage] = stored.columns | recorded
        return outcomes, tuple(missing)

    def _work(self, rows: list[Row]) -> Iterator[Result]:
        """Run the stage. If it raises an exception, run the remaining rows one by one to find the row at fault."""
        left = {row["id"]: row for row in rows}
        begun = time.perf_counter()
        try:
            for name, outcome in self.work(rows) if rows else ():
                result = self._to_result(left[name], outcome, time.perf_counter() - begun)
                del left[name]
                yield result
                begun = time.perf_counter()
        except Exception as error:  # a bug in the stage or its libraries: the row fails with this exception
            if len(rows) == 1:
                traceback.print_exception(error)
                yield self._failure(rows[0], _from_bug(error))
                return
            for row in list(left.values()):
                yield from self._work([row])
            return
        for row in left.values():
            yield self._failure(
                row, StageError(EXCEPTION, f"the stage {self.stage.name} returned no outcome for this row")
            )

    def _to_result(self, row: Row, outcome: Outcome, seconds: float) -> Result:
        if isinstance(outcome, StageError):
            if isinstance(outcome, DamagedInput):
                for stage in outcome.stages:
                    self.outcomes.withdraw(stage, _needed_keys(row, outcome.member)[stage])
            failure = self._failure(row, outcome)
            if failure.lost and self.stage.of_blocks:  # what else is gone is made again at once
                return replace(failure, lost=failure.lost | self._lost_of_block(row))
            return failure
        key = row.get("key") or self.stage.key(row, (), outcome.content)
        try:
            columns = self._publish(key, outcome)
        except OSError as error:
            return self._failure(row, store_error(error))
        return Result(
            row["id"], key, True, columns=columns, files=outcome.files, content=outcome.content, seconds=seconds
        )

    def _publish(self, key: str, outcome: Done) -> dict[str, Any]:
        return self.outcomes.publish(
            self.stage.name,
            key,
            outcome.columns,
            outcome.artifact,
            self.stage.artifact,
            self.stage.suffix,
        )

    def _failure(self, row: Row, error: StageError) -> Result:
        return Result(
            row["id"],
            row["failure_key"],
            False,
            error.reason,
            error.detail,
            error.transient,
            files=error.files,
            lost={error.member or row["id"]: error.stages} if isinstance(error, MissingInput) else {},
        )

    def _missing(self, item: Row, lost: LostInputs) -> Result:
        first, stages = next(iter(lost.items()))
        error = MissingInput(*stages, member=first if self.stage.of_blocks else "")
        return replace(self._failure(item, error), lost=lost)


def _needed_keys(item: Row, member: str) -> dict[str, str]:
    """By stage, the keys of what was made of a row, or of one member of a block."""
    if not member:
        return item["needed"]
    return next(each["needed"] for each in item["members"] if each["id"] == member)


def _from_store(error: Exception) -> StageError:
    """The failure of a row whose outcomes could not be read."""
    if isinstance(error, OSError):
        return store_error(error)
    return _from_lack_of_memory(error) or StageError(STORE_FAILED, _describe(error), transient=True)


def _from_lack_of_memory(error: Exception) -> StageError | None:
    """The failure of a row that asked for more memory at once than there is, as it would again; else None."""
    short = next((each for each in _chain(error) if _is_out_of_memory(each)), None)
    if short is None:
        return None
    return StageError(OUT_OF_MEMORY, f"more memory was asked for than there is: {_describe(short)}")


def _from_bug(error: Exception) -> StageError:
    if (failure := _from_lack_of_memory(error)) is not None:
        return failure
    if isinstance(error, OSError) and error.errno is not None:  # from the system, not a library's error for bad data
        return store_error(error)
    return StageError(EXCEPTION, _describe(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and those that it was raised from."""
    following: BaseException | None = error
    while following is not None:
        yield following
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)


def _is_out_of_memory(error: BaseException) -> bool:
    """Also those of torch, which are no MemoryError; torch is not imported for it."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return isinstance(error, MemoryError) or "OutOfMemoryError" in names or "can't allocate memory" in str(error)


if __name__ == "__main__":
    main()
