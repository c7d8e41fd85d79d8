"""Ingest: fetch a mesh with its companions, judge it by its content, and keep both as one zip.

in:  id, uri (a local path, an fsspec URI, or an http(s) URL where `allow_http` is set)
out: mesh (a zip of the mesh as `mesh_name` and its companions), content_hash, format (glb, gltf, obj, ply, stl, off),
     mesh_name, mesh_bytes (with companions), warnings

Nothing that comes out depends on where the file lies, what it is called or when it was written: two copies of a mesh
have one hash.
"""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field

from manifests.dataset import TEXT, Column
from stages.contract.schedule import Schedule
from stages.contract.stage import Context, Done, ReadArtifact, Reason, Row, Stage, StageError, Work, each
from stages.ingesting import bundle, formats, references
from stages.ingesting.origins import LocalOrigin, Origin, RemoteOrigin, WebOrigin

_MOST_COMPANIONS = 10_000


class Ingest(Stage):
    """Fetch one mesh.  in: uri   out: mesh, content_hash, format, mesh_name, mesh_bytes, warnings"""

    version = 2  # 2: more of what libraries of materials name is found
    limits = ("max_bytes", "allow_http", "timeout_seconds")
    artifact = "mesh"
    suffix = ".zip"
    keyed_by_content = True

    columns: ClassVar[tuple[Column, ...]] = (
        Column("content_hash", TEXT, "hash of the mesh file and the files it refers to"),
    )
    reasons: ClassVar[tuple[Reason, ...]] = (
        Reason("not_found", "no file at the address"),
        Reason("unreadable", "no permission, a broken disk, an unknown scheme, or a chained URI"),
        Reason("not_a_file", "a folder or a pipe"),
        Reason("http_not_allowed", "an http(s) address: set `ingest.allow_http` to fetch it"),
        Reason("fetch_failed", "a server or a store did not deliver; not tried again where the server refused", True),
        Reason("empty_file", "a file of 0 bytes"),
        Reason("too_large", "more than `ingest.max_bytes` with companions, or more than 10,000 of them"),
        Reason("unknown_format", "neither the content nor the name is that of a format"),
        Reason("unsupported", "a format's variant that is not read, such as glTF 1 or binary OFF; the detail names it"),
        Reason("corrupt_file", "broken, cut short, or it declares more than it holds"),
        Reason("missing_file", "a buffer that a glTF file names is not there; a missing texture is only a warning"),
        Reason("external_reference", "a companion outside the mesh's own folder, or a URL; it is never opened"),
    )
    default_schedule: ClassVar[Schedule] = Schedule(cpus=0.25, batch=32, workers=4, memory_gb=4)

    max_bytes: int = Field(512 << 20, gt=0)
    """Most bytes of one mesh with its companions."""
    allow_http: bool = False
    """Whether http:// and https:// sources are fetched."""
    timeout_seconds: float = Field(60.0, gt=0)
    """How long a web server may be silent."""

    @classmethod
    def entry(cls, outcome: Row, artifact: ReadArtifact, row: Row) -> Row:
        """With what the mesh says of itself where the source list says nothing."""
        content_hash = outcome.get("content_hash")
        licence = row["licence"] or outcome.get("licence")
        return {"content_hash": content_hash, "group": row["group"] or content_hash, "licence": licence}

    def open(self, context: Context) -> Work:
        return each(self.fetch)

    def fetch(self, row: Row) -> Done:
        origin = self.origin(str(row["uri"]))
        try:
            return _collect(origin)
        except StageError as error:
            raise StageError(error.reason, error.detail, transient=error.transient, files=origin.files) from None

    def origin(self, uri: str) -> Origin:
        try:
            scheme = urlsplit(uri).scheme.lower() if "://" in uri else ""
        except ValueError as error:
            raise StageError("unreadable", f"{uri}: {error}") from None
        if scheme in ("", "file"):
            return LocalOrigin(uri.removeprefix("file://"), self.max_bytes)
        if scheme in ("http", "https"):
            if not self.allow_http:
                raise StageError("http_not_allowed", f"{uri}: set ingest.allow_http to fetch from web servers")
            return WebOrigin(uri, self.max_bytes, self.timeout_seconds)
        if "::" in uri:  # a chain could reach what the schemes above refuse
            raise StageError("unreadable", f"{uri}: chained URIs are not read; name the file itself")
        return RemoteOrigin(uri, self.max_bytes)


