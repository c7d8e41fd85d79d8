"""Fetch and check meshes from folders, object stores and web servers."""

import datetime
import io
import json
import os
import re
import shutil
import socket
import ssl
import stat
import struct
import sys
import tempfile
import threading
import uuid
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import fsspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stages.contract.stage import Done, Outcome, StageError
from stages.ingest import Ingest
from stages.ingesting import companions, origins
from stages.meshes.formats import read_mesh
from stages.meshes.model import Limits
from tests.stages import meshes


def ingest(uri: Path | str, **fields: Any) -> Outcome:
    ((row_id, outcome),) = Ingest(**fields).open(None)([{"id": "a", "uri": str(uri)}])  # type: ignore[arg-type]
    assert row_id == "a"
    return outcome


def done(uri: Path | str, **fields: Any) -> Done:
    outcome = ingest(uri, **fields)
    assert isinstance(outcome, Done), outcome
    return outcome


def refused(uri: Path | str, reason: str, **fields: Any) -> StageError:
    outcome = ingest(uri, **fields)
    assert isinstance(outcome, StageError), outcome
    assert outcome.reason == reason, outcome.detail
    return outcome


WEB = {"allow_http": True, "allow_private_addresses": True}  # the servers of these tests are on this machine


def members(outcome: Done) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(outcome.artifact or b"")) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def gltf_folder(folder: Path) -> Path:
    """A .gltf with a buffer and a texture beside it, in names with spaces and letters beyond ASCII."""
    made = meshes.cube_gltf(texture="textures/r%C3%B6d%20f%C3%A4rg.png")
    write(folder / "textures" / "röd färg.png", meshes.png(meshes.QUARTERS))
    write(folder / "my buffer.bin", made.binary)
    return write(folder / "kub ett.gltf", made.gltf("my%20buffer.bin"))


FILES = {
    "glb": meshes.cube_gltf().glb(),
    "obj": meshes.obj_cube("# made by hand"),
    "ply": meshes.ply_cube(binary=True),
    "stl": meshes.stl_cube(),
    "off": meshes.off_cube(),
}


@pytest.mark.parametrize("form", FILES)
@pytest.mark.parametrize("extension", ["right", "bin", "glb"])
def test_format_is_recognised_by_content(tmp_path: Path, form: str, extension: str) -> None:
    path = write(tmp_path / f"thing.{form if extension == 'right' else extension}", FILES[form])
    outcome = done(path)
    assert outcome.columns["format"] == form
    assert members(outcome) == {outcome.columns["mesh_name"]: FILES[form]}
    assert outcome.columns["mesh_bytes"] == len(FILES[form])
    assert outcome.columns["warnings"] == []


def test_other_spellings_of_a_format(tmp_path: Path) -> None:
    assert done(write(tmp_path / "a.stl", meshes.stl_cube(binary=False))).columns["format"] == "stl"
    solid = b"solid but binary".ljust(80, b" ") + meshes.stl_cube()[80:]
    assert done(write(tmp_path / "b.stl", solid)).columns["format"] == "stl"
    assert done(write(tmp_path / "c.ply", meshes.ply_cube())).columns["format"] == "ply"
    glued = write(tmp_path / "e.off", re.sub(rb"^OFF\s+(#.*\n)*", b"OFF", meshes.off_cube()))
    assert glued.read_bytes()[3:4].isdigit() and done(glued).columns["format"] == "off"
    assert read_mesh(done(glued).artifact or b"", "mesh.off", "off", Limits(), 64).faces == 12
    bom = b"\xef\xbb\xbf" + meshes.cube_gltf().gltf("x.bin")
    write(tmp_path / "x.bin", meshes.cube_gltf().binary)
    assert done(write(tmp_path / "d.gltf", bom)).columns["format"] == "gltf"


@pytest.mark.parametrize("form", ["zip", "tar", "gztar"])
def test_a_mesh_in_an_archive_is_as_one_on_a_disk(tmp_path: Path, form: str) -> None:
    path = gltf_folder(tmp_path / "things" / "cube")
    archive = shutil.make_archive(str(tmp_path / "packed"), form, tmp_path / "things")
    before = sorted(tmp_path.iterdir())
    address = f"{'zip' if form == 'zip' else 'tar'}:///cube/{path.name}::{archive}"
    outcome, on_disk = done(address), done(path)
    assert outcome.columns == on_disk.columns and members(outcome) == members(on_disk)
    assert outcome.files == [(archive, os.stat(archive).st_size, os.stat(archive).st_mtime_ns)]
    assert sorted(tmp_path.iterdir()) == before  # nothing is unpacked
    assert "max_bytes is 100" in refused(address, "too_large", max_bytes=100).detail
    assert refused(address.replace("kub", "kugel"), "not_found").files == outcome.files
    refused(f"zip:///a.glb::{tmp_path}/none.zip", "not_found")
    refused(f"zip:///a.glb::{write(tmp_path / 'bad.zip', b'PK')}", "corrupt_file")
    detail = refused(archive, "unknown_format").detail
    assert "is an archive: name a member as zip://MEMBER::ARCHIVE" in detail


