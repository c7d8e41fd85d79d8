"""Variants of OBJ, PLY, STL and OFF files, read as their authors meant them. Nothing is drawn here."""

import struct
from pathlib import Path

import numpy as np
import pytest

from stages.contract.stage import StageError
from stages.meshes.model import Model
from stages.meshes.polygons import triangles
from tests.stages import meshes
from tests.stages.meshes import model_of
from tests.stages.test_render import area_of

SQUARE = b"v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"
UV = b"vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
ARROW = [(0, 0), (2, -2), (0, 3), (-2, -2)]  # concave at its first corner
COMB = [(0, 0), (7, 0), (7, 5), (6, 1), (5, 5), (4, 1), (3, 5), (2, 1), (1, 5)]


def colors_of(model: Model) -> set[tuple[int, ...]]:
    """The different sRGB colours, in bytes, of all corners that are drawn."""
    light = np.concatenate([piece.colors[piece.faces.reshape(-1), :3] for piece in model.parts])
    srgb = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return {tuple(int(value) for value in row) for row in (srgb * 255).round()}


GREY = (196, 196, 196)  # UNPAINTED on a display


def refused(data: bytes, folder: Path, name: str, **limits: int) -> StageError:
    with pytest.raises(StageError) as caught:
        model_of(data, folder, name, **limits)
    return caught.value


@pytest.mark.parametrize("corners", [ARROW, ARROW[1:] + ARROW[:1], COMB, COMB[4:] + COMB[:4], COMB[::-1]])
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_concave_polygons_are_not_filled_beyond_their_edges(corners: list, axes: tuple[int, ...]) -> None:
    points = np.column_stack([np.array(corners, float), np.zeros(len(corners))])[:, axes]
    points = np.concatenate([points[:3], points])  # a triangle before it
    faces = triangles(points, np.array([3, len(corners)]))
    assert len(faces) == 1 + len(corners) - 2 and faces[0].tolist() == [0, 1, 2] and faces[1:].min() == 3
    a, b, c = (points[faces[1:, corner]] for corner in range(3))
    cross = np.cross(b - a, c - a)
    x, y = np.array(corners, float).T
    area = abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    assert np.linalg.norm(cross, axis=1).sum() / 2 == pytest.approx(area)  # nothing twice, nothing outside
    assert ((cross @ cross.sum(0)) >= 0).all()


def test_polygons_that_cross_themselves_end(tmp_path: Path) -> None:
    star = [(np.cos(a), np.sin(a), 0) for a in np.arange(7) * 3 * 2 * np.pi / 7]
    assert len(triangles(np.array(star), np.array([7]))) == 5
    assert len(triangles(np.full((6, 3), np.nan), np.array([6]))) == 4


def test_obj_spellings(tmp_path: Path) -> None:
    text = (
        b"\xef\xbb\xbfv 0 0 0\r\nv\t1 0 0 \r\n  v 1 1e0 -0.0 # corner\r\nv 0 1.0E+0 0 1\r\nvn -1.#IND 0 0\r\n"
        b"# C:\\models\\\r\ng a b\r\ns off\r\nf 1//1 2//1 \\\r\n 3//1 4//1\r\nf 1\r\nf 1 2\r\nf 1/1/1 2/2/1 3/3/1\r\n"
    )
    model = model_of(text, tmp_path, "a.obj")
    assert model.faces == 3 and area_of(model) == pytest.approx(1.5)
    assert any("texture coordinate" in warning for warning in model.warnings)
    assert model_of((SQUARE + b"f 1 2 3 4\n").replace(b"\n", b"\r"), tmp_path, "b.obj").faces == 2
    assert model_of(SQUARE + b"vt 1\nf 1/1/ 2/1/ 3/1/\n", tmp_path, "c.obj").faces == 1


def _textured(folder: Path, library: bytes, mesh: bytes, texture: str = "my tex.png") -> Model:
    (folder / "my lib.mtl").write_bytes(library)
    (folder / texture).write_bytes(meshes.png(meshes.QUARTERS))
    return model_of(mesh, folder, "a.obj")


@pytest.mark.parametrize(
    "line",
    ["map_Kd my tex.png", 'MAP_KD "my tex.png"', "map_Kd -s 1 1 1 -mm 0 1 my tex.png",
     "map_Kd my tex.png -clamp on -s 2 2", "map_Kd MY TEX.PNG # the wood",
     "\tmap_Kd\t.\\my tex.png  ", r"map_Kd C:\\Users\\me - you\\my tex.png",
     "map_Kd /home/me/My%20Tex.png"],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "crlf"])
