"""Text formats, PLY and material libraries that unfold in memory or time: refused, or read, within their limits.

The limits are small here, so that small files can show what large ones would do.
"""

from pathlib import Path

import numpy as np
import pytest

from stages.contract.stage import StageError
from stages.ingesting import companions
from stages.meshes import polygons, text_numbers
from stages.meshes.obj import mtl, reader
from tests.stages import meshes
from tests.stages.meshes import model_of

LIMITS = {"max_faces": 1000, "max_vertices": 1000, "max_nodes": 100}
_TRIANGLE = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
_OFF = b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n"
_PLY = (
    b"ply\nformat %b 1.0\n%belement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    b"element face %d\nproperty list uchar int vertex_indices\n%bend_header\n"
)
_POINTS = b"0 0 0 1 0 0 0 1 0 "
_FACE = b"3 0 1 2 " + b"0 " * 40


def ply(faces: int = 1, before: bytes = b"", after: bytes = b"") -> bytes:
    return _PLY % (b"ascii", before, faces, after) + _POINTS


REFUSED = {
    "indented faces": ("a.obj", _TRIANGLE + b" f 1 2 3\n" * 1000, "1,001 faces"),
    "faces after tabs": ("a.obj", _TRIANGLE + b"f\t1 2 3\n" * 1000, "1,001 faces"),
    "indented vertices": ("a.obj", b" v 0 0 0\n" * 1001 + _TRIANGLE, "1,001 vertices"),
    "polygons": ("a.obj", _TRIANGLE + b"f 1 2 3 1 2 3\n" * 300, "faces"),
    "a long polygon": ("a.obj", _TRIANGLE + b"f" + b"\x0b1" * 50_000, "faces"),
    "mixed corners": ("a.obj", _TRIANGLE + b"f 1 1/ 2 3// 1 2\n" * 300, "faces"),
    "groups": (
        "a.obj", _TRIANGLE[:24] + b"".join(b"usemtl m%d\nf 1 2 3\n" % n for n in range(101)), "parts of different"
    ),
    "libraries": (
        "a.obj", b"".join(b"mtllib %d.mtl\n" % n for n in range(1001)) + _TRIANGLE, "more than 1,000 material libraries"
    ),
    "words of OFF": ("a.off", _OFF + b"3 0 1 2" + b" 7" * 3000, "faces"),
    "polygon of OFF": ("a.off", _OFF + b"1003" + b" 0" * 1003, "faces"),
    "line of OFF": ("a.off", _OFF + b"3 0 1 2" + b"\x0b7" * 50_000, "faces"),
    "vertices of STL": ("a.stl", b"solid\nfacet\nendfacet\n" + b"vertex 0 0 0\n" * 1001, "1,001 vertices"),
    "elements of PLY": ("a.ply", ply(after=b"element a 0\nproperty int a\n" * 101) + _FACE, "103 elements"),
    "properties of PLY": (
        "a.ply",
        ply(after=b"element a 0\n" + b"".join(b"property int p%d\n" % n for n in range(1000))) + _FACE,
        "1,004 properties",
    ),
    "lists of PLY": (
        "a.ply", ply(after=b"".join(b"property list uchar int p%d\n" % n for n in range(17))) + _FACE, "18 lists"
    ),
    "elements of one name": (
        "a.ply", ply(before=b"element face 1001\nproperty char a\n") + b"0 " * 1001 + b"3 0 1 2", "1,001 faces"
    ),
    "values of PLY": (
        "a.ply", ply(after=b"property list int int a\n") + b"3 0 1 2 8001 " + b"0 " * 8001, "8,001 values"
    ),
    "uneven values of PLY": (
        "a.ply",
        ply(2, after=b"property list int int a\n") + b"3 0 1 2 1 0 3 0 1 2 8000 " + b"0 " * 8000, "8,001 values",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_every_face_and_value_counts(tmp_path: Path, name: str) -> None:
    file, data, text = REFUSED[name]
    with pytest.raises(StageError) as caught:
        model_of(data, tmp_path, file, **LIMITS)
    assert caught.value.reason == "too_large" and text in caught.value.detail, caught.value.detail


@pytest.mark.parametrize(
    ("file", "data"),
    [("a.obj", b"v" + b" 0" * 50_000 + b"\n" + _TRIANGLE), ("a.off", _OFF.replace(b"0 0 0", b"0 " * 50_000))],
)  # fmt: skip
def test_a_vertex_is_not_a_long_line(tmp_path: Path, file: str, data: bytes) -> None:
    with pytest.raises(StageError, match=r"a line of a few numbers has \d+,\d+ bytes") as caught:
        model_of(data + b"3 0 1 2", tmp_path, file)
    assert caught.value.reason == "corrupt_file"


def test_lines_are_converted_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Corners in several notations, and vertices of several widths, are Python objects for a part of the lines only."""
    points = b"".join(b"v %d 0 0%b\n" % (n % 7, b" 1 1 1" * (n % 30 > 9)) for n in range(100))
    faces = b"".join(b"f %d %d/ %d//\n" % (n, n + 1, n + 2) for n in range(1, 98))
    (whole,) = model_of(points + faces, tmp_path, "a.obj").parts
    monkeypatch.setattr(text_numbers, "CHUNK", 7)
    monkeypatch.setattr(reader, "CHUNK", 7)
    (part,) = model_of(points + faces, tmp_path, "a.obj").parts
    assert len(part.faces) == 97
    for name in ("positions", "colors", "faces"):
        assert (getattr(part, name) == getattr(whole, name)).all()


def test_materials_of_a_library_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mtl").write_bytes(b"".join(b"newmtl m%d\nKd 1 0 0\n" % n for n in range(101)))
    with pytest.raises(StageError, match="101 materials") as caught:
        model_of(b"mtllib a.mtl\nusemtl m1\n" + _TRIANGLE, tmp_path, "a.obj", **LIMITS)
    assert caught.value.reason == "too_large"
    monkeypatch.setattr(mtl, "_MOST_BYTES", 1000)
    with pytest.raises(StageError, match="a material library has 2,011 bytes; at most 1,000 are read") as caught:
        model_of(b"mtllib a.mtl\n" + _TRIANGLE, tmp_path, "a.obj")
    assert caught.value.reason == "too_large"


def test_textures_made_of_textures_count(tmp_path: Path) -> None:
    """Each pair of a colour and an opacity is an image of its own: 3 x 3 pairs of 256 pixels, and 6 images."""
    colors = np.full((16, 16, 4), 200, np.uint8)
    library = []
    for number in range(3):
        (tmp_path / f"k{number}.png").write_bytes(meshes.png(colors[..., :3]))
        (tmp_path / f"d{number}.png").write_bytes(meshes.png(colors - np.uint8(number * 10)))
        library += [f"newmtl m{number}{n}\nmap_Kd k{number}.png\nmap_d d{n}.png" for n in range(3)]
        library += [f"newmtl w{number}{n}\nmap_d d{number}.png" for n in range(5)]
    (tmp_path / "a.mtl").write_text("\n".join(library))
    names = [f"{kind}{number}{n}" for number in range(3) for kind, most in (("m", 3), ("w", 5)) for n in range(most)]
    data = b"mtllib a.mtl\n" + _TRIANGLE[:24] + b"".join(f"usemtl {name}\nf 1 2 3\n".encode() for name in names)
    pixels = 256 * (9 + 6 + 3)
    model = model_of(data, tmp_path, "a.obj", max_texture_pixels=pixels)
    whites = {id(part.material.color_texture.pixels) for part in model.parts if part.material.color_texture}
    assert len(model.parts) == 24 and len(whites) == 12
    with pytest.raises(StageError) as caught:
        model_of(data, tmp_path, "a.obj", max_texture_pixels=pixels - 1)
    assert caught.value.reason == "too_large"


def test_references_of_all_libraries_count_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(companions, "_MOST_COMPANIONS", 100)
    for number in range(11):
        (tmp_path / f"{number}.mtl").write_bytes(b"".join(b"map_Kd t%d-%d.png\n" % (number, n) for n in range(10)))
    data = b"".join(b"mtllib %d.mtl\n" % n for n in range(11)) + _TRIANGLE
    with pytest.raises(StageError, match="refers to 10[0-9] files; at most 100 are read") as caught:
        model_of(data, tmp_path, "a.obj")
    assert caught.value.reason == "too_large"


def test_lines_that_a_search_could_read_again_and_again(tmp_path: Path) -> None:
    """Each took time in proportion to the square of its length: minutes for these."""
    header = ply(before=b"comment TextureFile a" + b" " * 200_000 + b"b" + b" " * 200_000 + b"c\n") + b"3 0 1 2"
    assert model_of(header, tmp_path, "a.ply").faces == 1
    (tmp_path / "a.mtl").write_bytes(b"newmtl m\nmap_Kd " + b"-o 1 " * 400_000 + b"a.png\n")
    assert model_of(b"mtllib a.mtl\n" * 50_000 + _TRIANGLE, tmp_path, "a.obj").faces == 1


def test_concave_polygons_of_all_parts_share_one_budget() -> None:
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    radii = np.where(np.arange(60) % 2, 1.0, 0.2)
    star = np.stack([radii * np.cos(angles), radii * np.sin(angles), np.zeros(60)], 1)
    counts = np.array([60])
    whole, spent = polygons.Budget(), polygons.Budget(0)
    clipped = polygons.triangles(star, counts, whole)
    assert 0 < whole.tests < polygons.Budget().tests
    assert (clipped == polygons.triangles(star, counts)).all()
    assert (polygons.triangles(star, counts, spent) == polygons.fans(counts)).all()
    assert (clipped != polygons.fans(counts)).any()