def test_a_damaged_companion_in_an_archive_is_a_reason_and_a_link_is_missing(tmp_path: Path) -> None:
    gltf_folder(tmp_path / "cube")
    path = tmp_path / "cube.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in (tmp_path / "cube").rglob("*.*"):
            info = zipfile.ZipInfo(file.relative_to(tmp_path / "cube").as_posix())
            info.external_attr = (0o120777 if file.suffix == ".png" else 0o100644) << 16
            archive.writestr(info, file.read_bytes())
    address = f"zip:///kub ett.gltf::{path}"
    assert done(address).columns["warnings"] == ["missing file: textures/r%C3%B6d%20f%C3%A4rg.png"]
    buffer = (tmp_path / "cube" / "my buffer.bin").read_bytes()
    path.write_bytes(path.read_bytes().replace(buffer, buffer[::-1]))
    assert "my buffer.bin: damaged in the archive" in refused(address, "corrupt_file").detail


def test_a_path_may_mark_the_folder_that_has_the_companions(tmp_path: Path) -> None:
    model = tmp_path / "1a04"
    write(model / "images" / "texture0.png", meshes.png(meshes.QUARTERS))
    library = b"newmtl a\nmap_Kd ../images/texture0.png\nmap_Ks ../../secret.png\n"
    write(model / "models" / "model_normalized.mtl", library)
    write(tmp_path / "secret.png", b"secret")
    path = write(model / "models" / "model_normalized.obj", meshes.obj_cube("mtllib model_normalized.mtl\nusemtl a"))
    refused(path, "external_reference")
    refused(f"{model}/./models/model_normalized.obj", "external_reference")  # for map_Ks alone
    write(model / "models" / "model_normalized.mtl", library[: library.index(b"map_Ks")])
    outcome = done(f"{model}/./models/model_normalized.obj")
    assert list(members(outcome)) == ["models/mesh.obj", "images/texture0.png", "models/model_normalized.mtl"]
    assert outcome.columns["warnings"] == []
    read = read_mesh(outcome.artifact or b"", outcome.columns["mesh_name"], "obj", Limits(), 64)
    assert all(part.material.color_texture for part in read.parts)
    refused(f"{tmp_path}/1a04/./../secret.obj", "not_found")
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "1a04")
    for address in (f"zip:///1a04/./models/model_normalized.obj::{archive}", f"{model}/./models/model_normalized.obj"):
        assert done(address).content == outcome.content


def test_companions_are_kept_with_the_mesh(tmp_path: Path) -> None:
    path = gltf_folder(tmp_path)
    outcome = done(path)
    assert list(members(outcome)) == ["mesh.gltf", "my buffer.bin", "textures/röd färg.png"]
    looked_at = {os.path.relpath(name, tmp_path): (size, moment) for name, size, moment in outcome.files}
    assert set(looked_at) == {"kub ett.gltf", "my buffer.bin", "textures/röd färg.png"}
    status = path.stat()
    assert looked_at["kub ett.gltf"] == (status.st_size, status.st_mtime_ns)
    assert all(os.path.isabs(name) for name, _, _ in outcome.files)


def test_material_libraries_and_their_textures(tmp_path: Path) -> None:
    library = b"newmtl a\nKd 1 1 1\nmap_Kd -s 1 1 1 -o 0 0 -clamp on my skin.png\nmap_bump -bm 0.5 bump.png\n"
    write(tmp_path / "sub" / "my stuff.mtl", library)
    write(tmp_path / "sub" / "my skin.png", b"beside the library")
    write(tmp_path / "bump.png", b"beside the mesh")
    path = write(tmp_path / "a.obj", meshes.obj_cube("mtllib sub\\my stuff.mtl"))
    assert sorted(members(done(path))) == ["bump.png", "mesh.obj", "sub/my skin.png", "sub/my stuff.mtl"]


def test_content_depends_only_on_names_and_bytes(tmp_path: Path) -> None:
    first = done(gltf_folder(tmp_path / "here"))
    moved = gltf_folder(tmp_path / "and" / "there")
    moved = moved.rename(moved.with_name("another name.gltf"))
    os.utime(moved, (1, 1))
    second = done(moved)
    assert second.content == first.content and second.columns == first.columns and second.artifact == first.artifact
    write(moved.parent / "textures" / "röd färg.png", b"repainted")
    assert done(moved).content != first.content


def test_missing_texture_is_a_warning(tmp_path: Path) -> None:
    outcome = done(write(tmp_path / "a.glb", meshes.cube_gltf(texture="gone.png").glb()))
    assert outcome.columns["warnings"] == ["missing file: gone.png"]
    assert (str(tmp_path / "gone.png"), None, None) in outcome.files
    path = write(tmp_path / "a.obj", meshes.obj_cube("mtllib gone.mtl"))
    assert done(path).columns["warnings"] == ["missing file: gone.mtl"]


