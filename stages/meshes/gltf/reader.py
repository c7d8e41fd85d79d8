"""Read the default scene of glTF 2.0 with its transforms, instances, skins, and morph targets at default weights."""

from __future__ import annotations

import numpy as np

from stages.contract.stage import StageError
from stages.meshes.gltf import meshopt, transforms
from stages.meshes.gltf.data import GltfData, dequantized
from stages.meshes.gltf.fields import Fields
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
_MOST_JOINT_SETS = 8
_MOST_TARGETS = 20  # times max_vertices: the vertices of all morph targets that are added


def read(data: GltfData, max_side: int) -> Model:
    for extension in data.document.texts("extensionsRequired"):
        if extension not in SUPPORTED and not extension.startswith(_IGNORED):
            raise StageError("unsupported", f"{data.name} requires {extension[:100]}, which is not supported")
    return _Reader(data, max_side).read()


class _Reader:
    def __init__(self, data: GltfData, max_side: int):
        self.data = data
        self.document = data.document
        self.limits = data.limits
        self.model = Model()
        self.materials = Materials(data, self.model, ImageDecoder(data.limits, max_side))
        self.globals: dict[int, np.ndarray] = {}  # [4, 4] of each node
        self.meshes: dict[int, _Mesh] = {}
        self.skins: dict[int, np.ndarray] = {}
        self.joints = self.vertices = self.faces = self.morphed = 0  # read until now

    def read(self) -> Model:
        self.limits.check("nodes", self.document.count("nodes"))
        drawn = self._walk()
        self._count(drawn)
        for number, node in drawn.items():
            mesh = self._mesh(node)
            weights = node.reals("weights") or mesh.weights
            skin = self._skin(node.whole("skin")) if "skin" in node else None
            instances = self._instances(node, self.globals[number])
            if mesh.undrawn:
                self.model.warn("a primitive without positions is not drawn")
            for primitive in mesh.primitives:
                self._primitive(primitive, instances, weights, skin)
        if not drawn:
            raise StageError("empty_scene", "the scene has no mesh")
        return self.model

    def _roots(self) -> list[int]:
        if self.document.count("scenes"):
            return self.document.entry("scenes", self.document.whole("scene", 0)).wholes("nodes")
        children = {child for node in self.document.entries("nodes") for child in node.wholes("children")}
        return [number for number in range(self.document.count("nodes")) if number not in children]

    def _walk(self) -> dict[int, Fields]:
        """The scene's nodes that have a mesh, by their numbers, in document order. Fills `globals`."""
        world = np.eye(4)
        todo = [(number, world) for number in reversed(self._roots())]
        drawn = {}
        while todo:
            number, parent = todo.pop()
            if number in self.globals:
                raise StageError("corrupt_file", f"node {number} has two parents, or is its own ancestor")
            node = self.document.entry("nodes", number)
            self.globals[number] = parent @ transforms.local(node)
            if "mesh" in node:
                drawn[number] = node
            todo += [(child, self.globals[number]) for child in reversed(node.wholes("children"))]
        return drawn

    def _mesh(self, node: Fields) -> _Mesh:
        number = node.whole("mesh")
        if number not in self.meshes:
            self.meshes[number] = _Mesh(self.document.entry("meshes", number))
        return self.meshes[number]

    def _count(self, drawn: dict[int, Fields]) -> None:
        """Check the size of all instances together, before the first accessor is read."""
        parts = vertices = faces = 0
        for node in drawn.values():
            times = max((self._length(index) for index in _instance_accessors(node).values()), default=1)
            self.limits.check("vertices", times, "instances")
            mesh = self._mesh(node)
            parts += len(mesh.primitives)
            self.limits.check("nodes", parts, "parts")
            if mesh.size is None:
                mesh.size = self._size(mesh)
            vertices += mesh.size[0] * times
            faces += mesh.size[1] * times
        self.limits.check("vertices", vertices)
        self.limits.check("faces", faces)

    def _size(self, mesh: _Mesh) -> tuple[int, int]:
        """The numbers of vertices and faces that the accessors of a mesh declare, or its compressed data."""
        vertices = faces = 0
        for primitive in mesh.primitives:
            points = self._length(primitive.inner("attributes").whole("POSITION"))
            corners = self._length(primitive.whole("indices")) if "indices" in primitive else points
            found = corners // 3 if primitive.whole("mode", _TRIANGLES) == _TRIANGLES else corners
            draco = _draco(primitive)
            declared = self.data.draco_sizes(draco) if draco is not None else (0, 0)
            vertices, faces = vertices + max(points, declared[0]), faces + max(found, declared[1])
        return vertices, faces

    def _length(self, accessor: int) -> int:
        return self.document.entry("accessors", accessor).whole("count")

    def _instances(self, node: Fields, matrix: np.ndarray) -> np.ndarray:
        """[I, 4, 4]: the transforms of a node's mesh; one, unless EXT_mesh_gpu_instancing gives more."""
        accessors = _instance_accessors(node)
        if not accessors:
            return matrix[None]
        widths = {"translation": 3, "rotation": 4, "scale": 3}
        values = {name: self.data.accessor(index, widths[name]) for name, index in accessors.items()}
        count = min(map(len, values.values()))
        return matrix @ transforms.matrices(**{name: rows[:count].astype(np.float64) for name, rows in values.items()})

    def _skin(self, number: int) -> np.ndarray:
        """[J, 4, 4]: the transform of a vertex by each joint, in the pose of the nodes."""
        if number not in self.skins:
            self.skins[number] = self._read_skin(self.document.entry("skins", number))
        return self.skins[number]

    def _read_skin(self, skin: Fields) -> np.ndarray:
        numbers = skin.wholes("joints")
        self.joints += len(numbers)
        self.limits.check("nodes", self.joints, "joints")
        for joint in numbers:
            self.document.entry("nodes", joint)
        joints = np.array([self.globals.get(joint, np.eye(4)) for joint in numbers]).reshape(-1, 4, 4)
        if "inverseBindMatrices" not in skin:
            return joints
        inverse = self.data.accessor(skin.whole("inverseBindMatrices"), 16, least=len(joints))
        return joints @ inverse.reshape(-1, 4, 4).transpose(0, 2, 1)[: len(joints)].astype(np.float64)

    def _primitive(
        self, primitive: Fields, instances: np.ndarray, weights: tuple[float, ...], skin: np.ndarray | None
    ) -> None:
        mode = primitive.whole("mode", _TRIANGLES)
        if mode not in (_TRIANGLES, _STRIP, _FAN):
            self.model.warn("points and lines are not drawn")
            return
        values = _Attributes(self.data, primitive)
        positions = values.positions.astype(np.float64)
        faces = _triangles(np.arange(len(positions)) if values.indices is None else values.indices, mode)
        self._count_read(len(positions) * len(instances), len(faces) * len(instances))
        stored = values.get("NORMAL", 3)
        normals = np.zeros_like(positions) if stored is None else stored.astype(np.float64)
        targets = [pair for pair in zip(weights, primitive.inners("targets"), strict=False) if pair[0]]
        self._count_morphed(len(targets) * len(positions))
        for weight, target in targets:
            if "POSITION" in target:
                positions = positions + weight * self.data.accessor(target.whole("POSITION"), 3, count=len(positions))
            if "NORMAL" in target:
                normals = normals + weight * self.data.accessor(target.whole("NORMAL"), 3, count=len(positions))
        influences = values.influences() if skin is not None else []
        if skin is not None and influences:
            positions, normals = transforms.skinned(positions, normals, influences, skin)
            instances = instances[:1]
        else:
            positions, normals, faces = transforms.instanced(positions, normals, faces, instances)
        surface = self.materials.surface(primitive)
        uv = np.hstack([_uv(values, surface.color_slot), _uv(values, surface.emission_slot)])
        colors = _colors(values.get("COLOR_0", 3, 4))
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

    def _count_morphed(self, vertices: int) -> None:
        self.morphed += vertices
        most = _MOST_TARGETS * self.limits.max_vertices
        if self.morphed > most:
            detail = f"morph targets with a weight have {self.morphed:,} vertices; max_vertices allows {most:,}"
            raise StageError("too_large", detail)

    def _count_read(self, vertices: int, faces: int) -> None:
        """Check what was really there: compressed data may have more than their accessors declare."""
        self.vertices += vertices
        self.faces += faces
        self.limits.check("vertices", self.vertices)
        self.limits.check("faces", self.faces)


