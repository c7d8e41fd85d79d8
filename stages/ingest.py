"""Ingest: fetch a mesh and the files that it refers to (its companions), check them, and keep them as one zip.

in:  id, uri (a local path, a member of a local archive, an address in an object store, or an http(s) URL if
     `allow_http` is set)
out: mesh (a zip of the mesh as `mesh_name` and its companions), content_hash, format, mesh_name,
     mesh_bytes (with companions), warnings

The output does not depend on where the file is, what it is called or when it was written: two copies of a mesh have the
same hash. The formats are in stages/meshes/formats.py.
"""

from __future__ import annotations

import posixpath
from typing import Any, ClassVar, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from manifests.addresses import WEB, AddressError, local_path, scheme_of
from manifests.archives.address import ENDINGS, local_file, member_of
from manifests.dataset import TEXT, Column
from manifests.web import HttpNotAllowed, Web
from stages.artifacts import bundle
from stages.contract.schedule import Schedule
from stages.contract.stage import Context, Done, ReadArtifact, Reason, Row, Stage, StageError, Work, each
from stages.ingesting.archive_origin import ArchiveOrigin
from stages.ingesting.companions import Companions
from stages.ingesting.origins import LocalOrigin, Origin, RemoteOrigin, WebOrigin
from stages.meshes.formats import open_mesh


class IngestOutcome(TypedDict):
    """The columns of an outcome."""

    content_hash: str
    format: str
    mesh_name: str
    mesh_bytes: int
    warnings: list[str]
    licence: NotRequired[str | None]
    mesh: str


