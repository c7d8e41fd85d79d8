"""From ingest's zip to a Model, whatever the format."""

from __future__ import annotations

from stages.ingesting import bundle
from stages.meshes.model import Limits, Model


def read_model(archive: bytes, mesh_name: str, form: str, limits: Limits, max_side: int) -> Model:
    members = bundle.unpack(archive)
    if form in ("glb", "gltf"):
        from stages.meshes import gltf

        return gltf.read(members, mesh_name, form, limits, max_side)
    if form == "obj":
        from stages.meshes import obj

        return obj.read(members, mesh_name, limits, max_side)
    if form == "off":
        from stages.meshes import off

        return off.read(members[mesh_name], mesh_name, limits)
    if form == "stl":
        from stages.meshes import stl

        return stl.read(members[mesh_name], mesh_name, limits)
    from stages.meshes import ply

    return ply.read(members, mesh_name, limits, max_side)
