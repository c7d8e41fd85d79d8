"""Render small meshes, in a process of its own: a process that has drawn must not import torch."""

import io
import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from manifests.store import open_store
from stages.artifacts.views import Views
from stages.contract.stage import Context, Done, Outcome, StageError, Work
from stages.ingest import Ingest
from stages.meshes.model import Material, Model, make_part
from stages.render import Render
from stages.rendering.batches import Batches
from stages.rendering.normalization import normalization
from tests.stages import meshes
from tests.stages.meshes import model_of

FRONT = {"cameras": "orbit", "elevation_deg": 0.0, "views": 4, "size": 64}  # from +z, +x, -z, -x
BARE = {**FRONT, "light": "none"}
WHITE: dict[str, Any] = {"pbrMetallicRoughness": {}}

_works: dict[str, Work] = {}


def _work(stage: Render, folder: str, rows: list[dict[str, Any]]) -> list[tuple[str, Outcome]]:
    """In the drawing process: what a worker does, one renderer for each setting."""
    key = f"{stage!r} {folder}"
    if key not in _works:
        _works[key] = stage.open(Context(open_store(folder), Path(folder)))
    return list(_works[key](rows))


def _modules() -> list[str]:
    return sorted(name for name in ("torch", "numba", "transformers", "ray") if name in sys.modules)


@pytest.fixture(scope="module")
def process() -> Iterator[ProcessPoolExecutor]:
    before = dict(os.environ)
    os.environ.update(Render.environment)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(_modules).result()
        os.environ.clear()
        os.environ.update(before)
        yield pool


Draw = Callable[..., list[Outcome]]


@pytest.fixture(scope="module")
def draw(process: ProcessPoolExecutor, tmp_path_factory: pytest.TempPathFactory) -> Draw:
    folder = tmp_path_factory.mktemp("run")
    store = open_store(folder)

    def draw(sources: list[Path], more: dict[str, Any] | None = None, **fields: Any) -> list[Outcome]:
        rows = []
        for number, source in enumerate(sources):
            ((_, taken),) = Ingest().open(Context(store, folder))([{"id": str(number), "uri": str(source)}])
            assert isinstance(taken, Done), taken
            name = f"{taken.content}.zip"
            store.replace(name, taken.artifact or b"")
            rows.append({"id": str(number), "key": f"{number:032x}", **taken.columns, "mesh": name, **(more or {})})
        outcomes = process.submit(_work, Render(**fields), str(folder), rows).result()
        assert [row_id for row_id, _ in outcomes] == [row["id"] for row in rows]
        return [outcome for _, outcome in outcomes]

    return draw


@pytest.fixture
def views(draw: Draw, tmp_path: Path) -> Callable[..., Views]:
    def views(data: bytes, name: str = "a.glb", more: dict[str, Any] | None = None, **fields: Any) -> Views:
        (tmp_path / name).write_bytes(data)
        (outcome,) = draw([tmp_path / name], more, **fields)
        assert isinstance(outcome, Done), outcome
        return Views.from_bytes(outcome.artifact or b"")

    return views


def near(pixel: np.ndarray, color: Any, tolerance: int = 2) -> bool:
    return bool(np.abs(pixel[:3].astype(int) - np.array(color[:3])).max() <= tolerance)


def srgb(light: float) -> int:
    return round(255 * (12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055))


def test_a_texture_is_the_right_way_up(views: Callable[..., Views]) -> None:
    texture = meshes.png(meshes.blocks(meshes.QUARTERS))
    for image in views(meshes.cube_gltf(texture=texture).glb(), **BARE).color_pixels():
        middle = image.shape[0] // 2
        for row, column in np.ndindex(2, 2):
            pixel = image[middle - 8 + 16 * row, middle - 8 + 16 * column]
            assert near(pixel, meshes.QUARTERS[row, column]), (row, column, pixel)
        assert (image[0] == 0).all() and image[middle, middle, 3] == 255


def test_factor_times_texture_times_vertex_colour(views: Callable[..., Views]) -> None:
    grey = meshes.png(np.full((4, 4, 4), (188, 188, 188, 255)))  # 188 is half the light of 255
    colors = np.tile(np.array([[0.5, 1, 1, 1]], np.float32), (24, 1))
    material = {"pbrMetallicRoughness": {"baseColorFactor": [0.5, 0.5, 1, 1], "metallicFactor": 1.0}}
    image = views(meshes.cube_gltf(material, colors, grey).glb(), **BARE).color_pixels()[0]
    assert near(image[32, 32], (srgb(0.125), srgb(0.25), srgb(0.5)))


