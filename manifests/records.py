"""Records: what became of a row at a stage. Columnar from the buffer to the fold, a million rows at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

OK, FAILED = "ok", "failed"

_word = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("key", pa.string()),
        ("status", _word),  # ok | failed
        ("reason", _word),  # a word to count failures by, "" when ok
        ("transient", pa.bool_()),  # whether the failure is worth another try by itself
        ("error", pa.string()),  # a line for a person, "" when ok
        ("attempts", pa.int32()),  # over the row's lifetime at this stage and key
        ("seconds", pa.float32()),
        ("worker", _word),
        ("columns", pa.string()),  # JSON of the columns added
        ("seen", pa.string()),  # JSON of the uri and the files looked at, ingest only
        ("content", pa.string()),  # content hash, ingest only
    ]
)


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
    seen: dict[str, Any] = field(default_factory=dict)
    content: str = ""
