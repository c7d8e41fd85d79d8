"""Records: one for each row and stage that was worked, with its result. The log stores them as Parquet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypedDict

import pyarrow as pa

OK, FAILED = "ok", "failed"

_word = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("key", pa.string()),
        ("status", _word),  # ok | failed
        ("reason", _word),  # a snake_case word to count failures by, "" when ok
        ("transient", pa.bool_()),  # whether a failure is tried again without being asked for
        ("error", pa.string()),  # one line that explains the failure, "" when ok
        ("attempts", pa.int32()),  # over all builds, at this stage and key
        ("seconds", pa.float32()),
        ("worker", _word),
        ("columns", pa.string()),  # JSON of the columns that the stage added
        ("seen", pa.string()),  # JSON of the uri and the files that were read, ingest only
        ("content", pa.string()),  # content hash, ingest only
    ]
)


SeenFile = tuple[str, int | None, int | None]  # path, size and time; None: there was no such file


class Seen(TypedDict, total=False):
    """What an ingest saw of a row's source."""

    uri: str
    files: list[SeenFile]


@dataclass
class Record:
    id: str
    stage: str
    key: str
    status: str
    reason: str = ""
    transient: bool = False
    error: str = ""
    attempts: int = 1
    seconds: float = 0.0
    worker: str = ""
    columns: dict[str, Any] = field(default_factory=dict)
    seen: Seen = field(default_factory=Seen)
    content: str = ""