def test_emission_is_added_and_unlit_has_no_light(views: Callable[..., Views]) -> None:
    glowing = {"pbrMetallicRoughness": {"baseColorFactor": [0, 0, 0, 1]}, "emissiveFactor": [0.2, 0.4, 0.6]}
    image = views(meshes.cube_gltf(glowing).glb(), **FRONT).color_pixels()[0]
    assert near(image[32, 32], (srgb(0.2), srgb(0.4), srgb(0.6)))
    unlit = {"pbrMetallicRoughness": {"baseColorFactor": [0.2, 0.4, 0.6, 1]}, "extensions": {"KHR_materials_unlit": {}}}
    image = views(meshes.cube_gltf(unlit).glb(), **FRONT).color_pixels()[0]
    assert near(image[32, 32], (srgb(0.2), srgb(0.4), srgb(0.6)))


def test_texture_transform(views: Callable[..., Views]) -> None:
    texture = meshes.png(meshes.blocks(meshes.QUARTERS))
    change = {"KHR_texture_transform": {"offset": [0.5, 0.0], "scale": [0.5, 0.5]}}
    image = views(meshes.cube_gltf(texture=texture, color_extension=change).glb(), **BARE).color_pixels()[0]
    assert near(image[24, 40], meshes.QUARTERS[0, 1]) and near(image[40, 24], meshes.QUARTERS[0, 1])


def test_missing_texture_leaves_its_factor_and_a_warning(draw: Draw, tmp_path: Path) -> None:
    material = {"pbrMetallicRoughness": {"baseColorFactor": [1, 0, 0, 1]}}
    (tmp_path / "a.glb").write_bytes(meshes.cube_gltf(material, texture="gone.png").glb())
    (outcome,) = draw([tmp_path / "a.glb"], **BARE)
    assert isinstance(outcome, Done)
    assert outcome.columns["warnings"] == ["missing file: gone.png"]
    assert near(Views.from_bytes(outcome.artifact or b"").color_pixels()[0][32, 32], (255, 0, 0))


_contexts: list[Any] = []


def _uploads(data: bytes, folder: str) -> list[str]:
    """In the drawing process: OpenGL's calls that upload an image or make a sampler, of one object."""
    from stages.rendering.context import open_context

    _contexts.append(open_context(16))  # it stays: deleting it would end those of the renderers
    from OpenGL import GL

    calls: list[str] = []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            if name in ("glTexImage2D", "glGenSamplers"):
                calls.append(name)
            return getattr(GL, name)

    batches = Batches(Counting())
    batches.upload(model_of(data, Path(folder)), np.eye(4))
    batches.release()
    return sorted(calls)


def test_textures_of_one_image_share_its_upload(
    process: ProcessPoolExecutor, views: Callable[..., Views], tmp_path: Path
) -> None:
    def made(*wraps: int) -> meshes.Gltf:
        """A square that faces +z and one that faces -z, with one image, repeated or clamped, of twice its size."""
        made = meshes.quad_gltf({}, meshes.png(meshes.blocks(meshes.QUARTERS, 4)))
        document = made.document
        document["samplers"] = [{"wrapS": wrap, "wrapT": wrap} for wrap in wraps]
        document["textures"] = [{"source": 0, "sampler": number} for number in (0, 1)]
        (primitive,) = document["meshes"][0]["primitives"]
        twice = {"KHR_texture_transform": {"scale": [2, 2]}}
        for number in (0, 1):
            reference = {"baseColorTexture": {"index": number, "extensions": twice}}
            material = made.add("materials", {"pbrMetallicRoughness": reference})
            back = {"rotation": [0, 1, 0, 0]} if number else {}
            made.node(mesh=made.add("meshes", {"primitives": [{**primitive, "material": material}]}), **back)
        del document["scenes"][0]["nodes"][0]
        return made

    repeat, clamp = 10497, 33071
    mixed = made(repeat, clamp).glb()
    assert process.submit(_uploads, mixed, str(tmp_path)).result() == ["glGenSamplers"] * 2 + ["glTexImage2D"]
    assert process.submit(_uploads, made(clamp, clamp).glb(), str(tmp_path)).result() == [
        "glGenSamplers",
        "glTexImage2D",
    ]
    both, repeated, clamped = (
        views(made(*wraps).glb(), **BARE) for wraps in ((repeat, clamp), (repeat,) * 2, (clamp,) * 2)
    )
    assert both.colors[0] == repeated.colors[0] != clamped.colors[0]
    assert both.colors[2] == clamped.colors[2] != repeated.colors[2]


def test_materials_that_are_drawn_have_a_limit() -> None:
    corners = np.eye(3)
    parts = [make_part(corners, np.arange(3), Material(cutoff=number / 1e6)) for number in range(20_001)]
    with pytest.raises(StageError, match="20,001 different materials") as caught:
        Batches(None).upload(Model(parts), np.eye(4))
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("scale", [[-1, 1, 1], [1, 1, -1], [-2, -2, -2]])
def test_mirrored_nodes_show_their_outside(views: Callable[..., Views], scale: list[float]) -> None:
    plain = views(meshes.cube_gltf().glb(), **FRONT)
    mirrored = views(meshes.cube_gltf(scale=scale).glb(), **FRONT)
    assert np.abs(plain.depth_pixels() - mirrored.depth_pixels()).max() < 1e-3
    assert np.abs(plain.color_pixels().astype(int) - mirrored.color_pixels()).max() <= 2