class _Mesh:
    """The primitives of a mesh that can be drawn, and its weights of morph targets."""

    def __init__(self, mesh: Fields):
        primitives = mesh.inners("primitives", required=True)
        # positions that are left out come from an extension that is not supported
        self.primitives = [one for one in primitives if "POSITION" in one.inner("attributes", required=True)]
        self.undrawn = len(self.primitives) < len(primitives)
        self.weights = mesh.reals("weights")
        self.size: tuple[int, int] | None = None  # vertices and faces


class _Attributes:
    """The attributes and indices of a primitive; each attribute is read when it is needed."""

    def __init__(self, data: GltfData, primitive: Fields):
        self._data = data
        self._accessors = primitive.inner("attributes")
        self._unpacked: dict[str, np.ndarray] = {}
        self.indices: np.ndarray | None = None
        draco = _draco(primitive)
        if draco is not None:
            self._unpacked, self.indices = data.draco(draco)
        elif "indices" in primitive:
            self.indices = data.accessor(primitive.whole("indices"), 1)[:, 0].astype(np.int64)
        self._count: int | None = None
        self.positions = self._read("POSITION", 3)
        self._count = len(self.positions)

    def get(self, name: str, *widths: int) -> np.ndarray | None:
        """[N, W], W being one of the widths; None if the primitive does not have the attribute."""
        return self._read(name, *widths) if name in self._accessors else None

    def influences(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Sets of joints, int64, and of their weights, float64."""
        found: list[tuple[np.ndarray, np.ndarray]] = []
        for index in range(_MOST_JOINT_SETS):
            joints, weights = self.get(f"JOINTS_{index}", 4), self.get(f"WEIGHTS_{index}", 4)
            if joints is None or weights is None:
                break
            with np.errstate(invalid="ignore"):  # of what is not a number; it names no joint
                found.append((joints.astype(np.int64), dequantized(weights).astype(np.float64)))
        return found

    def _read(self, name: str, *widths: int) -> np.ndarray:
        number = self._accessors.whole(name)
        if name not in self._unpacked:
            return self._data.accessor(number, *widths, count=self._count)
        values = self._unpacked[name]
        if values.ndim != 2 or values.shape[1] not in widths or self._count not in (None, len(values)):
            raise StageError("corrupt_file", f"{self._accessors.path}: Draco gives {name} the shape {values.shape}")
        normalized = self._data.document.entry("accessors", number).flag("normalized")
        return dequantized(values) if normalized else values


def _draco(primitive: Fields) -> Fields | None:
    draco = primitive.extension("KHR_draco_mesh_compression")
    return draco if draco is not None and "bufferView" in draco else None


def _uv(values: _Attributes, slot: Slot) -> np.ndarray:
    """[N, 2] float32"""
    uv = values.get(f"TEXCOORD_{slot.uv_set}", 2)
    if uv is None:
        return np.zeros((len(values.positions), 2), np.float32)
    if slot.transform is None:
        return uv.astype(np.float32)
    return (uv @ slot.transform[:, :2].T + slot.transform[:, 2]).astype(np.float32)


def _instance_accessors(node: Fields) -> dict[str, int]:
    extension = node.extension("EXT_mesh_gpu_instancing")
    attributes = None if extension is None else extension.inner("attributes")
    names = ("TRANSLATION", "ROTATION", "SCALE")
    return {} if attributes is None else {name.lower(): attributes.whole(name) for name in names if name in attributes}


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
