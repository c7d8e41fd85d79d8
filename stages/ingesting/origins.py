"""Where a mesh and its companions come from: a local folder, an object store through fsspec, or a web server.

Every origin reads with a budget of bytes and says no before memory is taken. Companions are asked for by a name that
is relative to the mesh's own folder; what that name may be is decided in `references.py`, and the local origin also
refuses a link that leads out of the folder.
"""

from __future__ import annotations

import http.client
import os
import re
import stat
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from pathlib import PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import quote, unquote, urlsplit

from stages.contract.stage import StageError

_CHUNK = 1 << 20
_FOREIGN = re.compile(r"[^\w.~!$&'()*+,;=:@/?%-]|%(?![0-9A-Fa-f]{2})", re.ASCII)  # to the path or query of a URL


class Origin(ABC):
    """One mesh file and the folder around it. `files` lists what was looked at: [path, size, mtime_ns]."""

    name: str  # the mesh's file name, for messages and for its extension

    def __init__(self, name: str, max_bytes: int):
        self.name = name
        self.max_bytes = max_bytes
        self.taken = 0
        self.files: list[list[Any]] = []

    @abstractmethod
    def main(self) -> bytes:
        """The mesh file itself."""

    @abstractmethod
    def companion(self, name: str) -> bytes | None:
        """A file of the mesh's folder, None where there is none."""

    def allow(self, size: int, name: str) -> None:
        """Refuse what would exceed the budget, before it is read."""
        if self.taken + size > self.max_bytes:
            raise StageError(
                "too_large",
                f"{name} brings the mesh to {self.taken + size:,} bytes with its companions; "
                f"max_bytes is {self.max_bytes:,}",
            )

    def drain(self, stream: BinaryIO, name: str) -> bytes:
        """Read a stream to its end within the budget, whatever size it announced."""
        chunks: list[bytes] = []
        size = 0
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            self.allow(size, name)
            chunks.append(chunk)
        self.taken += size
        return b"".join(chunks)


class LocalOrigin(Origin):
    def __init__(self, path: str, max_bytes: int):
        super().__init__(os.path.basename(path), max_bytes)
        self.path = os.path.abspath(path)
        self.folder = os.path.dirname(self.path)
        self._listings: dict[str, list[str]] = {}

    def main(self) -> bytes:
        try:
            return self._read(self.path)
        except FileNotFoundError:
            self.files.append([self.path, None, None])
            raise StageError("not_found", f"{self.path}: no such file") from None
        except IsADirectoryError:
            raise StageError("not_a_file", f"{self.path} is a folder") from None
        except (OSError, ValueError) as error:  # ValueError: a name with a null byte in it
            self.files.append([self.path, None, None])
            raise StageError("unreadable", f"{self.path}: {error}") from None

    def companion(self, name: str) -> bytes | None:
        path = os.path.join(self.folder, *PurePosixPath(name).parts)
        self._check_inside(path, name)
        try:
            return self._read(path)
        except IsADirectoryError:
            return None
        except (FileNotFoundError, NotADirectoryError):
            self.files.append([path, None, None])
        except OSError as error:
            self.files.append([path, None, None])
            raise StageError("unreadable", f"{path}: {error.strerror or error}") from None
        spelled = self._other_spelling(name)
        return self.companion(spelled) if spelled not in (None, name) else None

    def _other_spelling(self, name: str) -> str | None:
        """The name of a file that differs in capitals alone: many authors' systems do not tell these apart."""
        folder, parts = self.folder, []
        for part in PurePosixPath(name).parts:
            self._check_inside(folder, name)
            if folder not in self._listings:
                self._listings[folder] = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
            found = [entry for entry in self._listings[folder] if entry.casefold() == part.casefold()]
            if not found:
                return None
            parts.append(part if part in found else found[0])
            folder = os.path.join(folder, parts[-1])
        return "/".join(parts)

    def _check_inside(self, path: str, name: str) -> None:
        inside = os.path.join(os.path.realpath(self.folder), "")
        if not os.path.join(os.path.realpath(path), "").startswith(inside):
            raise StageError("external_reference", f"{self.name} refers to {name!r}, a link out of its own folder")

    def _read(self, path: str) -> bytes:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # a pipe would block for ever, a folder cannot be read
            self.files.append([path, status.st_size, status.st_mtime_ns])
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError
            raise StageError("not_a_file", f"{path} is no regular file")
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            self.files.append([path, status.st_size, status.st_mtime_ns])
            self.allow(status.st_size, path)
            return self.drain(file, path)