def test_backs_are_culled_only_if_single_sided(views: Callable[..., Views]) -> None:
    for double_sided, seen in ((False, 0), (True, 255)):
        quad = meshes.quad_gltf({**WHITE, "doubleSided": double_sided}).glb()
        image = views(quad, sides="author", **FRONT).color_pixels()
        assert image[0, 32, 32, 3] == 255 and image[2, 32, 32, 3] == seen


def _outlined() -> meshes.Gltf:
    """A box with a slightly larger one around it, whose faces point inwards."""
    made = meshes.cube_gltf(WHITE)
    positions, _, _, faces = meshes.cube()
    made.node(mesh=made.mesh(positions * 1.04, np.ascontiguousarray(faces[:, ::-1]), {}, WHITE))
    return made


def _box(faces: slice, step: int = 1) -> meshes.Gltf:
    made = meshes.Gltf()
    positions, _, _, corners = meshes.cube()
    made.node(mesh=made.mesh(positions, np.ascontiguousarray(corners[faces, ::step]), {}, WHITE))
    return made


def test_both_sides_are_drawn_where_culling_opens_the_surface(draw: Draw, tmp_path: Path) -> None:
    """Not where it is meant, as of a hull around an object that is its outline."""
    files = {
        "sheet": (meshes.quad_gltf(WHITE), "both"),
        "box": (meshes.cube_gltf(WHITE), "author"),
        "outlined": (_outlined(), "author"),
        "inside out": (_box(slice(None), -1), "both"),
        "open": (_box(slice(0, 10)), "both"),
        "double-sided": (meshes.quad_gltf({**WHITE, "doubleSided": True}), None),
    }
    paths = [(tmp_path / name).with_suffix(".glb") for name in files]
    for path, (gltf, _) in zip(paths, files.values(), strict=True):
        path.write_bytes(gltf.glb())
    settings = {"views": 12, "size": 48}
    by_sides = {sides: draw(paths, sides=sides, **settings) for sides in ("auto", "author", "both")}
    for number, (name, (_, expected)) in enumerate(files.items()):
        auto, author, both = (by_sides[sides][number] for sides in ("auto", "author", "both"))
        assert isinstance(auto, Done) and isinstance(author, Done) and isinstance(both, Done)
        assert auto.columns.get("sides") == expected, name
        assert auto.artifact == (both if expected == "both" else author).artifact, name
        warned = [text.split(":")[0] for text in auto.columns["warnings"]]
        assert (warned == ["both sides"]) == (expected == "both"), name
        assert "sides" not in author.columns and not both.columns["warnings"]


def test_transforms_of_nodes_are_combined(tmp_path: Path) -> None:
    made = meshes.cube_gltf()
    made.document["scenes"][0]["nodes"] = []
    half = float(np.sqrt(0.5))
    child = made.node(root=False, mesh=0, translation=[1, 0, 0])
    made.node(children=[child], rotation=[0, 0, half, half], scale=[2, 2, 2])  # a quarter turn: x becomes y
    positions = model_of(made.glb(), tmp_path).parts[0].positions
    assert np.allclose(positions.min(0), [-1, 1, -1]) and np.allclose(positions.max(0), [1, 3, 1])


def test_skins_and_morph_targets(tmp_path: Path) -> None:
    made = meshes.Gltf()
    positions, _, _, faces = meshes.cube()
    attributes: dict[str, np.ndarray] = {
        "JOINTS_0": np.zeros((24, 4), np.uint16),
        "WEIGHTS_0": np.tile(np.array([[1, 0, 0, 0]], np.float32), (24, 1)),
    }
    shift = made.accessor(np.tile(np.array([[0, 10, 0]], np.float32), (24, 1)))
    mesh = made.mesh(positions, faces, attributes, targets=[{"POSITION": shift}])
    made.document["meshes"][mesh]["weights"] = [0.5]
    joint = made.node(translation=[3, 0, 0])
    inverse = np.eye(4, dtype=np.float32)
    inverse[3, :3] = [-1, 0, 0]  # column-major: the joint stood at x = 1 when it was bound
    made.document["skins"] = [{"joints": [joint], "inverseBindMatrices": made.accessor(inverse.reshape(1, 16))}]
    made.node(mesh=mesh, skin=0, translation=[100, 100, 100])
    positions = model_of(made.glb(), tmp_path).parts[0].positions
    assert np.allclose((positions.min(0) + positions.max(0)) / 2, [2, 5, 0])