def _collect(origin: Origin) -> Done:
    data = origin.main()
    form = formats.sniff(data, origin.name)
    document = formats.check(data, form, origin.name)
    companions: dict[str, bytes] = {}
    missing: list[str] = []
    if document is not None:
        _collect_gltf(origin, document, data if form == "glb" else b"", companions, missing)
    elif form == "obj":
        _collect_obj(origin, data, companions, missing)
    elif form == "ply":
        textures = {uri: references.names_of(uri, origin.name) for uri in references.ply_textures(data)}
        missing += [uri[:200] for uri, names in textures.items() if _fetch(origin, names, companions) is None]
    mesh_name = f"mesh.{form}"
    while mesh_name in companions:
        mesh_name = f"_{mesh_name}"
    members = {mesh_name: data, **dict(sorted(companions.items()))}
    content = bundle.digest(members)
    columns: dict[str, Any] = {
        "content_hash": content,
        "format": form,
        "mesh_name": mesh_name,
        "mesh_bytes": sum(map(len, members.values())),
        "warnings": [f"missing file: {name}" for name in missing],
    }
    return Done(columns, artifact=bundle.pack(members), content=content, files=origin.files)


def _check_count(origin: Origin, count: int) -> None:
    if count > _MOST_COMPANIONS:
        raise StageError("too_large", f"{origin.name} refers to {count:,} files; {_MOST_COMPANIONS:,} are followed")


def _fetch(origin: Origin, names: list[str], companions: dict[str, bytes]) -> bytes | None:
    """The first companion there is under these names, fetched once."""
    for name in names:
        if name not in companions:
            data = origin.companion(name)
            if data is None:
                continue
            companions[name] = data
        return companions[name]
    return None


def _collect_gltf(
    origin: Origin, document: dict[str, Any], glb: bytes, companions: dict[str, bytes], missing: list[str]
) -> None:
    found = dict(references.gltf_references(document))
    _check_count(origin, len(found))
    names = {uri: references.names_of(uri, origin.name) for uri in found}  # all judged before the first is opened
    for uri, needed in found.items():
        if _fetch(origin, names[uri], companions) is not None:
            continue
        if needed:
            raise StageError("missing_file", f"{origin.name} needs {uri[:200]!r}, which is not beside it")
        missing.append(uri[:200])
    chunk = formats.glb_chunks(glb, origin.name)[1] if glb else None
    buffers = document.get("buffers") or []
    sizes = [_buffer_size(entry, origin, None if index else chunk, companions) for index, entry in enumerate(buffers)]
    formats.check_gltf(document, sizes, origin.name)


def _buffer_size(entry: Any, origin: Origin, chunk: bytes | None, companions: dict[str, bytes]) -> int | None:
    """What a buffer really holds; None where it has no bytes, or none that are read."""
    uri = entry.get("uri")
    if formats.is_fallback(entry):
        return None
    if not uri:
        return len(chunk) if chunk is not None else None
    if references.is_embedded(uri):
        return len(references.embedded(uri, origin.name))
    return next(len(companions[name]) for name in references.names_of(uri, origin.name) if name in companions)


def _collect_obj(origin: Origin, data: bytes, companions: dict[str, bytes], missing: list[str]) -> None:
    libraries = references.obj_libraries(data)
    _check_count(origin, len(libraries))
    names = {library: references.names_of(library, origin.name) for library in libraries}
    for library in libraries:
        text = _fetch(origin, names[library], companions)
        if text is None:
            missing.append(library[:200])
            continue
        place = next(name for name in names[library] if name in companions)
        uris = dict.fromkeys(references.mtl_textures(text))
        _check_count(origin, len(uris) + len(companions))
        textures = {uri: references.names_beside(uri, place) for uri in uris}
        missing += [uri[:200] for uri in uris if _fetch(origin, textures[uri], companions) is None]