def test_texture_lines_as_programs_write_them(tmp_path: Path, line: str, encoding: str) -> None:
    text, mesh = f"newmtl a skin # of wood\n{line}\n", meshes.obj_cube("mtllib my lib.mtl # too\nusemtl a skin # it\n")
    crlf = encoding == "crlf"
    library = text.replace("\n", "\r\n").encode() if crlf else text.encode(encoding)
    model = _textured(tmp_path, library, mesh.replace(b"\n", b"\r\n") if crlf else mesh)
    assert [part.material.color_texture is not None for part in model.parts] == [True] and not model.warnings


def test_a_name_whose_accents_are_spelled_otherwise_is_found(tmp_path: Path) -> None:
    library = "newmtl a\nmap_Kd ro\u0308d.png\n".encode()  # as on macOS
    model = _textured(tmp_path, library, meshes.obj_cube("mtllib my lib.mtl\nusemtl a\n"), "r\u00f6d.png")
    assert model.parts[0].material.color_texture is not None


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_text_stl_in_capitals_and_behind_a_byte_order_mark(tmp_path: Path, mark: bytes) -> None:
    text = meshes.stl_cube(binary=False)
    for data in (text, text.upper(), text.replace(b"\n", b"\r\n")):
        assert model_of(mark + data, tmp_path, "A.STL").faces == 12


def test_obj_indices_count_back_from_the_face(tmp_path: Path) -> None:
    other = SQUARE.replace(b" 0\n", b" 5\n")
    back = b"f -4 -3 -2 -1\n"
    text = b"usemtl a\n" + SQUARE + back + b"usemtl b\n" + other + back + b"usemtl a\nf 5 6 7\n"
    model = model_of(text, tmp_path, "a.obj")
    heights = [sorted(piece.positions[piece.faces.reshape(-1), 2].tolist()) for piece in model.parts]
    assert heights == [[0.0] * 6 + [5.0] * 3, [5.0] * 6]


def test_obj_colours_of_some_vertices(tmp_path: Path) -> None:
    text = b"v 0 0 0 1 0 0\nv 1 0 0\nv 0 1 0 0 0 1.0001\nf 1 2 3\n"
    assert colors_of(model_of(text, tmp_path, "a.obj")) == {(255, 0, 0), (255, 255, 255), (0, 0, 255)}


def test_obj_without_faces(tmp_path: Path) -> None:
    assert refused(SQUARE + b"l 1 2\np 1\n", tmp_path, "a.obj").reason == "no_faces"
    assert refused(SQUARE + b"cstype bezier\nsurf 0 1 0 1 1 2 3 4\n", tmp_path, "b.obj").reason == "unsupported"
    assert "points and lines are not drawn" in model_of(SQUARE + b"f 1 2 3\nl 1 2\n", tmp_path, "c.obj").warnings


LIBRARIES = {
    "texture alone": (b"map_Kd -bm 1 -blendu on my skin.png", (255, 255, 255)),
    "black": (b"Kd 0 0 0\nmap_Kd my skin.png", (255, 255, 255)),
    "factor": (b"Kd 1 0 0 # red\n\tmap_Kd\tmy skin.png", (255, 0, 0)),
    "quotes": (b'map_Kd "my skin.png"', (255, 255, 255)),
    "nothing": (b"Ns 10", GREY),
    "grey": (b"Kd 0.5", (128, 128, 128)),
}  # fmt: skip


@pytest.mark.parametrize("name", LIBRARIES)
def test_factors_of_material_libraries(tmp_path: Path, name: str) -> None:
    lines, color = LIBRARIES[name]
    (tmp_path / "my skin.png").write_bytes(meshes.png(meshes.QUARTERS))
    (tmp_path / "m.mtl").write_bytes(b"\xef\xbb\xbfnewmtl a\r\n" + lines + b"\r\n")
    model = model_of(b"mtllib .\\m.mtl\nusemtl a\n" + SQUARE + UV + b"f 1/1 2/2 3/3\n", tmp_path, "a.obj")
    assert colors_of(model) == {color} and not model.warnings
    assert (model.parts[0].material.color_texture is not None) == (b"map_Kd" in lines)


@pytest.mark.parametrize(
    ("lines", "opacity"), [(b"d 0.5", 0.5), (b"Tr 0.25", 0.75), (b"Tr 1", 1), (b"d 0", 1), (b"d 0.25\nTr 0.25", 0.25),
                           (b"Tr 0.25\nd 1", 1), (b"d -halo 0.5", 0.5)]
)  # fmt: skip
def test_opacity_of_material_libraries(tmp_path: Path, lines: bytes, opacity: float) -> None:
    (tmp_path / "m.mtl").write_bytes(b"newmtl a\n" + lines)
    (piece,) = model_of(b"usemtl a\nmtllib m.mtl\n" + SQUARE + b"f 1 2 3\n", tmp_path, "a.obj").parts
    assert piece.colors[0, 3] == opacity and piece.material.alpha == ("BLEND" if opacity < 1 else "OPAQUE")


