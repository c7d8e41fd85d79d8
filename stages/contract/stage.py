"""What a stage is: a typed, immutable configuration that opens into a function from rows to outcomes."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NotRequired, TypedDict, TypeVar

from pydantic import BaseModel, ConfigDict

from manifests.forms import check_form
from manifests.outcomes import Recorded, is_artifact
from manifests.store import Store
from manifests.text import message
from stages.contract.schedule import Schedule
from stages.contract.shown import Shown

if TYPE_CHECKING:
    from manifests.dataset import Column  # which imports numpy and Arrow: a worker should start fast
    from manifests.records import SeenFile

Row = dict[str, Any]
RowId = str
Parsed = TypeVar("Parsed")

# Reasons that belong to no one stage.
MISSING_INPUT = "missing_input"  # what an earlier stage made is gone: it is made again
DAMAGED = "damaged"  # `verify` found that what it made is damaged or gone: the next build makes it again
DISK_FULL = "disk_full"
STORE_FAILED = "store_failed"  # it could not be read, or what was made could not be stored


@dataclass(frozen=True)
class Reason:
    """Why a stage may refuse a row."""

    word: str  # to count by
    meaning: str  # what happened
    remedy: str  # what to do about it
    transient: bool = False  # whether the next build tries again without being asked to


class StageError(Exception):
    """One row could not be worked. `reason` is a short snake_case word to count by, `detail` a line for a person.

    The detail may quote a file: it is made one line without control characters and credentials, of bounded length.
    A transient failure (lost worker, full disk) is tried again; any other is left alone until asked for.
    """

    def __init__(self, reason: str, detail: str, *, transient: bool = False, files: Sequence[SeenFile] = ()):
        self.reason = reason
        self.detail = message(detail)
        super().__init__(self.detail)
        self.transient = transient
        self.files = list(files)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore_error, (self.reason, self.detail, self.transient, self.files)


def _restore_error(reason: str, detail: str, transient: bool, files: list[SeenFile]) -> StageError:
    return StageError(reason, detail, transient=transient, files=files)


class MissingInput(StageError):
    """What earlier stages made is gone: these stages are run again, then this one.

    A stage that works blocks also says which member of the block it is about.
    """

    def __init__(self, *stages: str, why: object = "gone", member: RowId = ""):
        about = f"{member}: " if member else ""
        super().__init__(MISSING_INPUT, f"{about}what {', '.join(stages)} made: {why}", transient=True)
        self.stages = stages
        self.member = member


class DamagedInput(MissingInput):
    """What an earlier stage made cannot be read: the worker deletes its outcome, so that it is made again."""

    def __init__(self, stage: str, why: object, member: RowId = ""):
        super().__init__(stage, why=why, member=member)


def store_error(error: OSError, what: str = "") -> StageError:
    """Return the failure of a row whose input could not be read, or whose outcome could not be written."""
    reason = DISK_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else STORE_FAILED
    line = f"{type(error).__name__}: {error}"
    return StageError(reason, f"{what}: {line}" if what else line, transient=True)


def record_of(column: str) -> str:
    """Where a row has the size and checksum of the artifact that a column names; no column's name has a dot."""
    return f"{column}.recorded"


def read_input(
    store: Store, row: Row, column: str, stage: str, parse: Callable[[bytes], Parsed], member: RowId = ""
) -> Parsed:
    """Read and parse the artifact of an earlier stage that a column names, of this row or of a member of this block.

    `parse` raises a ValueError where the artifact is damaged.
    """
    name = row[column]
    try:
        data = store.read(name)
    except FileNotFoundError as error:
        raise MissingInput(stage, member=member) from error
    except OSError as error:
        raise store_error(error, name) from error
    recorded: Recorded | None = row.get(record_of(column))
    try:
        if recorded:
            recorded.check(data, name)
        return parse(data)
    except ValueError as error:
        raise DamagedInput(stage, error, member) from error


class Member(TypedDict):
    """A row of a block, as a stage that works blocks gets it."""

    id: RowId
    source: Row  # what the source list says of it
    needed: dict[str, str]  # by stage that it came through: the key
    outcomes: NotRequired[dict[str, Row]]  # by the same stages: the columns; the worker adds them


@dataclass(frozen=True)
class Done:
    """The result for one row: the columns that it gets, and the bytes of its artifact if the stage makes one.

    The worker publishes the artifact and puts its name in the column that `Stage.artifact` names. Only a stage that is
    keyed by content gives `content`, the hash its key is made of, and `files`, those it read.
    """

    columns: Row = field(default_factory=dict)
    artifact: bytes | None = None
    content: str = ""
    files: list[SeenFile] = field(default_factory=list)


Outcome = Done | StageError
Work = Callable[[list[Row]], Iterator[tuple[RowId, Outcome]]]
ReadArtifact = Callable[[Callable[[bytes], Any]], Any]  # artifact(parse) reads the artifact and parses it


@dataclass(frozen=True)
class Context:
    """What a stage gets from the worker that opens it."""

    store: Store  # the run folder: `store.read(row["views"])` reads an artifact
    scratch: Path  # a local folder of this worker, removed when it ends
    device: str = "cpu"  # "cpu" or "cuda"
    threads: int = 1