def test_edges_are_straight_alpha(views: Callable[..., Views]) -> None:
    images = views(meshes.cube_gltf().glb(), size=48, views=12, light="none").color_pixels()
    alpha = images[..., 3]
    assert ((alpha > 0) & (alpha < 255)).any()
    assert images[alpha > 0][:, :3].min() >= 253  # a white cube stays white on white, no dark fringe
    assert (images[alpha == 0] == 0).all()


def test_one_sample_gives_hard_edges(views: Callable[..., Views]) -> None:
    alpha = views(meshes.cube_gltf().glb(), size=48, views=3, samples=1).color_pixels()[..., 3]
    assert set(np.unique(alpha)) == {0, 255}


def test_depth_and_cameras_lead_back_to_the_surface(views: Callable[..., Views]) -> None:
    seen = views(meshes.cube_gltf(translation=[1000, -50, 3], scale=[7, 7, 7]).glb(), views=16, size=96)
    side = 1 / np.sqrt(3)  # half the edge of a cube in the unit sphere
    rows, columns = np.mgrid[:96, :96] + 0.5
    total = 0
    for depth, matrix, pose in zip(seen.depth_pixels(), seen.intrinsics, seen.camera_to_world, strict=True):
        ahead = np.stack([columns, rows, np.ones_like(rows)], -1)[depth > 0] @ np.linalg.inv(matrix).T
        points = (ahead * depth[depth > 0][:, None]) @ pose[:3, :3].T + pose[:3, 3]
        assert np.abs(np.abs(points).max(1) - side).max() < 1e-3
        total += len(points)
    assert total > 16 * 96 * 96 / 5
    corner = seen.normalization @ [1003.5, -46.5, 6.5, 1]
    assert np.allclose(corner, [side, side, side, 1])
    solid = seen.color_pixels()[..., 3]
    assert (seen.depth_pixels()[solid == 255] > 0).all() and (seen.depth_pixels()[solid == 0] == 0).all()


def test_blended_surfaces(views: Callable[..., Views]) -> None:
    glass = {"pbrMetallicRoughness": {"baseColorFactor": [1, 0, 0, 0.5]}, "alphaMode": "BLEND", "doubleSided": True}
    seen = views(meshes.quad_gltf(glass).glb(), **BARE)
    assert (
        near(seen.color_pixels()[0][32, 32], (255, 0, 0), 3) and abs(int(seen.color_pixels()[0][32, 32, 3]) - 128) <= 2
    )
    assert seen.depth_pixels().max() == 0  # nothing solid
    both = meshes.quad_gltf(glass)
    positions, _, _, faces = meshes.cube()
    blue = {"pbrMetallicRoughness": {"baseColorFactor": [0, 0, 1, 1]}}
    both.node(mesh=both.mesh(positions * 0.5 - [0, 0, 0.5], faces, {}, blue))
    image = views(both.glb(), **BARE).color_pixels()[0]
    assert near(image[32, 32], (128, 0, 128), 3) and image[32, 32, 3] == 255


def test_masked_surfaces(views: Callable[..., Views]) -> None:
    holes = meshes.QUARTERS.copy()
    holes[0, 0, 3], holes[1, 1, 3] = 100, 200
    texture = meshes.png(meshes.blocks(holes))
    seen = views(meshes.quad_gltf({"alphaMode": "MASK", "alphaCutoff": 0.5}, texture).glb(), **BARE)
    image, depth = seen.color_pixels()[0], seen.depth_pixels()[0]
    assert image[26, 26, 3] == 0 and depth[26, 26] == 0
    assert image[38, 38, 3] == 255 and depth[38, 38] > 0
    seen = views(meshes.quad_gltf({}, texture).glb(), **BARE)
    assert seen.color_pixels()[0][26, 26, 3] == 255  # alpha of an opaque material counts for nothing


def test_instances_are_drawn_and_counted(tmp_path: Path) -> None:
    made = meshes.cube_gltf(translation=[10, 0, 0])
    places = made.accessor(np.array([[0, 0, 0], [0, 5, 0], [0, 0, 7]], np.float32))
    instancing = {"attributes": {"TRANSLATION": places}}
    made.document["nodes"][0]["extensions"] = {"EXT_mesh_gpu_instancing": instancing}
    made.document["extensionsRequired"] = ["EXT_mesh_gpu_instancing"]
    (piece,) = model_of(made.glb(), tmp_path).parts
    middles = piece.positions.reshape(3, 24, 3).mean(1)
    assert middles.round(6).tolist() == [[10, 0, 0], [10, 5, 0], [10, 0, 7]] and piece.faces.max() == 3 * 24 - 1
    with pytest.raises(StageError) as caught:
        model_of(made.glb(), tmp_path, max_faces=35)
    assert caught.value.reason == "too_large"