def test_options_of_texture_lines(tmp_path: Path) -> None:
    (tmp_path / "my skin.png").write_bytes(meshes.png(meshes.QUARTERS))
    (tmp_path / "m.mtl").write_bytes(
        b"newmtl a\nmap_Kd -clamp on -s 2 4 -o 0.5 my skin.png\nmap_Ke -o 0 0.25 0 my skin.png\n"
    )
    (piece,) = model_of(b"mtllib m.mtl\nusemtl a\n" + SQUARE + UV + b"f 1/1 2/2 3/3\n", tmp_path, "a.obj").parts
    assert piece.uv.tolist() == [[0.5, 1, 0, 0.75], [2.5, 1, 1, 0.75], [2.5, -3, 1, -0.25]]
    color, emission = piece.material.color_texture, piece.material.emission_texture
    assert color is not None and color.wrap == (33071, 33071)
    assert emission is not None and emission.wrap[0] == 10497
    assert piece.emission.tolist() == [[1, 1, 1]] * 3


@pytest.mark.parametrize(("levels", "alpha"), [([0, 255], "MASK"), ([100, 150], "BLEND"), ([255, 255], "OPAQUE")])
def test_map_d_cuts_out(tmp_path: Path, levels: list[int], alpha: str) -> None:
    cut = np.full((2, 2, 4), 255)
    cut[..., :3] = np.array(levels)[:, None, None]
    (tmp_path / "cut.png").write_bytes(meshes.png(cut))
    (tmp_path / "skin.png").write_bytes(meshes.png(meshes.QUARTERS))
    (tmp_path / "m.mtl").write_bytes(b"newmtl a\nmap_Kd skin.png\nmap_d cut.png\n")
    (piece,) = model_of(b"mtllib m.mtl\nusemtl a\n" + SQUARE + UV + b"f 1/1 2/2 3/3\n", tmp_path, "a.obj").parts
    assert piece.material.alpha == alpha
    texture = piece.material.color_texture
    assert texture is not None and texture.pixels[:, 0, 3].tolist() == levels


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "é.png").write_bytes(meshes.png(meshes.QUARTERS))
    (tmp_path / "m.mtl").write_bytes("newmtl è\nKd 1 0 0\nnewmtl é\nKd 0 1 0\nmap_Kd é.png\n".encode("latin-1"))
    text = "mtllib m.mtl gone.MTL\nusemtl é\n".encode("latin-1") + SQUARE + UV + b"f 1/1 2/2 3/3\nusemtl x\nf 1 2 3\n"
    model = model_of(text, tmp_path, "a.obj")
    assert colors_of(model) == {(0, 255, 0), GREY} and model.parts[0].material.color_texture is not None
    assert model.warnings == ["missing file: gone.MTL", "missing material: x"]


def ply(vertex: str, face: str, *rows: str, more: str = "") -> bytes:
    counts = [sum(row.startswith(kind) for row in rows) for kind in "vf"]
    lines = ["ply", "format ascii 1.0", more, f"element vertex {counts[0]}"]
    lines += [f"property {name}" for name in ("float x", "float y", "float z", *filter(None, vertex.split(", ")))]
    lines += [f"element face {counts[1]}", "property list uchar uint vertex_indices"]
    lines += [f"property {name}" for name in filter(None, face.split(", "))]
    return "\n".join([line for line in lines if line] + ["end_header"] + [row[2:] for row in rows]).encode()


TRIANGLE = ("v 0 0 0", "v 1 0 0", "v 0 1 0")


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("uchar", "255 51 0"),
        ("ushort", "65535 13107 0"),
        ("float", "1.0 0.2 0"),
        ("double", "255 51 0"),
        ("int", "255 51 0"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "diffuse_"])
def test_colour_types_of_ply(tmp_path: Path, kind: str, values: str, prefix: str) -> None:
    names = ", ".join(f"{kind} {prefix}{name}" for name in ("red", "green", "blue"))
    rows = [f"{row} {values}" for row in TRIANGLE]
    assert colors_of(model_of(ply(names, "", *rows, "f 3 0 1 2"), tmp_path, "a.ply")) == {(255, 51, 0)}
    painted = model_of(ply("", names, *TRIANGLE, f"f 3 0 1 2 {values}"), tmp_path, "b.ply")
    assert colors_of(painted) == {(255, 51, 0)}


def test_ply_header_in_windows_and_mac_lines(tmp_path: Path) -> None:
    for end in (b"\r\n", b"\r"):
        data = meshes.ply_cube(np.tile([9, 8, 7], (24, 1)), binary=True)
        head, body = data.split(b"end_header\n")
        text = (head + b"obj_info a\nend_header\n").replace(b"ply\n", b"ply \n", 1).replace(b"\n", end)
        assert colors_of(model_of(text + body, tmp_path, "a.ply")) == {(9, 8, 7)}


