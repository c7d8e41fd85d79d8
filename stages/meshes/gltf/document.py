"""Parse the JSON of glTF in bounded memory, and find the entries of its lists and the bytes of its data URIs."""

from __future__ import annotations

import json
import re
from typing import Any

from stages.contract.stage import StageError
from stages.meshes import references
from stages.meshes.gltf.fields import Fields, wrong

# Python takes about a hundred bytes for each value, and four for each character where one is beyond the first plane
_MOST_BYTES = 64 << 20  # of JSON without its data URIs
_MOST_VALUES = 4_000_000
_MOST_DATA_URIS = 100_000
_DATA_URI = re.compile(rb'(?<!\\)"data:(?:[^"\\]++|\\.)*+"', re.IGNORECASE | re.DOTALL)


class Document(Fields):
    """A glTF document. Its lists have entries, which other entries refer to by their numbers."""

    __slots__ = ("_data_uris", "_decoded", "_lists")

    def __init__(self, text: bytes, name: str):
        self._data_uris: list[bytes] = []
        self._decoded: dict[int, bytes] = {}  # by number
        super().__init__(self._parsed(text, name), f"{name}: ")
        self._lists: dict[str, list[Any]] = {}  # of values, which become fields when they are first asked for
        asset = self.inner("asset", required=True)
        if "version" in asset and asset.shown("version").strip("'").split(".")[0] != "2":
            raise StageError("unsupported", f"{name} is glTF {asset.shown('version')}; only version 2 is read")

    def count(self, field: str) -> int:
        return len(self._entries(field))

    def entry(self, field: str, number: int) -> Fields:
        entries = self._entries(field)
        if not 0 <= number < len(entries):
            detail = f"{self.path}{field}[{number}] is used, but there are {len(entries):,} {field}"
            raise StageError("corrupt_file", detail)
        if not isinstance(entries[number], Fields):
            entries[number] = Fields(entries[number], f"{self.path}{field}[{number}]")
        return entries[number]

    def entries(self, field: str) -> list[Fields]:
        return [self.entry(field, number) for number in range(self.count(field))]

    def target(self, owner: Fields, name: str, field: str) -> Fields:
        """The entry of the list `field` that the owner's field `name` refers to."""
        return self.entry(field, owner.whole(name))

    def embedded(self, uri: str, owner: str) -> bytes:
        """The bytes of a data URI. A number may stand in several places, as a file may write it itself."""
        number = int(uri[5:]) if len(uri) < 15 and uri[5:].isdecimal() else -1
        if not 0 <= number < len(self._data_uris):
            return references.embedded(uri, owner)
        if number not in self._decoded:
            try:
                text = json.loads(self._data_uris[number])
            except ValueError as error:
                raise StageError("corrupt_file", f"{owner}: a data URI is not a JSON string ({error})") from None
            self._decoded[number] = references.embedded(text, owner)
        return self._decoded[number]

    def _entries(self, field: str) -> list[Any]:
        if field not in self._lists:
            self._lists[field] = list(self._list(field))
        return self._lists[field]

    def _parsed(self, text: bytes, name: str) -> Any:
        text = _DATA_URI.sub(lambda found: self._set_aside(found[0], name), text)
        values = text.count(b",") + text.count(b"[") + text.count(b"{")
        if len(text) > _MOST_BYTES or values > _MOST_VALUES:
            found = f"{len(text):,} bytes and about {values:,} values, without data URIs"
            detail = f"the JSON has {found}; at most {_MOST_BYTES:,} and {_MOST_VALUES:,} are read"
            raise StageError("too_large", f"{name}: {detail}")
        try:
            parsed = json.loads(text.rstrip(b"\0 ").decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise StageError("corrupt_file", f"{name}: its JSON cannot be read ({error})") from None
        if not isinstance(parsed, dict):
            raise wrong(f"{name}: the JSON", parsed, "an object")
        return parsed

    def _set_aside(self, uri: bytes, name: str) -> bytes:
        """Keep a data URI as it is written. The number that stands in its place has no comma, as a data URI has."""
        if len(self._data_uris) == _MOST_DATA_URIS:
            raise StageError("too_large", f"{name} has more than {_MOST_DATA_URIS:,} data URIs")
        self._data_uris.append(uri)
        return b'"data:%d"' % (len(self._data_uris) - 1)