class RemoteOrigin(Origin):
    """A file behind any fsspec scheme."""

    def __init__(self, uri: str, max_bytes: int):
        super().__init__(PurePosixPath(urlsplit(uri).path).name or uri.rsplit("/", 1)[-1], max_bytes)
        self.uri = uri
        self.folder = uri.rsplit("/", 1)[0]

    def main(self) -> bytes:
        data = self._read(self.uri)
        if data is None:
            raise StageError("not_found", f"{self.uri}: no such file")
        return data

    def companion(self, name: str) -> bytes | None:
        return self._read(f"{self.folder}/{name}")

    def _read(self, uri: str) -> bytes | None:
        import fsspec

        try:
            files, path = fsspec.core.url_to_fs(uri)
            about = files.info(path)
            if about["type"] != "file":
                raise StageError("not_a_file", f"{uri} is a {about['type']}")
            self.allow(about.get("size") or 0, uri)
            with files.open(path, "rb") as stream:
                return self.drain(stream, uri)
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise StageError("unreadable", f"{uri}: {error}") from None
        except (ImportError, ValueError) as error:  # no such scheme, or its library is not installed
            raise StageError("unreadable", f"{uri}: {error}") from None
        except StageError:
            raise
        except Exception as error:  # every scheme has its own errors of transport
            raise StageError("fetch_failed", f"{uri}: {_line(error)}", transient=True) from None


class _SamePlace(urllib.request.HTTPRedirectHandler):
    """Follows a redirect of the mesh itself to http(s) alone, and none of a companion."""

    def __init__(self, follow: bool):
        self.follow = follow

    def redirect_request(self, request: Any, stream: Any, code: int, message: str, headers: Any, url: str) -> Any:
        if self.follow and urlsplit(url).scheme in ("http", "https"):
            return super().redirect_request(request, stream, code, message, headers, url)
        raise StageError("external_reference", f"{request.full_url} redirects to {url}")


class WebOrigin(Origin):
    def __init__(self, url: str, max_bytes: int, timeout_seconds: float):
        super().__init__(unquote(PurePosixPath(urlsplit(url).path).name), max_bytes)
        self.url = _encoded(url)
        self.timeout_seconds = timeout_seconds
        self.folder = self.url.split("?", 1)[0].split("#", 1)[0].rsplit("/", 1)[0]

    def main(self) -> bytes:
        data = self._read(self.url, follow=True)
        if data is None:
            raise StageError("not_found", f"{self.url}: the server has no such file")
        return data

    def companion(self, name: str) -> bytes | None:
        return self._read(f"{self.folder}/{quote(name)}", follow=False)

    def _read(self, url: str, follow: bool) -> bytes | None:
        opener = urllib.request.build_opener(_SamePlace(follow))
        try:
            with opener.open(url, timeout=self.timeout_seconds) as answer:
                announced = answer.headers.get("Content-Length", "")
                self.allow(int(announced) if announced.isdigit() else 0, url)
                data = self.drain(answer, url)
                if announced.isdigit() and len(data) < int(announced):
                    raise StageError("fetch_failed", f"{url}: the answer broke off", transient=True)
                return data
        except urllib.error.HTTPError as error:
            if error.code in (404, 410):
                return None
            if error.code in (401, 403):
                raise StageError("unreadable", f"{url}: HTTP {error.code}") from None
            busy = error.code >= 500 or error.code in (408, 425, 429)
            raise StageError("fetch_failed", f"{url}: HTTP {error.code}", transient=busy) from None
        except (http.client.InvalidURL, UnicodeError) as error:  # no port, or no host that there can be
            raise StageError("unreadable", f"{url}: {error}") from None
        except (OSError, http.client.HTTPException) as error:
            raise StageError("fetch_failed", f"{url}: {_line(error)}", transient=True) from None


def _encoded(url: str) -> str:
    """A URL as a server takes it: what may not stand in one is percent-encoded, what is so already stays."""
    parts = urlsplit(url)
    path, query = (_FOREIGN.sub(lambda found: quote(found[0]), part) for part in (parts.path, parts.query))
    return parts._replace(path=path, query=query).geturl()


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