def test_the_last_of_coincident_faces_is_seen(views: Callable[..., Views]) -> None:
    made = meshes.Gltf()
    positions, _, _, faces = meshes.cube()
    colors = np.repeat(np.array([[1, 0, 0, 1], [0, 0, 1, 1]], np.float32), len(positions), 0)
    twice = np.concatenate([faces, faces + len(positions)])
    made.node(mesh=made.mesh(np.tile(positions, (2, 1)), twice, {"COLOR_0": colors}, WHITE))
    for image in views(made.glb(), **BARE).color_pixels():
        assert (image[image[..., 3] == 255][:, :3] == (0, 0, 255)).all()


def test_light_differs_on_all_sides(views: Callable[..., Views]) -> None:
    images = views(meshes.cube_gltf().glb(), **FRONT).color_pixels()
    above = views(meshes.cube_gltf().glb(), **{**FRONT, "elevation_deg": 80.0}).color_pixels()[0]
    below = views(meshes.cube_gltf().glb(), **{**FRONT, "elevation_deg": -80.0}).color_pixels()[0]
    tones = sorted(int(image[32, 32, 0]) for image in [*images, above, below])
    assert tones[0] >= 150 and tones[-1] <= 250
    assert min(np.diff(tones)) >= 3  # every side has its own


def test_up_can_be_z(views: Callable[..., Views]) -> None:
    tall = meshes.cube_gltf(scale=[1, 1, 4]).glb()
    lying, standing = views(tall, **FRONT), views(tall, more={"up": "z"}, **FRONT)
    for seen, wide in ((lying, True), (standing, False)):
        rows, columns = np.nonzero(seen.color_pixels()[1][..., 3])
        assert (np.ptp(columns) > np.ptp(rows)) == wide


def test_up_can_be_chosen_by_the_mesh(draw: Draw, tmp_path: Path) -> None:
    """The same views as with `up: z`; the dataset says what was chosen and why, and warns of a guess."""
    ply, stl = tmp_path / "a.ply", tmp_path / "a.stl"
    ply.write_bytes(meshes.ply_cube().replace(b"\nelement vertex", b"\ncomment up axis: z\nelement vertex", 1))
    stl.write_bytes(meshes.stl_cube())
    (told,) = draw([ply], {"up": "z"}, **FRONT)
    auto, guess = draw([ply, stl], {"up": "auto"}, **FRONT)
    assert isinstance(told, Done) and isinstance(auto, Done) and isinstance(guess, Done)
    assert auto.artifact == told.artifact and "up" not in told.columns
    reason = "a comment in the file says so"
    assert auto.columns == told.columns | {"up": "z", "up_reason": reason, "up_sure": True}
    assert guess.columns["warnings"] == ["up: auto took z and is not sure: its format and shape hardly tell y from z"]
    views = Views.from_bytes(auto.artifact or b"")
    entry = Render.entry(auto.columns, lambda parse: views, {"metadata": '{"up": "auto", "size": 3}'})
    assert json.loads(entry["metadata"]) == {"size": 3, "up": "z", "up_reason": reason}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.obj", meshes.obj_cube()),
        ("a.ply", meshes.ply_cube()),
        ("b.ply", meshes.ply_cube(binary=True)),
        ("a.stl", meshes.stl_cube()),
        ("b.stl", meshes.stl_cube(binary=False)),
        ("a.off", meshes.off_cube()),
        ("draco.glb", meshes.draco_glb()),
    ],
)
def test_every_format_gives_the_same_cube(views: Callable[..., Views], name: str, data: bytes) -> None:
    fields = {"size": 48, "views": 6}
    expected, seen = views(meshes.cube_gltf().glb(), **fields), views(data, name, **fields)
    assert np.abs(expected.depth_pixels() - seen.depth_pixels()).max() < 2e-3
    shade = expected.color_pixels()[..., :3].astype(float).mean(-1) - seen.color_pixels()[..., :3].mean(-1)
    assert shade[expected.depth_pixels() > 0].std() < 12  # lit alike, whatever the grey


def test_vertex_colours_of_ply_and_obj_are_kept(views: Callable[..., Views]) -> None:
    colors = np.tile([200, 100, 50], (24, 1))
    image = views(meshes.ply_cube(colors, binary=True), "a.ply", **BARE).color_pixels()[0]
    assert near(image[32, 32], (200, 100, 50))
    lines = meshes.obj_cube().decode().splitlines()
    painted = [f"{line} 0.8 0.4 0.2" if line.startswith("v ") else line for line in lines]
    image = views("\n".join(painted).encode(), "a.obj", **BARE).color_pixels()[0]
    assert near(image[32, 32], (204, 102, 51))


