"""The demo corpus: the same seed gives the same bytes, every solid is closed, and what the list says is true."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from manifests.store import LocalStore
from stages.corpus.captions import caption
from stages.corpus.categories import CATEGORIES
from stages.corpus.colors import COLORS, REGIONS, contrasts, sample
from stages.corpus.corpus import Corpus
from stages.corpus.paint import PATTERNS, Paint, texture
from stages.corpus.shapes import ball, box, cylinder, dome, lathe, prism, ring, star, tube
from stages.corpus.solid import Solid

SAMPLE = 2 * len(CATEGORIES)  # two of each


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def models():
    corpus = Corpus(count=SAMPLE, seed=11)
    return [corpus.model(index) for index in range(SAMPLE)]


def test_same_seed_same_bytes(tmp_path):
    corpus = Corpus(count=5, seed=3)
    corpus.write(tmp_path / "a")
    corpus.write(tmp_path / "b")
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    Corpus(count=5, seed=4).write(tmp_path / "c")
    assert files_of(tmp_path / "a") != files_of(tmp_path / "c")


def test_a_larger_count_extends_a_smaller_one(tmp_path):
    small = rows_of(Corpus(count=4).write(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "meshes").iterdir()}
    large = rows_of(Corpus(count=9).write(tmp_path))
    assert large[:4] == small and len(large) == 9
    assert all(path.stat().st_mtime_ns == moment for path, moment in before.items())
    Corpus(count=9).write(tmp_path / "fresh")
    fresh = files_of(tmp_path / "fresh")
    assert {name: data for name, data in files_of(tmp_path).items() if not name.startswith("fresh")} == fresh


def test_a_folder_that_holds_it_is_left_alone(tmp_path):
    corpus = Corpus(count=4)
    corpus.write(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    corpus.write(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_what_is_missing_comes_back_and_what_is_superseded_goes(tmp_path):
    corpus = Corpus(count=4)
    corpus.write(tmp_path)
    whole = files_of(tmp_path)
    next((tmp_path / "meshes").iterdir()).unlink()
    corpus.write(tmp_path)
    assert files_of(tmp_path) == whole
    (tmp_path / "source.jsonl").write_text("cut off {")
    corpus.write(tmp_path)
    assert files_of(tmp_path) == whole
    rows = rows_of(Corpus(count=3, seed=1).write(tmp_path))
    assert {path.name for path in (tmp_path / "meshes").iterdir()} == {Path(row["uri"]).name for row in rows}


def test_the_list_is_written_last(tmp_path):
    seen = []
    Corpus(count=3).write(tmp_path, lambda done: seen.append((done, (tmp_path / "source.jsonl").exists())))
    assert seen == [(1, False), (2, False), (3, False)]


@pytest.mark.parametrize("fields", [{"count": 0}, {"seed": -1}, {"number": 5}])
def test_wrong_fields_are_refused(fields):
    with pytest.raises(ValidationError):
        Corpus(**fields)


def test_categories_are_balanced_over_any_count():
    assert len(CATEGORIES) >= 30
    assert len({category.name for category in CATEGORIES}) == len(CATEGORIES)
    corpus = Corpus(seed=5)
    for count in (7, len(CATEGORIES), 130):
        found = Counter(corpus.category(index) for index in range(count))
        assert max(found.values()) - min(found[number] for number in range(len(CATEGORIES))) <= 1


def test_colors_and_patterns_are_spread(models):
    assert {row["color"] for row, _ in models} == set(COLORS)
    assert {row["pattern"] for row, _ in models} == set(PATTERNS)


def test_columns(models):
    for row, _ in models:
        assert row["uri"] == f"meshes/{row['id']}.glb"
        assert row["licence"] == "Apache-2.0"
        assert row["color"] in COLORS and row["pattern"] in PATTERNS
        assert row["second_color"] is None or row["second_color"] in contrasts(row["color"])
        assert {row["category"], row["color"]} <= set(row["tags"])
        assert all(isinstance(tag, str) for tag in row["tags"])
        assert all(" " in feature or feature.isalpha() for feature in row["features"])
        assert json.loads(json.dumps(row)) == row


def test_attributes_are_those_of_the_paints(models):
    for row, solids in models:
        paints = {paint for _, paint in solids}
        assert {paint.pattern for paint in paints} & set(PATTERNS[1:]) == {row["pattern"]} - {"plain"}
        if row["trim"] or row["pattern"] != "plain":
            assert row["second_color"]
        named = [name for name in COLORS if any(is_named(paint.rgb, name) for paint in paints)]
        assert row["color"] in named
        if row["second_color"]:
            seconds = [paint.second for paint in paints if paint.second] + [paint.rgb for paint in paints]
            assert any(is_named(rgb, row["second_color"]) for rgb in seconds)


def is_named(rgb, name: str) -> bool:
    import colorsys

    hue, saturation, value = colorsys.rgb_to_hsv(*rgb)
    (low, high), (dull, vivid), (dark, light) = REGIONS[name]
    slack = 1e-6
    turn = (hue * 360 - low) % 360
    return (
        (turn <= high - low + slack or turn >= 360 - slack or high - low == 360)
        and dull - slack <= saturation <= vivid + slack
        and dark - slack <= value <= light + slack
    )


def test_captions_are_true_and_vary(models):
    rng = np.random.default_rng(0)
    for row, _ in models:
        said = {row["caption"], *(caption(row, rng) for _ in range(12))}
        assert len(said) > 1
        for text in said:
            words = text.replace(",", "").split()
            assert row["category"] in text and row["color"] in words
            allowed = {row["color"], row["second_color"]}
            features = " ".join(row["features"]).split()
            assert not (set(words) & set(COLORS)) - allowed - set(features)
            if row["pattern"] != "plain":
                assert row["second_color"] in words
            assert "  " not in text and not text.endswith((",", " with", " and"))


@pytest.mark.parametrize(
    "solid",
    [
        box(1, 2, 3),
        box(1, 0.02, 1, 0.1),
        cylinder(0.5, 1),
        cylinder(0.5, 1, 0),
        ball(1),
        dome(1, 0.5),
        ring(1, 0.2),
        lathe([(1, 0), (1.2, 0), (1.2, 0.5), (1, 0.5), (1, 0)]),
        tube([[0, 0, 0], [0, 1, 0], [0, 2, 1]], 0.1),
        prism(star(5, 1, 0.5), 0.3).turned("x", 40).stretched(1, 2, 0.5),
    ],
)
def test_shapes_are_closed_and_face_outward(solid):
    check_closed(solid)


def test_every_solid_of_every_category_is_closed_and_faces_outward(models):
    for row, solids in models:
        for solid, _ in solids:
            check_closed(solid, row["id"])


def check_closed(solid: Solid, name: str = "") -> None:
    assert np.isfinite(solid.points).all() and np.isfinite(solid.uvs).all(), name
    assert np.allclose(np.linalg.norm(solid.normals, axis=1), 1), name
    assert solid.volume() > 0, name
    corners = solid.points[solid.faces]
    facing = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.einsum("ij,ij->i", facing, solid.normals[solid.faces].mean(1)) > 0).all(), name
    # seams double the points: weld them, then every edge must be met by its reverse
    welded = np.unique(solid.points.round(7), axis=0, return_inverse=True)[1].reshape(-1)[solid.faces]
    edges = np.concatenate([welded[:, [0, 1]], welded[:, [1, 2]], welded[:, [2, 0]]])
    edges = edges[edges[:, 0] != edges[:, 1]]
    forward, backward = (Counter(map(tuple, each.tolist())) for each in (edges, edges[:, ::-1]))
    assert forward == backward, name


def test_meshes_load(tmp_path):
    import trimesh

    path = Corpus(count=len(CATEGORIES), seed=2).write(tmp_path)
    for row in rows_of(path):
        scene = trimesh.load(tmp_path / row["uri"], force="scene")
        meshes = list(scene.geometry.values())
        faces = sum(len(mesh.faces) for mesh in meshes)
        assert 200 <= faces <= 8000, row["id"]
        assert len(meshes) <= 3, row["id"]
        assert 1.2 < scene.extents.max() < 2.6, row["id"]
        for mesh in meshes:
            assert mesh.visual.uv.shape == (len(mesh.vertices), 2)
            assert mesh.visual.material.baseColorTexture is not None
            assert np.isfinite(mesh.vertices).all()


@pytest.mark.parametrize("pattern", PATTERNS[1:])
def test_patterns_tile_and_the_first_color_covers_most(pattern):
    pixels = texture(Paint((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), pattern)).astype(float)
    assert 0.55 < pixels[..., 0].mean() / 255 < 0.75
    rough = np.abs(np.diff(pixels, axis=0)).mean()
    assert np.abs(pixels[0] - pixels[-1]).mean() <= 4 * rough + 1


def test_named_colors_stay_apart():
    rng = np.random.default_rng(0)
    samples = {name: np.array([sample(name, rng) for _ in range(40)]) for name in COLORS}
    for name, colors in samples.items():
        for other, others in samples.items():
            if name != other:
                assert np.linalg.norm(colors[:, None] - others[None], axis=-1).min() > 0.12, (name, other)


def test_the_list_reads_back_through_the_store(tmp_path):
    path = Corpus(count=2).write(tmp_path)
    store = LocalStore(str(tmp_path))
    assert all(store.read(row["uri"])[:4] == b"glTF" for row in rows_of(path))
