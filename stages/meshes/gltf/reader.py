"""Read the default scene of glTF 2.0 with its transforms, instances, skins, and morph targets at default weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from stages.contract.stage import StageError
from stages.meshes.gltf import meshopt, transforms
from stages.meshes.gltf.data import GltfData, dequantized
from stages.meshes.gltf.materials import Materials, Slot
from stages.meshes.images import ImageDecoder
from stages.meshes.model import Model, make_part

SUPPORTED = {
    "KHR_draco_mesh_compression", "KHR_mesh_quantization", "KHR_texture_transform", "KHR_materials_unlit",
    "KHR_materials_pbrSpecularGlossiness", "KHR_materials_emissive_strength", "EXT_texture_webp",
    "EXT_texture_avif", "KHR_texture_basisu", "EXT_mesh_gpu_instancing", *meshopt.EXTENSIONS,
}  # fmt: skip
# required extensions that only change how a surface looks, or nothing that is drawn
_IGNORED = ("KHR_materials_", "KHR_lights_", "KHR_animation_", "KHR_xmp", "KHR_node_")
_TRIANGLES, _STRIP, _FAN = 4, 5, 6


def read(data: GltfData, max_side: int) -> Model:
    try:
        for extension in data.list("extensionsRequired"):
            if extension not in SUPPORTED and not extension.startswith(_IGNORED):
                raise StageError("unsupported", f"{data.name} requires {extension}, which is not supported")
        return _Reader(data, max_side).read()
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise StageError("corrupt_file", f"{data.name}: invalid glTF ({type(error).__name__}: {error})") from None


class _Reader:
    def __init__(self, data: GltfData, max_side: int):
        self.data = data
        self.limits = data.limits
        self.model = Model()
        self.materials = Materials(data, self.model, ImageDecoder(data.limits, max_side))
        self.globals: dict[int, np.ndarray] = {}  # [4, 4] of each node

    def read(self) -> Model:
        nodes = self.data.list("nodes")
        self.limits.check("nodes", len(nodes))
        drawn = self._walk()
        self._count(drawn)
        for number in drawn:
            node = nodes[number]
            mesh = self.data.entry("meshes", node["mesh"])
            weights = node.get("weights") or mesh.get("weights") or []
            skin = self._skin(node["skin"]) if "skin" in node else None
            instances = self._instances(node, self.globals[number])
            if len(_with_positions(mesh)) < len(mesh["primitives"]):
                self.model.warn("a primitive without positions is not drawn")
            for primitive in _with_positions(mesh):
                self._primitive(primitive, instances, weights, skin)
        if not drawn:
            raise StageError("empty_scene", "the scene has no mesh")
        return self.model

    def _roots(self) -> list[int]:
        scenes = self.data.list("scenes")
        if scenes:
            return list(self.data.entry("scenes", self.data.document.get("scene", 0)).get("nodes") or [])
        children = {child for node in self.data.list("nodes") for child in node.get("children") or []}
        return [number for number in range(len(self.data.list("nodes"))) if number not in children]

    def _walk(self) -> list[int]:
        """The indices of the scene's nodes that have a mesh, in document order. Fills `globals`."""
        todo = [(number, np.eye(4)) for number in reversed(self._roots())]
        drawn = []
        while todo:
            number, parent = todo.pop()
            if number in self.globals:
                raise StageError("corrupt_file", f"node {number} has two parents, or is its own ancestor")
            node = self.data.entry("nodes", number)
            self.globals[number] = parent @ transforms.local(node)
            if "mesh" in node:
                drawn.append(number)
            todo += [(child, self.globals[number]) for child in reversed(node.get("children") or [])]
        return drawn

    def _count(self, drawn: list[int]) -> None:
        """Check the size of all instances together, before the first accessor is read."""
        vertices = faces = 0
        for number in drawn:
            node = self.data.list("nodes")[number]
            times = max((self._length(index) for index in _instance_accessors(node).values()), default=1)
            for primitive in _with_positions(self.data.entry("meshes", node["mesh"])):
                points = self._length(primitive["attributes"]["POSITION"])
                corners = self._length(primitive["indices"]) if "indices" in primitive else points
                vertices += points * times
                faces += (corners // 3 if primitive.get("mode", _TRIANGLES) == _TRIANGLES else corners) * times
        self.limits.check("vertices", vertices)
        self.limits.check("faces", faces)

    def _length(self, accessor: int) -> int:
        return self.data.entry("accessors", accessor)["count"]

    def _instances(self, node: dict[str, Any], matrix: np.ndarray) -> np.ndarray:
        """[I, 4, 4]: the transforms of a node's mesh; one, unless EXT_mesh_gpu_instancing gives more."""
        values = {name.lower(): self.data.accessor(index) for name, index in _instance_accessors(node).items()}
        if not values:
            return matrix[None]
        count = min(map(len, values.values()))
        return matrix @ transforms.matrices(**{name: rows[:count].astype(np.float64) for name, rows in values.items()})

    def _skin(self, number: int) -> np.ndarray:
        """[J, 4, 4]: the transform of a vertex by each joint, in the pose of the nodes."""
        skin = self.data.entry("skins", number)
        for joint in skin["joints"]:
            self.data.entry("nodes", joint)
        joints = np.stack([self.globals.get(joint, np.eye(4)) for joint in skin["joints"]])
        if "inverseBindMatrices" not in skin:
            return joints
        inverse = self.data.accessor(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        return joints @ inverse[: len(joints)].astype(np.float64)

    def _primitive(
        self, primitive: dict[str, Any], instances: np.ndarray, weights: list[float], skin: np.ndarray | None
    ) -> None:
        mode = primitive.get("mode", _TRIANGLES)
        if mode not in (_TRIANGLES, _STRIP, _FAN):
            self.model.warn("points and lines are not drawn")
            return
        values, indices = self._attributes(primitive)
        positions = values["POSITION"].astype(np.float64)
        normals = values["NORMAL"].astype(np.float64) if "NORMAL" in values else np.zeros_like(positions)
        for weight, target in zip(weights, primitive.get("targets") or [], strict=False):
            if weight:
                if "POSITION" in target:
                    positions = positions + weight * self.data.accessor(target["POSITION"])
                if "NORMAL" in target:
                    normals = normals + weight * self.data.accessor(target["NORMAL"])
        faces = _triangles(np.arange(len(positions)) if indices is None else indices, mode)
        if skin is not None and "JOINTS_0" in values and "WEIGHTS_0" in values:
            positions, normals = transforms.skinned(positions, normals, values, skin)
            instances = instances[:1]
        else:
            positions, normals, faces = transforms.instanced(positions, normals, faces, instances)
        surface = self.materials.surface(primitive.get("material"))
        uv = np.hstack([self._uv(values, surface.color_slot), self._uv(values, surface.emission_slot)])
        colors = _colors(values.get("COLOR_0"))
        self.model.parts.append(
            make_part(
                positions,
                faces,
                surface.material,
                normals=normals,
                uv=np.tile(uv, (len(instances), 1)),
                colors=None if colors is None else np.tile(colors, (len(instances), 1)),
                factor=surface.factor,
                emission=surface.emission,
            )
        )

    def _attributes(self, primitive: dict[str, Any]) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        draco = (primitive.get("extensions") or {}).get("KHR_draco_mesh_compression")
        values, indices = self.data.draco(draco) if draco else ({}, None)
        for name in values:
            if self.data.entry("accessors", primitive["attributes"][name]).get("normalized"):
                values[name] = dequantized(values[name])
        for name, number in primitive["attributes"].items():
            if name not in values and not name.startswith("_"):
                values[name] = self.data.accessor(number)
        if indices is None and "indices" in primitive:
            indices = self.data.accessor(primitive["indices"])[:, 0].astype(np.int64)
        return values, indices

    def _uv(self, values: dict[str, np.ndarray], slot: Slot) -> np.ndarray:
        """[N, 2] float32"""
        uv = values.get(f"TEXCOORD_{slot.uv_set}")
        if uv is None:
            return np.zeros((len(values["POSITION"]), 2), np.float32)
        if slot.transform is None:
            return uv.astype(np.float32)
        return (uv @ slot.transform[:, :2].T + slot.transform[:, 2]).astype(np.float32)


def _with_positions(mesh: dict[str, Any]) -> list[dict[str, Any]]:
    """The primitives that can be drawn: positions that are left out come from an extension that is not supported."""
    return [primitive for primitive in mesh["primitives"] if "POSITION" in primitive["attributes"]]


def _instance_accessors(node: dict[str, Any]) -> dict[str, int]:
    accessors = ((node.get("extensions") or {}).get("EXT_mesh_gpu_instancing") or {}).get("attributes") or {}
    return {name: index for name, index in accessors.items() if name in ("TRANSLATION", "ROTATION", "SCALE")}


def _triangles(indices: np.ndarray, mode: int) -> np.ndarray:
    """[F, 3]"""
    if len(indices) < 3:
        return np.zeros((0, 3), np.int64)
    if mode == _TRIANGLES:
        return indices[: len(indices) // 3 * 3].reshape(-1, 3)
    if mode == _FAN:
        return np.stack([np.full(len(indices) - 2, indices[0]), indices[1:-1], indices[2:]], 1)
    faces = np.stack([indices[:-2], indices[1:-1], indices[2:]], 1)
    faces[1::2] = faces[1::2, [1, 0, 2]]
    return faces


def _colors(values: np.ndarray | None) -> np.ndarray | None:
    """[N, 4] float32; those of glTF are linear."""
    if values is None:
        return None
    colors = dequantized(values).astype(np.float32)
    if colors.shape[1] == 3:
        colors = np.hstack([colors, np.ones((len(colors), 1), np.float32)])
    return np.clip(np.nan_to_num(colors, nan=1.0), 0, 1)