def test_obj_with_its_material_and_texture(views: Callable[..., Views], tmp_path: Path) -> None:
    (tmp_path / "my skin.png").write_bytes(meshes.png(meshes.blocks(meshes.QUARTERS)))
    (tmp_path / "m.mtl").write_bytes(b"newmtl a b\nKd 1 1 1\nTr 1\nmap_Kd -s 1 1 1 my skin.png\n")
    data = meshes.obj_cube("mtllib m.mtl").replace(b"\nf ", b"\nusemtl a b\nf ", 1)
    image = views(data, "a.obj", **BARE).color_pixels()[0]
    for row, column in np.ndindex(2, 2):
        assert near(image[24 + 16 * row, 24 + 16 * column], meshes.QUARTERS[row, column])


def test_obj_with_negative_indices_polygons_and_comments(tmp_path: Path) -> None:
    text = b"v 0 0 0 # origin\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 2 0.5 0\nf -5 -4 -3 -2\nf 2/ 5// 3 # last\n"
    (piece,) = model_of(text, tmp_path, "a.obj").parts
    corners = piece.positions[piece.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    assert np.allclose(sorted(area), [0.5, 0.5, 0.5])


def test_off_with_colours(tmp_path: Path) -> None:
    of_vertices = b"COFF\n3 1 0\n0 0 0 255 0 0 255\n1 0 0 255 0 0 255\n0 1 0 255 0 0 255\n3 0 1 2\n"
    assert np.allclose(model_of(of_vertices, tmp_path, "a.off").parts[0].colors, [1, 0, 0, 1])
    of_faces = b"OFF 3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2 0.0 1.0 0.0\n"
    assert np.allclose(model_of(of_faces, tmp_path, "b.off").parts[0].colors, [0, 1, 0, 1])


def test_textures_of_ply(views: Callable[..., Views], tmp_path: Path) -> None:
    (tmp_path / "skin.png").write_bytes(meshes.png(meshes.blocks(meshes.QUARTERS)))
    text = (
        "ply\nformat ascii 1.0\ncomment TextureFile skin.png\nelement vertex 4\nproperty float x\nproperty float y\n"
        "property float z\nproperty float s\nproperty float t\nelement face 1\n"
        "property list uchar int vertex_indices\nend_header\n0 0 0 0 0\n1 0 0 1 0\n1 1 0 1 1\n0 1 0 0 1\n4 0 1 2 3\n"
    )
    image = views(text.encode(), "a.ply", **BARE).color_pixels()[0]
    assert near(image[26, 26], meshes.QUARTERS[0, 0]) and near(image[38, 38], meshes.QUARTERS[1, 1])


PLY_HEAD = b"ply\nformat %b 1.0\nelement vertex 5\nproperty float x\nproperty float y\nproperty float z\n"
CORNERS = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0.5, 0]], np.float32)


def area_of(model: Any) -> float:
    corners = np.concatenate([piece.positions[piece.faces] for piece in model.parts])
    return float(
        np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2
    )


@pytest.mark.parametrize(("form", "order"), [(b"binary_big_endian", ">"), (b"binary_little_endian", "<")])
def test_ply_with_polygons_of_different_size(tmp_path: Path, form: bytes, order: str) -> None:
    head = PLY_HEAD % form + b"element face 2\nproperty list uchar int vertex_index\nproperty uchar red\n"
    head += b"property uchar green\nproperty uchar blue\nend_header\n"
    quad = b"\4" + np.arange(4).astype(order + "i4").tobytes() + bytes([255, 0, 0])
    triangle = b"\3" + np.array([1, 4, 2]).astype(order + "i4").tobytes() + bytes([0, 255, 0])
    data = head + CORNERS.astype(order + "f4").tobytes() + quad + triangle
    model = model_of(data, tmp_path, "a.ply")
    assert model.faces == 3 and area_of(model) == pytest.approx(1.5)
    assert sorted(map(tuple, np.unique(model.parts[0].colors, axis=0))) == [(0, 1, 0, 1), (1, 0, 0, 1)]
    with pytest.raises(StageError) as caught:
        model_of(data[:-10], tmp_path, "b.ply")
    assert caught.value.reason == "corrupt_file"


def test_ply_with_strips(tmp_path: Path) -> None:
    lines = "\n".join(" ".join(map(str, row)) for row in CORNERS).encode()
    head = PLY_HEAD % b"ascii" + b"element tristrips 1\nproperty list int int vertex_indices\nend_header\n"
    model = model_of(head + lines + b"\n8 0 1 3 2 -1 1 4 2\n", tmp_path, "a.ply")
    assert model.faces == 3 and area_of(model) == pytest.approx(1.5)
    piece = model.parts[0]
    corners = piece.positions[piece.faces]
    assert (np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] > 0).all()