class Ingest(Stage):
    """Fetch and check a mesh.  in: uri   out: mesh, content_hash, format, mesh_name, mesh_bytes, warnings"""

    version = 2  # 2: more files are found that material libraries refer to
    limits = ("max_bytes", "allow_http", "allow_private_addresses", "timeout_seconds")
    artifact = "mesh"
    suffix = ".zip"
    keyed_by_content = True

    outcome: ClassVar[Any] = IngestOutcome
    columns: ClassVar[tuple[Column, ...]] = (
        Column("content_hash", TEXT, "hash of the mesh file and the files it refers to"),
    )
    reasons: ClassVar[tuple[Reason, ...]] = (
        Reason("not_found", "no file at the address", "correct the address in the source list"),
        Reason(
            "unreadable",
            "no permission, a disk error, an encrypted member of an archive, or an address with a scheme that is not "
            "accepted, a user, or a chain",
            "correct the permissions or the address",
        ),
        Reason("not_a_file", "a folder, a pipe, or a link in an archive", "name a mesh file in the source list"),
        Reason("http_not_allowed", "an http(s) address", "set `ingest.allow_http`"),
        Reason(
            "address_not_allowed",
            "an http(s) address whose host, or one that it redirects to, has no public IP address",
            "correct the address; if private ones are meant, set `ingest.allow_private_addresses`",
        ),
        Reason(
            "fetch_failed",
            "a server or store did not deliver; not tried again if the server refused",
            "check the server; the next build tries again",
            transient=True,
        ),
        Reason("empty_file", "a file of 0 bytes", "fetch the file again"),
        Reason(
            "too_large",
            "more than `ingest.max_bytes` with companions, more than 10,000 of them, or JSON or MTL above 64 MiB",
            "raise `ingest.max_bytes`, or reduce the mesh",
        ),
        Reason(
            "unknown_format",
            "neither the content nor the name is that of a supported format",
            "convert the mesh to one of the supported formats",
        ),
        Reason(
            "unsupported",
            "a variant that is not read, such as glTF 1 or binary OFF; the detail names it",
            "convert the mesh, for example to glTF 2",
        ),
        Reason(
            "corrupt_file",
            "invalid, truncated, or it declares more than it holds",
            "fetch the file again, or export it again",
        ),
        Reason(
            "missing_file",
            "a buffer of a glTF file is missing; a missing texture is only a warning",
            "put the buffer beside the mesh",
        ),
        Reason(
            "external_reference",
            "a companion outside the mesh's own folder, or at a URL; it is never opened; of a buffer also an absolute "
            "path, if that folder has no file of its name",
            "put the companion into the mesh's folder and refer to it by its name",
        ),
    )
    opens_sources: ClassVar[bool] = True
    default_schedule: ClassVar[Schedule] = Schedule(cpus=0.25, batch=32, workers=4, memory_gb=4)

    max_bytes: int = Field(512 << 20, gt=0)
    """Largest size of one mesh with its companions, in bytes."""
    allow_http: bool = False
    """Whether to fetch meshes from http:// and https:// addresses."""
    allow_private_addresses: bool = False
    """Whether web servers may have private, loopback or link-local IP addresses, or be reached through a proxy."""
    timeout_seconds: float = Field(60.0, gt=0)
    """Seconds to wait for an answer of a web server."""

    @classmethod
    def entry(cls, outcome: Row, artifact: ReadArtifact, row: Row) -> Row:
        """If the source list gives no group, it is the content hash; if it gives no licence, it is the mesh's own."""
        content_hash = outcome.get("content_hash")
        licence = row["licence"] or outcome.get("licence")
        return {"content_hash": content_hash, "group": row["group"] or content_hash, "licence": licence}

    def check_artifact(self, data: bytes) -> None:
        bundle.unpack(data)

    def open(self, context: Context) -> Work:
        return each(self.fetch)

    def fetch(self, row: Row) -> Done:
        origin = self.origin(str(row["uri"]))
        try:
            return _collect(origin)
        except StageError as error:
            raise StageError(error.reason, error.detail, transient=error.transient, files=origin.files) from None

    @property
    def web(self) -> Web:
        """What may be fetched from web servers."""
        return Web(self.allow_http, self.allow_private_addresses, self.timeout_seconds)

    def settings(self, with_limits: bool = False) -> Row:
        """Without `allow_private_addresses` where it is false: older runs have keys of failures that lack it."""
        given = super().settings(with_limits)
        if not self.allow_private_addresses:
            given.pop("allow_private_addresses", None)
        return given

    def origin(self, uri: str) -> Origin:
        if member := member_of(uri):
            if not local_file(uri):
                raise StageError("unreadable", f"{uri}: an archive is read from a local disk only; download it")
            return ArchiveOrigin(member, self.max_bytes)
        if uri.lower().endswith(ENDINGS):
            advice = "name a member as zip://MEMBER::ARCHIVE or tar://MEMBER::ARCHIVE, or pass it as --source"
            raise StageError("unknown_format", f"{uri} is an archive: {advice}")
        try:
            scheme = scheme_of(uri)
            if not scheme:
                return LocalOrigin(local_path(uri), self.max_bytes)
            if scheme not in WEB:
                return RemoteOrigin(uri, self.max_bytes)
            self.web.check(uri)
            return WebOrigin(uri, self.max_bytes, self.web)
        except HttpNotAllowed as error:
            raise StageError("http_not_allowed", str(error)) from None
        except AddressError as error:
            raise StageError("unreadable", str(error)) from None
        except ValueError as error:
            raise StageError("unreadable", f"{uri}: {error}") from None


def _collect(origin: Origin) -> Done:
    mesh = open_mesh(origin.main(), origin.name)
    mesh.check()
    companions = Companions(origin)
    companions.fetch(mesh.companions(), origin.name)
    mesh.check_companions(companions.found)
    name = f"mesh.{mesh.format}"
    while (mesh_name := posixpath.join(posixpath.dirname(origin.name), name)) in companions.found:
        name = f"_{name}"
    members = {mesh_name: mesh.data, **dict(sorted(companions.found.items()))}
    content = bundle.digest(members)
    columns: Row = {
        "content_hash": content,
        "format": mesh.format,
        "mesh_name": mesh_name,
        "mesh_bytes": sum(map(len, members.values())),
        "warnings": [*companions.missing, *companions.replaced],
    }
    return Done(columns, artifact=bundle.pack(members), content=content, files=origin.files)