class Stage(BaseModel):
    """The fields of a subclass are its whole configuration; a changed field gives other keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    version: ClassVar[int] = 1  # raised when the code changes what it produces
    needs: ClassVar[tuple[str, ...]] = ()  # stages whose columns it reads
    reads: ClassVar[tuple[str, ...]] = ()  # columns of the source list that it reads
    artifact: ClassVar[str] = ""  # the column that refers to its artifact, "" if it has none
    suffix: ClassVar[str] = ""  # the artifact's file name ending
    limits: ClassVar[tuple[str, ...]] = ()  # fields that refuse rows and change nothing of those they let through
    unkeyed: ClassVar[tuple[str, ...]] = ()  # fields that change nothing of what it makes
    keyed_by_content: ClassVar[bool] = False  # its key is made of the content, so known once that is read
    gpu_field: ClassVar[str] = "engine"  # the field that says whether its workers take GPUs
    environment: ClassVar[dict[str, str]] = {}  # set before the worker's interpreter starts
    outcome: ClassVar[Any] = dict[str, Any]  # a TypedDict of its outcomes' columns; one of another form is damaged
    opens_sources: ClassVar[bool] = False  # whether its workers open what the source list names
    columns: ClassVar[tuple[Column, ...]] = ()  # those that it gives the dataset
    reasons: ClassVar[tuple[Reason, ...]] = ()  # every reason that it may give
    default_schedule: ClassVar[Schedule] = Schedule()
    shown: ClassVar[Shown] = Shown()  # what status, sheet and a build's summary show of it besides counts
    of_blocks: ClassVar[bool] = False  # whether it works blocks of settled rows instead of rows

    @cached_property
    def name(self) -> str:
        return type(self).__name__.lower()

    @property
    def also_reads(self) -> tuple[str, ...]:
        """Columns of the source list that it reads besides `reads`, as its settings have it."""
        return ()

    @property
    def secrets(self) -> tuple[str, ...]:
        """Environment variables with credentials that its workers need, besides those for the run and the sources."""
        return ()

    @property
    def may_need(self) -> tuple[str, ...]:
        """Stages whose columns it also reads, where the recipe has them."""
        return ()

    @property
    def on_gpu(self) -> bool:
        """Whether its workers work on a GPU; known once `auto` is resolved."""
        return False

    @classmethod
    def schedule_for(cls, settings: Any) -> Schedule:
        """The default schedule with these settings: a mapping as the recipe gives it, a stage, or None."""
        return cls.default_schedule

    def resolve(self, gpus: float, before: Stage | None = None, earlier: Mapping[str, Stage] | None = None) -> Stage:
        """This stage with every `auto` made definite, given how many GPUs its workers may have.

        `before` is this stage as resolved by the run's last build, so that a resume on another machine changes no key.
        `earlier` are the recipe's stages before it, resolved.
        """
        return self

    def open(self, context: Context) -> Work:
        raise NotImplementedError(f"{type(self).__name__} does not say how it works")

    @classmethod
    def entry(cls, outcome: Row, artifact: ReadArtifact, row: Row) -> Row:
        """The values of its columns in the dataset, from its outcome and its artifact.

        `row` has what the source list and earlier stages gave; what is returned replaces values of the same name.
        """
        return {column.name: outcome.get(column.name, column.missing) for column in cls.columns}

    def check_outcome(self, key: str, columns: Row) -> None:
        """Raise ValueError if these cannot be the columns of its outcome under this key."""
        check_form(self.outcome, columns)
        if self.artifact and not is_artifact(str(columns.get(self.artifact)), self.name, key, self.suffix):
            raise ValueError(f"{self.artifact}: {columns.get(self.artifact)!r} is not the name of its artifact")

    def check_artifact(self, data: bytes) -> None:
        """Raise ValueError if this is not an artifact of this stage."""

    def recorded(self, columns: Row) -> Recorded | None:
        """What the columns of an outcome themselves say of its artifact's size and checksum."""
        return None

    def settings(self, with_limits: bool = False) -> Row:
        """The fields that its outcomes depend on, which enter keys and the dataset's card.

        `with_limits`: also those that only refuse rows, which enter the key of a failure.
        """
        return self.model_dump(mode="json", exclude={*self.unkeyed, *(() if with_limits else self.limits)})

    def values_in_key(self, row: Row) -> list[Any]:
        """The values of the source list's columns that enter a row's key."""
        return [row.get(column) for column in (*self.reads, *self.also_reads)]

    @cached_property
    def _identities(self) -> tuple[str, str]:
        """The part of a key that does not depend on the row: of an outcome, and of a failure."""
        outcome, failure = (
            json.dumps([self.name, self.version, self.settings(with_limits)], sort_keys=True)
            for with_limits in (False, True)
        )
        return outcome, failure

    def key(self, row: Row, needed: Sequence[str] = (), content: str = "", failed: bool = False) -> str:
        """The name of this row's outcome: same stage, settings and inputs, same key."""
        text = json.dumps(
            [self._identities[failed], list(needed), self.values_in_key(row), content], sort_keys=True, default=str
        )
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def each(work_one: Callable[[Row], Done]) -> Work:
    """Make work of a function that takes one row. A StageError is that row's outcome; other exceptions are bugs."""

    def work(rows: list[Row]) -> Iterator[tuple[RowId, Outcome]]:
        for row in rows:
            try:
                yield row["id"], work_one(row)
            except StageError as error:
                yield row["id"], error

    return work


def seed_of(row: Row) -> int:
    """The random seed of this row at this stage, the same on every machine."""
    return int(row["key"][:8], 16)