def test_image_modes(views: Callable[..., Views], tmp_path: Path) -> None:
    quarters = Image.fromarray(meshes.blocks(meshes.QUARTERS))
    deep = Image.fromarray(np.full((8, 8), 0x8080, np.uint16))
    for name, image, expected in (("p.png", quarters.convert("P"), (255, 0, 0)), ("deep.png", deep, (128, 128, 128)),
                                  ("w.webp", quarters, (255, 0, 0))):  # fmt: skip
        image.save(tmp_path / name, lossless=True)
        made = meshes.cube_gltf(texture=(tmp_path / name).read_bytes())
        assert near(views(made.glb(), **BARE).color_pixels()[0][24, 24], expected), name


def test_any_size_and_count(views: Callable[..., Views]) -> None:
    for size, count in ((17, 1), (200, 3)):
        seen = views(meshes.cube_gltf().glb(), size=size, views=count)
        assert seen.color_pixels().shape == (count, size, size, 4)
        assert seen.depth_pixels().shape == (count, size, size)
        assert seen.intrinsics.shape == (count, 3, 3) and seen.camera_to_world.shape == (count, 4, 4)


def test_renderers_of_one_process_do_not_mix(draw: Draw, tmp_path: Path) -> None:
    (tmp_path / "a.glb").write_bytes(meshes.cube_gltf(texture=meshes.png(meshes.QUARTERS)).glb())
    first, _, again = (draw([tmp_path / "a.glb"], size=size, views=2, seed=9)[0] for size in (150, 40, 150))
    assert isinstance(first, Done) and isinstance(again, Done) and first.artifact == again.artifact


def _cycle() -> bytes:
    made = meshes.cube_gltf()
    made.document["nodes"][0]["children"] = [0]
    return made.glb()


def _bad_position(value: float) -> bytes:
    made = meshes.Gltf()
    positions, _, _, faces = meshes.cube()
    positions = positions.copy()
    positions[3, 1] = value
    made.node(mesh=made.mesh(positions, faces, {}))
    return made.glb()


def _face_out_of_range() -> bytes:
    made = meshes.Gltf()
    positions, _, _, faces = meshes.cube()
    made.node(mesh=made.mesh(positions, faces + 100, {}))
    return made.glb()


def _requires(extension: str) -> bytes:
    made = meshes.cube_gltf()
    made.document["extensionsRequired"] = [extension]
    return made.glb()


def _points() -> bytes:
    made = meshes.cube_gltf()
    made.document["meshes"][0]["primitives"][0]["mode"] = 0
    return made.glb()


def _tiny_bomb() -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    return meshes.cube_gltf(texture=buffer.getvalue()).glb()


NOISE = meshes.png(np.random.default_rng(0).integers(0, 255, (64, 64, 4)))
BROKEN = {
    "empty": (meshes.Gltf().glb(), "empty_scene"),
    "one point": (meshes.cube_gltf(scale=[0, 0, 0]).glb(), "empty_scene"),
    "points": (_points(), "no_faces"),
    "nan": (_bad_position(np.nan), "bad_coordinates"),
    "infinite": (_bad_position(np.inf), "bad_coordinates"),
    "far away": (meshes.cube_gltf(translation=[0, 1e308, 0], scale=[0.1, 0.1, 0.1]).glb(), "bad_coordinates"),
    "far": (meshes.cube_gltf(translation=[1e300, 0, 0]).glb(), "bad_coordinates"),
    "overflow": (meshes.cube_gltf(scale=[1e200, 1e200, 1e200]).glb(), "bad_coordinates"),
    "truncated png": (meshes.cube_gltf(texture=NOISE[:5000]).glb(), "bad_texture"),
    "no png": (meshes.cube_gltf(texture=b"not an image").glb(), "bad_texture"),
    "pixels": (_tiny_bomb(), "too_large"),
    "cycle": (_cycle(), "corrupt_file"),
    "index": (_face_out_of_range(), "corrupt_file"),
    "unknown": (_requires("VENDOR_magic"), "unsupported"),
    "invisible": (meshes.cube_gltf({"alphaMode": "MASK", "alphaCutoff": 2.0}).glb(), "nothing_visible"),
}  # fmt: skip


def test_a_refused_mesh_has_its_reason_and_does_not_affect_others(draw: Draw, tmp_path: Path) -> None:
    good = meshes.cube_gltf(texture=meshes.png(meshes.QUARTERS)).glb()
    sources = []
    for number, (data, _) in enumerate([*BROKEN.values(), (good, "")]):
        for name, content in ((f"{number}-good.glb", good), (f"{number}.glb", data)):
            (tmp_path / name).write_bytes(content)
            sources.append(tmp_path / name)
    outcomes = draw(sources, **FRONT)
    for name, outcome in zip(BROKEN, outcomes[1::2], strict=False):
        assert isinstance(outcome, StageError), name
        assert outcome.reason == BROKEN[name][1], (name, outcome.reason, outcome.detail)
        assert not outcome.transient and "\n" not in outcome.detail
    artifacts = {outcome.artifact for outcome in outcomes[0::2] if isinstance(outcome, Done)}
    assert len(artifacts) == 1 and all(isinstance(outcome, Done) for outcome in outcomes[0::2])


