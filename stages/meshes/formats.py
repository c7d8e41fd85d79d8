"""The mesh formats, and how a file's format is recognised: by its content, not by its name."""

from __future__ import annotations

from manifests.left_out import CONVERT, CONVERTIBLE
from manifests.outcomes import DamagedFile
from stages.artifacts import bundle
from stages.contract.stage import StageError
from stages.meshes.gltf.format import GlbFile, GltfFile
from stages.meshes.mesh_file import MeshFile
from stages.meshes.model import Limits, Model
from stages.meshes.obj.format import ObjFile
from stages.meshes.off import OffFile
from stages.meshes.ply.format import PlyFile
from stages.meshes.stl import StlFile
from stages.meshes.unknown_files import describe

FORMATS: tuple[type[MeshFile], ...] = (  # in the order in which they are tried
    GlbFile,
    GltfFile,
    PlyFile,
    StlFile,
    OffFile,
    ObjFile,
)
ENDINGS = tuple(ending for form in FORMATS for ending in form.endings)
Y_UP_ENDINGS = tuple(ending for form in FORMATS if form.y_up for ending in form.endings)
_BY_NAME = {form.format: form for form in FORMATS}


def open_mesh(data: bytes, name: str) -> MeshFile:
    """The file as the format that its content shows."""
    if not data:
        raise StageError("empty_file", f"{name} has 0 bytes")
    head = data[:65536].removeprefix(b"\xef\xbb\xbf")
    for form in FORMATS:
        if form.sniff(data, head):
            return form(data, name)
    for form in FORMATS:
        if name.lower().endswith(form.endings):
            if form.sniff_damaged(data, head):
                return form(data, name)
            kind = f"{'a' if form.format[0] in 'gp' else 'an'} {form.format.upper()} file"
            raise StageError("corrupt_file", f"{name} is not {kind} ({describe(data)})")
    names = ", ".join(_BY_NAME)
    advice = f"; {CONVERT}" if name.lower().endswith(CONVERTIBLE) else ""
    raise StageError("unknown_format", f"{name} has none of the formats {names} ({describe(data)}){advice}")


def read_mesh(archive: bytes, mesh_name: str, form: str, limits: Limits, max_side: int) -> Model:
    """Read the artifact of ingest; raise DamagedFile if it is damaged."""
    members = bundle.unpack(archive)
    if mesh_name not in members or form not in _BY_NAME:
        raise DamagedFile(f"the zip has no mesh {mesh_name} of a known format")
    file = _BY_NAME[form](members[mesh_name], mesh_name)
    model = file.read(members, limits, max_side)
    model.y_up, model.remarks = file.y_up, file.remarks(members)
    return model