def test_ply_with_several_textures(tmp_path: Path) -> None:
    for name, color in (("a.png", 50), ("b c.png", 200)):
        (tmp_path / name).write_bytes(meshes.png(np.full((2, 2, 4), color)))
    more = "comment TextureFile a.png\ncomment TextureFile b c.png"
    faces = ("f 3 0 1 2 6 0 0 1 0 0 1 1", "f 3 2 1 0 6 0 1 1 0 0 0 0", "f 3 0 1 2 6 0 0 0 0 0 0 -1")
    data = ply("", "list uchar float texcoord, int texnumber", *TRIANGLE, *faces, more=more)
    parts = model_of(data, tmp_path, "a.ply").parts
    shown = [piece.material.color_texture and int(piece.material.color_texture.pixels[0, 0, 0]) for piece in parts]
    assert shown == [None, 50, 200] and [len(piece.faces) for piece in parts] == [1, 1, 1]
    assert parts[1].uv[parts[1].faces[0], :2].tolist() == [[0, 0], [1, 1], [0, 1]]


def test_ply_without_faces(tmp_path: Path) -> None:
    splat = ", ".join(f"float {name}" for name in ("f_dc_0", "opacity", "scale_0", "rot_0"))
    error = refused(ply(splat, "", "v 0 0 0 0 0 0 0"), tmp_path, "a.ply", max_vertices=0)
    assert error.reason == "no_faces" and "splat" in error.detail
    error = refused(ply("", "", *TRIANGLE), tmp_path, "b.ply")
    assert error.reason == "no_faces" and "splat" not in error.detail
    assert refused(ply("list uchar int q", "", "v 0 0 0 0", "f 3 0 0 0").replace(b"float x", b"float xx"),
                   tmp_path, "c.ply").reason == "corrupt_file"  # fmt: skip


def stl(*attributes: int, header: bytes = b"") -> bytes:
    corners = struct.pack("<12f", 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0)
    body = b"".join(corners + struct.pack("<H", attribute) for attribute in attributes)
    return header.ljust(80, b"\0") + struct.pack("<I", len(attributes)) + body


def test_colours_of_stl(tmp_path: Path) -> None:
    magics = stl(31, 1 << 15 | 31, header=b"solid COLOR=\0\0\xff\xff")
    assert colors_of(model_of(magics, tmp_path, "a.stl")) == {(255, 0, 0), (0, 0, 255)}
    viscam = stl(1 << 15 | 31, 0)
    assert colors_of(model_of(viscam, tmp_path, "b.stl")) == {(0, 0, 255), GREY}
    assert colors_of(model_of(stl(1 << 15 | 31, 77), tmp_path, "c.stl")) == {GREY}  # the bytes mean something else


def test_lengths_of_stl(tmp_path: Path) -> None:
    model = model_of(stl(0, 0) + b"abc", tmp_path, "a.stl")
    assert model.faces == 2 and "3 bytes behind the 2 triangles" in model.warnings[0]
    assert refused(stl(), tmp_path, "b.stl").reason == "no_faces"
    text = meshes.stl_cube(binary=False)
    assert model_of(text + b"\n" + text.upper(), tmp_path, "c.stl").faces == 24
    assert model_of(text.replace(b"\n", b" "), tmp_path, "d.stl").faces == 12
    assert refused(text[:-100], tmp_path, "e.stl").reason == "corrupt_file"
    assert refused(text.replace(b"vertex 0.5", b"vertex 0,5", 1), tmp_path, "f.stl").reason == "corrupt_file"


def test_spellings_of_off(tmp_path: Path) -> None:
    body = b"0 0 0%b\n\n1 0 0%b # b\n1 1 0%b\n0 1 0%b\n"
    plain = body % ((b"",) * 4)
    model = model_of(b"OFF 4 2 0\r\n" + plain + b"3 0 1 2 255 0 0\n3 0 2 3\n", tmp_path, "a.off")
    assert colors_of(model) == {(255, 0, 0), GREY}
    model = model_of(b"OFF\n4 1 0\n" + plain + b"4 0 1 2 3 7\n", tmp_path, "b.off")
    assert colors_of(model) == {GREY} and "colour map" in model.warnings[0]
    painted = body % ((b" 0 0 1 0.2 0.4 1.0 1",) * 4)
    model = model_of(b"CNOFF\n4 1 4\n" + painted + b"4 0 1 2 3\n", tmp_path, "c.off")
    assert colors_of(model) == {(51, 102, 255)} and model.parts[0].normals.tolist() == [[0, 0, 1]] * 4
    assert refused(b"OFF\n4 0 0\n" + plain, tmp_path, "d.off").reason == "no_faces"
    assert refused(b"OFF\n4 1 0\n" + plain + b"4 0 1 2\n", tmp_path, "e.off").reason == "corrupt_file"