@pytest.mark.parametrize("limit", ["max_faces", "max_vertices", "max_nodes", "max_texture_pixels"])
def test_limits(draw: Draw, tmp_path: Path, limit: str) -> None:
    made = meshes.cube_gltf(texture=meshes.png(meshes.blocks(meshes.QUARTERS, 2)))
    for _ in range(3):
        made.node(mesh=0)  # instances count
    (tmp_path / "a.glb").write_bytes(made.glb())
    exact = {"max_faces": 48, "max_vertices": 96, "max_nodes": 4, "max_texture_pixels": 16}[limit]
    (enough,) = draw([tmp_path / "a.glb"], **BARE, **{limit: exact})
    assert isinstance(enough, Done)
    (short,) = draw([tmp_path / "a.glb"], **BARE, **{limit: exact - 1})
    assert isinstance(short, StageError) and short.reason == "too_large"


@pytest.mark.parametrize(
    ("name", "data"), [("a.ply", meshes.ply_cube()), ("a.stl", meshes.stl_cube()), ("a.off", meshes.off_cube()),
                       ("a.obj", meshes.obj_cube())]
)  # fmt: skip
def test_limits_of_the_plain_formats(tmp_path: Path, name: str, data: bytes) -> None:
    assert model_of(data, tmp_path, name, max_faces=12).faces == 12
    with pytest.raises(StageError) as caught:
        model_of(data, tmp_path, name, max_faces=11)
    assert caught.value.reason == "too_large"


def test_same_input_same_bytes(process: ProcessPoolExecutor, draw: Draw, tmp_path: Path) -> None:
    for name, made in (("a", meshes.cube_gltf(texture=meshes.png(meshes.QUARTERS))), ("b", meshes.quad_gltf(WHITE))):
        (tmp_path / f"{name}.glb").write_bytes(made.glb())
    first, second = [tmp_path / "a.glb", tmp_path / "b.glb"], [tmp_path / "b.glb", tmp_path / "a.glb"]
    one, two = draw(first), draw(second)
    assert all(isinstance(outcome, Done) for outcome in one)
    assert one == two[::-1]
    assert process.submit(_modules).result() == []


def test_far_away_and_tiny_meshes_keep_their_shape(tmp_path: Path) -> None:
    for scale, shift in ((1e-12, 0.0), (1e12, 0.0), (1.0, 1e5)):
        model = model_of(meshes.cube_gltf(scale=[scale] * 3, translation=[shift] * 3).glb(), tmp_path)
        matrix = normalization(model, "y")
        positions = model.parts[0].positions @ matrix[:3, :3].T + matrix[:3, 3]
        assert np.allclose(np.abs(positions), 1 / np.sqrt(3), atol=1e-6)


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValueError):
        Render(veiws=3)  # type: ignore[call-arg]
    assert Render().key({"up": "z"}) != Render().key({"up": "y"})


def test_obj_indices_before_the_first_vertex_are_corrupt(tmp_path: Path) -> None:
    for face in (b"f -9 1 2\n", b"f 0 1 2\n", b"f 1 2 9\n"):
        with pytest.raises(StageError) as caught:
            model_of(b"v 0 0 0\nv 1 0 0\nv 1 1 0\n" + face, tmp_path, "a.obj")
        assert caught.value.reason == "corrupt_file"


def test_what_views_and_splats_show_only_in_part_has_a_warning(draw: Draw, tmp_path: Path) -> None:
    def blended(alpha: float) -> dict[str, Any]:
        return {"pbrMetallicRoughness": {"baseColorFactor": [1, 0, 0, alpha]}, "alphaMode": "BLEND"}

    files = {
        "sheet": meshes.quad_gltf(WHITE),
        "sheet from both sides": meshes.quad_gltf({**WHITE, "doubleSided": True}),
        "box": meshes.cube_gltf(WHITE),
        "glass": meshes.cube_gltf(blended(0.5)),
        "solid": meshes.cube_gltf(blended(1.0)),
    }
    for name, gltf in files.items():
        (tmp_path / name).with_suffix(".glb").write_bytes(gltf.glb())
    outcomes = draw([(tmp_path / name).with_suffix(".glb") for name in files], views=12, size=48, sides="author")
    found = {
        name: [text.split(":")[0] for text in outcome.columns["warnings"]] if isinstance(outcome, Done) else outcome
        for name, outcome in zip(files, outcomes, strict=True)
    }
    assert found == {
        "sheet": ["culled"], "sheet from both sides": [], "box": [], "glass": ["translucent"], "solid": [],
    }  # fmt: skip
