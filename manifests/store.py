"""The store: one interface to a run folder, on a disk or behind a URI. A file is never seen half written."""

from __future__ import annotations

import errno
import os
import stat
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from manifests.addresses import WEB, AddressError, local_path, open_files, scheme_of

DRAFT = ".draft"  # the ending of a file being written; one that remains is from a writer that died


class Store(ABC):
    """A folder of files. Names are relative, with forward slashes. A write succeeds as a whole or has no effect."""

    root: str

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return the file's bytes; raise FileNotFoundError if there is no such file."""

    @abstractmethod
    def create(self, name: str, data: bytes) -> bool:
        """Write a new file and return True. If it exists already, change nothing and return False."""

    @abstractmethod
    def replace(self, name: str, data: bytes) -> None:
        """Write a file; one of the same name is replaced."""

    @abstractmethod
    def upload(self, name: str, path: Path) -> None:
        """Move a local file into the store."""

    @abstractmethod
    def list(self, folder: str) -> dict[str, int]:
        """Return the names of all files below a folder, sorted, with their sizes in bytes."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Delete a file, if it exists."""

    @abstractmethod
    def exists(self, name: str) -> bool: ...

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Return the size of a file in bytes, None if there is no such file."""

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """Open a file to read parts of it; raise FileNotFoundError if there is no such file."""


@dataclass(frozen=True)
class LocalStore(Store):
    root: str

    def _path(self, name: str) -> str:
        if name.startswith("/") or ".." in name.split("/"):  # a name from a damaged file
            raise FileNotFoundError(errno.ENOENT, "outside the run folder", name)
        return os.path.join(self.root, name)

    def read(self, name: str) -> bytes:
        with open(self._path(name), "rb") as file:
            return file.read()

    def _draft(self, target: str, data: bytes) -> str:
        draft = f"{target}.{uuid.uuid4().hex}{DRAFT}"
        try:
            file = open(draft, "xb")
        except FileNotFoundError:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            file = open(draft, "xb")
        try:
            with file:
                file.write(data)
        except OSError as error:  # a full disk: the system names no file
            os.unlink(draft)
            raise OSError(error.errno, error.strerror, target) from error
        return draft

    def create(self, name: str, data: bytes) -> bool:
        target = self._path(name)
        draft = self._draft(target, data)
        try:
            os.link(draft, target)  # unlike a rename, fails if the target exists
        except FileExistsError:
            return False
        finally:
            os.unlink(draft)
        return True

    def replace(self, name: str, data: bytes) -> None:
        target = self._path(name)
        os.replace(self._draft(target, data), target)

    def upload(self, name: str, path: Path) -> None:
        target = self._path(name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.stat(path).st_dev == os.stat(os.path.dirname(target)).st_dev:
            os.replace(path, target)
            return
        with open(path, "rb") as file:
            self.replace(name, file.read())
        os.unlink(path)

    def list(self, folder: str) -> dict[str, int]:
        found = {}
        for parent, _, files in os.walk(self._path(folder)):
            for file in files:
                path = os.path.join(parent, file)
                try:
                    found[os.path.relpath(path, self.root).replace(os.sep, "/")] = os.path.getsize(path)
                except FileNotFoundError:
                    continue  # deleted by another process since it was listed
        return dict(sorted(found.items()))

    def delete(self, name: str) -> None:
        Path(self._path(name)).unlink(missing_ok=True)

    def exists(self, name: str) -> bool:
        return os.path.exists(self._path(name))

    def size(self, name: str) -> int | None:
        try:
            found = os.stat(self._path(name))
        except FileNotFoundError:
            return None
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, "a folder, expected a file", self._path(name))
        return found.st_size

    def open(self, name: str) -> BinaryIO:
        return open(self._path(name), "rb")


@contextmanager
def _as_os_errors(name: str) -> Iterator[None]:
    """Turn any exception into an OSError: libraries of object stores raise their own, and callers expect OSError."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{name}: {type(error).__name__}: {error}") from error


@dataclass(frozen=True)
class RemoteStore(Store):
    """An object store, through fsspec. An object is always put as a whole."""

    root: str  # a URI, such as s3://bucket/runs/a

    @property
    def _files(self) -> Any:
        return open_files(self.root, use_listings_cache=False)[0]

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def read(self, name: str) -> bytes:
        with _as_os_errors(name):
            return self._files.cat_file(self._path(name))

    def create(self, name: str, data: bytes) -> bool:
        with _as_os_errors(name):
            try:
                self._files.pipe_file(self._path(name), data, mode="create")  # a conditional put
            except FileExistsError:
                return False
            return True

    def replace(self, name: str, data: bytes) -> None:
        with _as_os_errors(name):
            self._files.pipe_file(self._path(name), data)

    def upload(self, name: str, path: Path) -> None:
        with _as_os_errors(name):
            self._files.put_file(str(path), self._path(name))
        path.unlink()

    def list(self, folder: str) -> dict[str, int]:
        with _as_os_errors(folder):
            base = self._files._strip_protocol(self.root)
            try:
                found = self._files.find(self._path(folder), detail=True)
            except FileNotFoundError:
                return {}
            return {name[len(base) + 1 :]: info["size"] for name, info in sorted(found.items())}

    def delete(self, name: str) -> None:
        with _as_os_errors(name):
            try:
                self._files.rm_file(self._path(name))
            except FileNotFoundError:
                return

    def exists(self, name: str) -> bool:
        with _as_os_errors(name):
            return self._files.exists(self._path(name))

    def size(self, name: str) -> int | None:
        with _as_os_errors(name):
            try:
                return self._files.info(self._path(name))["size"]
            except FileNotFoundError:
                return None

    def open(self, name: str) -> BinaryIO:
        with _as_os_errors(name):
            return self._files.open(self._path(name), "rb")


def open_store(root: str | Path) -> Store:
    """Open the store of a run: a URI of an object store through fsspec; a path is made absolute."""
    text = str(root)
    if scheme := scheme_of(text):
        if scheme in WEB:
            raise AddressError(text, "a run or a dataset is not read from a web server; expected a path, or s3://...")
        return RemoteStore(text.rstrip("/"))
    return LocalStore(str(Path(local_path(text)).expanduser().absolute()))