def test_missing_buffer_is_a_failure(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gltf", meshes.cube_gltf().gltf("gone.bin"))
    error = refused(path, "missing_file")
    assert "gone.bin" in error.detail
    assert (str(tmp_path / "gone.bin"), None, None) in error.files
    assert any(entry[0] == str(path) for entry in error.files)


_opened: list[str] = []
sys.addaudithook(lambda event, words: _opened.append(str(words[0])) if event == "open" else None)


@pytest.mark.parametrize(
    "uri",
    ["../secret.png", "%2e%2e/secret.png", "a/../../secret.png", "..\\secret.png", "/..", "http://127.0.0.1:9/secret.png",
     "link.png", "folder/secret.png"],
)  # fmt: skip
@pytest.mark.parametrize("form", ["gltf", "obj"])
def test_nothing_outside_the_folder_is_opened(tmp_path: Path, uri: str, form: str) -> None:
    path = beside_a_secret(tmp_path, uri, form)
    error = refused(path, "external_reference")
    assert str(path) in _opened and str(path) in [entry[0] for entry in error.files]
    assert not [name for name in _opened if os.path.realpath(name) == str(tmp_path / "secret.png")]


@pytest.mark.parametrize(
    "uri",
    ["ABSOLUTE", "file://ABSOLUTE", "C:\\a b\\secret.png", "c:secret.png", "//host/share/secret.png", "\\secret.png",
     "%2Fhome%2Fsecret.png"],
)  # fmt: skip
@pytest.mark.parametrize("form", ["gltf", "obj"])
def test_of_an_absolute_path_only_the_file_name_counts(tmp_path: Path, uri: str, form: str) -> None:
    path = beside_a_secret(tmp_path, uri, form)
    assert done(path).columns["warnings"] == ["missing file: secret.png, named by an absolute path"]
    assert not [name for name in _opened if os.path.realpath(name) == str(tmp_path / "secret.png")]
    for name in ("maps/Secret.PNG", "secret.png"):  # the second is nearer
        write(path.parent / name, name.encode())
        outcome = done(path)
        assert name.encode() in members(outcome).values()
        assert outcome.columns["warnings"] == [f"file secret.png: named by an absolute path; taken from {name}"]


def test_a_buffer_named_by_an_absolute_path(tmp_path: Path) -> None:
    folder = gltf_folder(tmp_path).parent
    document = json.loads((folder / "kub ett.gltf").read_text())
    document["buffers"][0]["uri"] = "D:/models/my buffer.bin"
    path = write(folder / "kub ett.gltf", json.dumps(document).encode())
    (folder / "my buffer.bin").rename(folder / "textures" / "my buffer.bin")
    outcome = done(path)
    assert outcome.columns["warnings"] == [
        "file my buffer.bin: named by an absolute path; taken from textures/my buffer.bin"
    ]
    (folder / "textures" / "my buffer.bin").unlink()
    assert "its own folder has no such file" in refused(path, "external_reference").detail


def beside_a_secret(tmp_path: Path, uri: str, form: str) -> Path:
    """A mesh that refers to a file by this name; the folder above it has a secret.png, to which links lead."""
    target = write(tmp_path / "secret.png", meshes.png(meshes.QUARTERS))
    folder = tmp_path / "mesh"
    folder.mkdir()
    (folder / "link.png").symlink_to(target)
    (folder / "folder").symlink_to(tmp_path)
    uri = uri.replace("ABSOLUTE", str(target))
    if form == "gltf":
        path = write(folder / "a.glb", meshes.cube_gltf(texture=uri).glb())
    else:
        write(folder / "a.mtl", f"newmtl a\nmap_Kd {uri}\n".encode())
        path = write(folder / "a.obj", meshes.obj_cube("mtllib a.mtl"))
    _opened.clear()
    return path


@pytest.fixture(params=["folder", "zip", "s3"])
def put(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[dict[str, bytes], str], Done]:
    """Put files somewhere, and ingest one of them."""

    def put(files: dict[str, bytes], mesh: str) -> Done:
        for name, data in files.items():
            write(tmp_path / "files" / name, data)
        if request.param == "folder":
            return done(tmp_path / "files" / mesh)
        if request.param == "zip":
            with zipfile.ZipFile(tmp_path / "files.zip", "w") as archive:
                for name, data in files.items():
                    archive.writestr(f"set/{name}", data)
            return done(f"zip:///set/{mesh}::{tmp_path}/files.zip")
        root = f"{request.getfixturevalue('bucket')}/{uuid.uuid4().hex}"
        fsspec.filesystem("s3").put(f"{tmp_path}/files/", root, recursive=True)
        return done(f"{root}/{mesh}")

    return put


def test_what_is_not_under_its_name_is_looked_for_by_its_file_name(
    put: Callable[[dict[str, bytes], str], Done],
) -> None:
    """The nearest is taken, of those at one depth the first by name; none of another ending or beside other meshes."""
    library = rb"""newmtl a
map_Kd C:\Users\me\tex\wood.png
map_Ks gone/bark.png
map_d maps/Green%20Leaf.png
map_bump rough.png
map_Ke other.png
"""
    files = {
        "lib/tree.mtl": library, "z/deep/wood.png": b"deep", "y/wood.png": b"nearest", "z/wood.png": b"second by name",
        "maps/BARK.png": b"bark", "tex/green leaf.PNG": b"leaf", "maps/rough.jpg": b"of another ending",
        "house/other.png": b"of another mesh", "house/house.OBJ": b"v 0 0 0",
        "a.obj": meshes.obj_cube("mtllib /home/me/tree.mtl\n"),
    }  # fmt: skip
    outcome = put(files, "a.obj")
    found = members(outcome)
    assert {name: found[name] for name in found if name != "mesh.obj"} == {
        "tree.mtl": library, "wood.png": b"nearest", "gone/bark.png": b"bark", "maps/Green Leaf.png": b"leaf"
    }  # fmt: skip
    assert outcome.columns["warnings"] == [
        "missing file: rough.png",
        "missing file: other.png",
        "file tree.mtl: named by an absolute path; taken from lib/tree.mtl",
        "file wood.png: named by an absolute path; taken from y/wood.png, the nearest of 3 files of that name",
        "file gone/bark.png: not there; taken from maps/BARK.png",
        "file maps/Green%20Leaf.png: not there; taken from tex/green leaf.PNG",
    ]
    model = read_mesh(outcome.artifact or b"", "mesh.obj", "obj", Limits(), 64)  # it finds what ingest has found
    assert model.warnings == ["missing file: other.png"]


def test_links_inside_the_folder_are_followed(tmp_path: Path) -> None:
    path = gltf_folder(tmp_path / "store")
    (tmp_path / "store" / "textures" / "röd färg.png").rename(tmp_path / "store" / "textures" / "real.png")
    (tmp_path / "store" / "textures" / "röd färg.png").symlink_to("real.png")
    assert len(members(done(path))) == 3
    alias = tmp_path / "alias.glb"
    alias.symlink_to(write(tmp_path / "elsewhere" / "a.glb", FILES["glb"]))
    assert done(alias).columns["format"] == "glb"


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "loop", "long", "very long", "forbidden"])
@pytest.mark.parametrize("needed", [False, True])
def test_a_companion_that_is_no_readable_file_is_missing(tmp_path: Path, kind: str, needed: bool) -> None:
    name = {"long": "n" * 256 + ".png", "very long": "n/" * 5_000 + "n.png"}.get(kind, "it.png")
    made = meshes.cube_gltf() if needed else meshes.cube_gltf(texture=name)
    path = write(tmp_path / "a.gltf", made.gltf(name)) if needed else write(tmp_path / "a.glb", made.glb())
    target = tmp_path / name
    if kind == "pipe":
        os.mkfifo(target)
    elif kind == "socket":
        made_socket = socket.socket(socket.AF_UNIX)
        with tempfile.TemporaryDirectory() as short:  # a socket's path has 107 bytes at most
            made_socket.bind(f"{short}/s")
            shutil.move(f"{short}/s", target)
        made_socket.close()
    elif kind == "device":
        if os.geteuid() != 0:
            pytest.skip("only root makes devices")
        os.mknod(target, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero
    elif kind == "loop":
        target.symlink_to(name)
    elif kind == "forbidden":
        if os.geteuid() == 0:
            pytest.skip("root may read everything")
        write(target, b"x").chmod(0)
    if needed:
        refused(path, "missing_file")
    else:
        assert done(path).columns["warnings"] == [f"missing file: {name[:200]}"]


def test_a_companion_swapped_after_the_check_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = write(tmp_path / "secret.png", b"secret")
    path = write(tmp_path / "mesh" / "a.glb", meshes.cube_gltf(texture="it.png").glb())
    link = write(tmp_path / "mesh" / "it.png", b"harmless")
    check = origins.LocalOrigin._check_inside

    def swap(origin: origins.LocalOrigin, real: str, name: str) -> None:
        check(origin, real, name)
        if not link.is_symlink():
            link.unlink()
            link.symlink_to(secret)

    monkeypatch.setattr(origins.LocalOrigin, "_check_inside", swap)
    assert "link that leads out" in refused(path, "external_reference").detail
    assert link.is_symlink()


def test_a_mesh_swapped_for_a_pipe_does_not_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.glb", FILES["glb"])
    stat_of = os.fstat

    def swap(place: int) -> os.stat_result:
        found = stat_of(place)
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        monkeypatch.setattr(os, "fstat", stat_of)
        return found

    monkeypatch.setattr(os, "fstat", swap)
    assert done(path).columns["format"] == "glb"  # what was checked is read
    refused(path, "not_a_file")


def test_a_folder_that_may_not_be_listed_costs_its_textures_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.glb", meshes.cube_gltf(texture="gone.png").glb())

    def refuse(folder: str) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", refuse)  # root may list everything
    assert done(path).columns["warnings"] == ["missing file: gone.png"]


def test_endless_files_have_a_limit() -> None:
    refused("/dev/zero", "not_a_file")
    refused("/proc/self/maps", "too_large", max_bytes=10)  # its size is said to be 0


def test_references_of_all_libraries_together_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(companions, "_MOST_COMPANIONS", 100)
    libraries = [f"{number}/{number}.mtl" for number in range(10)]
    for name in libraries:
        write(tmp_path / name, b"".join(b"newmtl a\nmap_Kd %d.png\n" % texture for texture in range(80)))
    path = write(tmp_path / "a.obj", meshes.obj_cube("".join(f"mtllib {name}\n" for name in libraries)))
    refused(path, "too_large")
    path = write(tmp_path / "b.obj", meshes.obj_cube("".join(f"mtllib {'./' * n}0/0.mtl\n" for n in range(19))))
    assert len(done(path).columns["warnings"]) == 80


def test_a_data_uri_that_is_no_text_is_corrupt(tmp_path: Path) -> None:
    document = meshes.cube_gltf().gltf("data:application/octet-stream;base64,AAAA\\ud800")
    refused(write(tmp_path / "a.gltf", document.replace(b"\\\\ud800", b"\\ud800")), "corrupt_file")


def test_names_may_differ_in_case(tmp_path: Path) -> None:
    path = write(tmp_path / "a.obj", meshes.obj_cube("mtllib a.mtl"))
    write(tmp_path / "A.MTL", b"newmtl a\nmap_Kd Textures/Red.PNG\n")
    write(tmp_path / "textures" / "red.png", meshes.png(meshes.QUARTERS))
    outcome = done(path)
    assert list(members(outcome)) == ["mesh.obj", "Textures/Red.PNG", "a.mtl"] and not outcome.columns["warnings"]
    assert str(tmp_path / "a.mtl") in [entry[0] for entry in outcome.files]  # it would go before, were it there
    write(tmp_path / "a.mtl", b"newmtl a\n")
    assert list(members(done(path))) == ["mesh.obj", "a.mtl"]


def test_a_link_whose_name_differs_in_case_is_refused_too(tmp_path: Path) -> None:
    target = write(tmp_path / "out" / "secret.png", meshes.png(meshes.QUARTERS))
    path = write(tmp_path / "mesh" / "a.glb", meshes.cube_gltf(texture="LINK/secret.png").glb())
    (tmp_path / "mesh" / "link").symlink_to(target.parent)
    _opened.clear()
    refused(path, "external_reference")
    assert not [name for name in _opened if os.path.realpath(name) == str(target)]


def test_a_texture_that_is_a_folder_is_missing(tmp_path: Path) -> None:
    (tmp_path / "textures").mkdir()
    path = write(tmp_path / "a.glb", meshes.cube_gltf(texture="textures").glb())
    assert done(path).columns["warnings"] == ["missing file: textures"]


@pytest.mark.parametrize(
    ("data", "what"),
    [(b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"), (b"PK\3\4" + b"\0" * 90, "zip"),
     (b"<!DOCTYPE html>", "web page"), ("v 0 0 0\nf 1 1 1\n".encode("utf-16"), "UTF-16")],
    ids=["pointer", "zip", "page", "utf16"],
)  # fmt: skip
def test_the_refusal_says_what_the_file_seems_to_be(tmp_path: Path, data: bytes, what: str) -> None:
    assert what in refused(write(tmp_path / "a.glb", data), "corrupt_file").detail


def test_data_uris_need_no_companion(tmp_path: Path) -> None:
    import base64

    made = meshes.cube_gltf()
    uri = "data:application/octet-stream;base64," + base64.b64encode(made.binary).decode()
    assert list(members(done(write(tmp_path / "a.gltf", made.gltf(uri))))) == ["mesh.gltf"]
    refused(write(tmp_path / "b.gltf", made.gltf(uri[:-40])), "corrupt_file")


def huge(document: dict[str, Any], count: int) -> dict[str, Any]:
    document["accessors"][0]["count"] = count
    return document


FALSE_DECLARATIONS = {
    "binary.ply": meshes.ply_cube(binary=True).replace(b"vertex 24", b"vertex 4000000000"),
    "ascii.ply": meshes.ply_cube().replace(b"face 12", b"face 4000000000"),
    "claim.stl": b"\0" * 80 + struct.pack("<I", 4_000_000_000) + meshes.stl_cube()[84:],
    "claim.off": meshes.off_cube().replace(b"24 6 0", b"4000000000 6 0"),
    "claim.glb": meshes.glb(huge(meshes.cube_gltf().finished(), 4_000_000_000), meshes.cube_gltf().binary),
    "length.glb": FILES["glb"][:8] + struct.pack("<I", 4_000_000_000) + FILES["glb"][12:],
    "cut.glb": FILES["glb"][: len(FILES["glb"]) // 2],
    "short.glb": FILES["glb"][:16],
    "text.glb": b"this is no mesh at all",
    "json.gltf": b'{"asset": {"version": "2.0"',
    "deep.gltf": b'{"asset":' + b"[" * 100_000,
    "view.glb": meshes.glb({"asset": {"version": "2.0"}, "bufferViews": [{"buffer": 7, "byteLength": 1}]}, b""),
    "header.ply": b"ply\nformat ascii 1.0\nelement vertex many\nend_header\n",
    "endless.ply": b"ply\nformat ascii 1.0\n",
}


@pytest.mark.parametrize("name", FALSE_DECLARATIONS)
def test_false_declarations_and_invalid_files_are_corrupt(tmp_path: Path, name: str) -> None:
    refused(write(tmp_path / name, FALSE_DECLARATIONS[name]), "corrupt_file")


def test_accessors_without_data_have_a_limit(tmp_path: Path) -> None:
    document = huge(meshes.cube_gltf().finished(), 4_000_000_000)
    del document["accessors"][0]["bufferView"]
    refused(write(tmp_path / "a.glb", meshes.glb(document, meshes.cube_gltf().binary)), "too_large")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    refused(tmp_path / "nothing.glb", "not_found")
    refused(write(tmp_path / "empty.glb", b""), "empty_file")
    (tmp_path / "folder.glb").mkdir()
    refused(tmp_path / "folder.glb", "not_a_file")
    os.mkfifo(tmp_path / "pipe.glb")
    refused(tmp_path / "pipe.glb", "not_a_file")
    (tmp_path / "loop.glb").symlink_to("loop.glb")
    refused(tmp_path / "loop.glb", "unreadable")
    refused(write(tmp_path / "page.html", b"<html>404</html>"), "unknown_format")
    refused(write(tmp_path / "old.glb", b"glTF" + struct.pack("<IIII", 1, 20, 0, 0)), "unsupported")
    refused("simplecache::http://127.0.0.1:9/a.glb", "unreadable")
    refused("nosuchscheme://bucket/a.glb", "unreadable")
    refused("http://[1/a.glb", "unreadable", allow_http=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    path = write(tmp_path / "a.glb", FILES["glb"])
    path.chmod(0)
    refused(path, "unreadable")


def test_size_limit_counts_companions_and_reads_no_more(tmp_path: Path) -> None:
    path = gltf_folder(tmp_path)
    total = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
    assert done(path, max_bytes=total).columns["mesh_bytes"] == total
    refused(path, "too_large", max_bytes=total - 1)
    with open(tmp_path / "sparse.glb", "wb") as file:
        file.truncate(1 << 40)  # a terabyte that takes no room
    error = refused(tmp_path / "sparse.glb", "too_large")
    assert "max_bytes" in error.detail


def test_a_failed_row_does_not_affect_others(tmp_path: Path) -> None:
    rows = [{"id": name, "uri": str(write(tmp_path / name, data))} for name, data in FALSE_DECLARATIONS.items()]
    rows.insert(3, {"id": "good", "uri": str(write(tmp_path / "good.glb", FILES["glb"]))})
    outcomes = dict(Ingest().open(None)(rows))  # type: ignore[arg-type]
    assert len(outcomes) == len(rows)
    assert [key for key, outcome in outcomes.items() if isinstance(outcome, Done)] == ["good"]


def test_object_stores(tmp_path: Path, bucket: str) -> None:
    path = gltf_folder(tmp_path)
    store = fsspec.filesystem("s3")
    root = f"{bucket}/{uuid.uuid4().hex}"
    store.put(f"{tmp_path}/", root, recursive=True)
    outcome = done(f"{root}/kub ett.gltf")
    local = done(path)
    assert (outcome.content, outcome.columns, outcome.artifact) == (local.content, local.columns, local.artifact)
    assert outcome.files == []
    refused(f"{root}/none.glb", "not_found")
    refused(f"{root}/textures", "not_a_file")
    refused(f"{root}/kub ett.gltf", "too_large", max_bytes=1000)
    assert done(f"file://{path}").content == local.content


def test_only_accepted_schemes_are_opened(tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe("/a.glb", FILES["glb"])
    path = write(tmp_path / "a.glb", FILES["glb"])
    for uri in (
        "memory://a.glb",
        f"local://{path}",
        f"LOCAL://{path}",
        f"file:{path}",
        f"file://localhost{path}",
        f"dir://a.glb::file://{tmp_path}",
        f"s3://x/a::file://{path}",
        "ftp://127.0.0.1:9/a.glb",
        "github://o:r@main/a.glb",
        "data:model/gltf-binary;base64,Z2xURg==",
        "s3://KEY:SECRET@bucket/a.glb",
    ):
        detail = refused(uri, "unreadable").detail
        assert "SECRET" not in detail and (
            "hf://" in detail or "user" in detail or "host" in detail or "chain" in detail
        )


class Quiet(SimpleHTTPRequestHandler):
    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/busy"):
            self.send_error(503)
        elif self.path.startswith("/away"):
            self.send_response(302)
            self.send_header("Location", "/moved/a.glb" if self.path.endswith(".glb") else "/moved/x.png")
            self.end_headers()
        elif self.path.startswith("/endless"):
            self.send_response(200)  # no length: the reader has to stop by itself
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"glTF" * 65536)
            except OSError:
                return
        elif self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", bytes.fromhex(self.path.removeprefix("/to/")).decode())
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"a redirect's body" * 65536)
            except OSError:
                return
        elif self.path.startswith("/length/"):
            self.send_response(200)
            self.send_header("Content-Length", unquote(self.path.removeprefix("/length/")))
            self.end_headers()
            self.wfile.write(FILES["glb"])
        elif self.path.startswith("/private/") or self.path.startswith("/forbidden"):
            self.send_error(403)
        elif self.path.startswith("/short"):
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.write(b"glTF")
        else:
            super().do_GET()

    def log_message(self, *words: Any) -> None:
        return


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    folder = tmp_path / "served"
    folder.mkdir()
    handler: type[Quiet] = type("Handler", (Quiet,), {"asked": []})
    web = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    threading.Thread(target=web.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{web.server_address[1]}", folder, handler.asked
    web.shutdown()
    web.server_close()


def test_web_servers_are_used_only_if_allowed(server: tuple[str, Path, list[str]]) -> None:
    url, folder, asked = server
    path = gltf_folder(folder / "set")
    refused(f"{url}/set/kub%20ett.gltf", "http_not_allowed")
    assert asked == []
    outcome = done(f"{url}/set/kub%20ett.gltf?version=2", **WEB)
    local = done(path)
    assert (outcome.content, outcome.columns, outcome.files) == (local.content, local.columns, [])


def test_answers_of_web_servers(server: tuple[str, Path, list[str]]) -> None:
    url, folder, asked = server
    write(folder / "moved" / "a.glb", FILES["glb"])
    assert done(f"{url}/away/a.glb", **WEB).columns["format"] == "glb"
    refused(f"{url}/none.glb", "not_found", **WEB)
    assert refused(f"{url}/busy.glb", "fetch_failed", **WEB).transient
    assert refused(f"{url}/short.glb", "fetch_failed", **WEB).transient
    assert refused("http://127.0.0.1:9/a.glb", "fetch_failed", **WEB).transient
    refused(f"{url}/endless.glb", "too_large", **WEB, max_bytes=10_000_000)
    write(folder / "big.glb", FILES["glb"])
    refused(f"{url}/big.glb", "too_large", **WEB, max_bytes=100)


def test_urls_are_encoded_once(server: tuple[str, Path, list[str]]) -> None:
    url, folder, asked = server
    path = gltf_folder(folder / "Stühle 100%")
    local = done(path)
    for place in (
        "Stühle 100%/kub ett.gltf",
        "St%C3%BChle%20100%25/kub%20ett.gltf",
        "Stühle%20100%/kub ett.gltf?a=ü b",
    ):
        assert done(f"{url}/{place}", **WEB).content == local.content
    refused(f"{url}/Stühle 100%/kein.glb", "not_found", **WEB)
    assert "/St%C3%BChle%20100%25/kub%20ett.gltf?a=%C3%BC%20b" in asked


@pytest.mark.parametrize("host", ["127.0.0.1:port", "127.0.0.1:99999", "127.0.0.1:" + "9" * 5000, "a..b", ""])
def test_an_invalid_url_is_not_tried_again(host: str) -> None:
    assert not refused(f"http://{host}/a.glb", "unreadable", **WEB).transient


def test_references_of_a_web_mesh_stay_in_its_folder(server: tuple[str, Path, list[str]]) -> None:
    url, folder, asked = server
    write(folder / "secret.png", b"")
    for uri in ("../secret.png", f"{url}/secret.png"):
        write(folder / "set" / "a.glb", meshes.cube_gltf(texture=uri).glb())
        refused(f"{url}/set/a.glb", "external_reference", **WEB)
    assert set(asked) == {"/set/a.glb"}
    write(folder / "away" / "a.glb", b"")
    shutil.copy(write(folder / "b.glb", meshes.cube_gltf(texture="away.png").glb()), folder / "c.glb")
    refused(f"{url}/c.glb", "external_reference", **WEB)
    assert "/moved/x.png" not in asked


def test_private_addresses_are_reached_only_if_allowed(server: tuple[str, Path, list[str]]) -> None:
    url, folder, asked = server
    port = url.rpartition(":")[2]
    write(folder / "a.glb", FILES["glb"])
    for host in ("127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "[::ffff:127.0.0.1]", "0.0.0.0"):
        error = refused(f"http://{host}:{port}/a.glb", "address_not_allowed", allow_http=True)
        assert "ingest.allow_private_addresses" in error.detail and not error.transient
    assert asked == []
    assert done(f"http://127.0.0.1:{port}/a.glb", **WEB).columns["format"] == "glb"


def test_a_redirect_is_checked_as_its_address_is(
    server: tuple[str, Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder, asked = server
    write(folder / "a.glb", FILES["glb"])
    resolve, port = socket.getaddrinfo, url.rpartition(":")[2]
    lookups: list[str] = []

    def rebound(host: Any, *words: Any, **more: Any) -> Any:
        """The name is public when it is looked up first, and private ever after, as in an attack by DNS."""
        if host == "name.test":
            lookups.append(host)
            host = "127.0.0.1" if len(lookups) > 1 else "93.184.215.14"
        return resolve(host, *words, **more)

    connected: list[Any] = []

    def connect(address: tuple[str, int], *words: Any) -> socket.socket:
        connected.append(address)
        return local(("127.0.0.1", int(port)), *words)

    local = socket.create_connection
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", rebound)
        patch.setattr(socket, "create_connection", lambda address, *words: connect(address, *words))
        assert done(f"http://name.test:{port}/a.glb", allow_http=True).columns["format"] == "glb"
        assert connected == [("93.184.215.14", int(port))] and lookups == ["name.test"]
        inside = b"http://169.254.169.254/latest/".hex()
        lookups.clear()
        error = refused(f"http://name.test:{port}/to/{inside}", "address_not_allowed", allow_http=True)
        assert "169.254.169.254" in error.detail and len(connected) == 2


def test_a_server_must_prove_the_name_that_was_asked_for(
    server: tuple[str, Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over TLS, although the connection is made to an IP address."""
    url, folder, asked = server
    write(folder / "a.glb", FILES["glb"])
    key, certificate = write_certificate(tmp_path, "name.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    handler: type[Quiet] = type("Handler", (Quiet,), {"asked": []})
    web = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    web.socket = context.wrap_socket(web.socket, server_side=True)
    threading.Thread(target=web.serve_forever, args=(0.02,), daemon=True).start()
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *words, **more: resolve("127.0.0.1", *words, **more))
    monkeypatch.setattr("manifests.web.is_public", lambda address: True)
    uri = f"https://name.test:{web.server_address[1]}/a.glb"
    try:
        assert "CERTIFICATE_VERIFY_FAILED" in refused(uri, "fetch_failed", allow_http=True).detail
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert done(uri, allow_http=True).columns["format"] == "glb"
        assert "mismatch" in refused(uri.replace("name", "other"), "fetch_failed", allow_http=True).detail
    finally:
        web.shutdown()
        web.server_close()


def write_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A key, and a certificate that it signs itself."""
    now = datetime.datetime.now(datetime.UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    return write(folder / "key.pem", secret), write(folder / "certificate.pem", made.public_bytes(pem))


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("file:///etc/passwd", "fetch_failed"),
        ("ftp://127.0.0.1:9/a.glb", "external_reference"),
        ("http://[1/a.glb", "unreadable"),
        ("http://me:SECRET@127.0.0.1:9/a.glb", "unreadable"),
        ("http://127.0.0.1:port/a.glb", "unreadable"),
        ("gopher://127.0.0.1/", "fetch_failed"),
    ],
)
def test_hostile_redirects(server: tuple[str, Path, list[str]], target: str, reason: str) -> None:
    error = refused(f"{server[0]}/to/{target.encode().hex()}", reason, **WEB)
    assert "SECRET" not in error.detail


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "²", "1e3", "9" * 19])
def test_hostile_lengths(server: tuple[str, Path, list[str]], length: str) -> None:
    outcome = ingest(f"{server[0]}/length/{quote(length, safe='')}", **WEB)
    assert isinstance(outcome, Done) or outcome.reason in ("too_large", "fetch_failed"), outcome


def test_a_proxy_is_used_only_where_private_addresses_are_allowed(
    server: tuple[str, Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder, asked = server
    write(folder / "a.glb", FILES["glb"])
    monkeypatch.setenv("http_proxy", url)
    error = refused("http://name.test/a.glb", "address_not_allowed", allow_http=True)
    assert "proxy" in error.detail and asked == []
    refused("http://name.test/a.glb", "not_found", **WEB)
    assert asked == ["http://name.test/a.glb"]


def test_a_texture_that_a_server_refuses_is_missing(server: tuple[str, Path, list[str]]) -> None:
    url, folder, asked = server
    write(folder / "a.glb", meshes.cube_gltf(texture="forbidden.png").glb())
    assert done(f"{url}/a.glb", **WEB).columns["warnings"] == ["missing file: forbidden.png"]
    refused(f"{url}/forbidden.glb", "unreadable", **WEB)


def test_a_detail_has_no_credentials(server: tuple[str, Path, list[str]]) -> None:
    url, folder, asked = server
    address = url.replace("http://", "http://me:SECRET@")
    for uri in (f"{address}/a.glb", f"{url}/none.glb?X-Amz-Signature=SECRET", f"{url}/busy.glb?sig=SECRET"):
        outcome = ingest(uri, **WEB)
        assert isinstance(outcome, StageError) and "SECRET" not in outcome.detail


def test_outcome_is_plain_data(tmp_path: Path) -> None:
    outcome = done(gltf_folder(tmp_path))
    files = [list(file) for file in outcome.files]
    assert json.loads(json.dumps([outcome.columns, outcome.files])) == [outcome.columns, files]
    assert outcome.content == outcome.columns["content_hash"] and len(outcome.content) == 64
