"""convert: which files it takes, how one that hangs, dies or eats memory fails alone, and what comes of real ones.

A program stands in for the Python that has bpy; it does what the file that it is given says. Real files are made and
converted by Blender where it is installed (`make converter`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.__main__ import main
from pipeline.converting import in_blender
from pipeline.converting.environment import find_blender
from pipeline.planning.run import RunError
from stages.artifacts import bundle
from stages.meshes.formats import read_mesh
from stages.meshes.model import Limits, Model
from tests.pipeline.building import call, command
from tests.pipeline.processes import children_of, wait_until

STAND_IN = f"""#!{sys.executable}
import os, sys, time
source, out = sys.argv[-2:]
deed = open(source).read()
if deed == "hang":
    time.sleep(600)
elif deed == "eat":
    held = b"x" * (1 << 29)
    time.sleep(600)
elif deed == "die":
    os.kill(os.getpid(), 11)
elif deed == "escape":
    print("one\\n\\x1b[31mred \\x07 https://user:secret@host/x")
    sys.exit(65)
elif deed == "bare":
    print("No module named 'bpy'")
    sys.exit(64)
elif deed == "environment":
    print("warning:", sorted(name for name in os.environ if "TOKEN" in name), os.environ["HOME"] == os.getcwd())
if deed != "nothing":
    open(out, "wb").write(b"glTF of " + deed.encode())
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "python-with-bpy"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    monkeypatch.setenv("GS_TRIPLETS_BLENDER", str(program))
    return program


def write(folder: Path, **deeds: str) -> Path:
    """Files whose names have __ for a dot and ___ for a slash, with what the stand-in does."""
    for name, deed in deeds.items():
        path = folder / name.replace("___", "/").replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(deed)
    return folder


def convert(source: Path, out: Path, *more: str) -> int:
    return main(["convert", "--source", str(source), "--out", str(out), *more])


def below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def test_folders_and_names_stay_and_finished_files_are_left_alone(
    stand_in: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    write(source, a__FBX="1", deep___b__usdz="2", deep___c__dae="3", deep___c__blend="4", d__glb="", deep___p__png="")
    write(source, e__obj="", f__obj="")
    assert convert(source, out) == 0
    assert below(out) == ["a.glb", "deep/b.glb", "deep/c.blend.glb", "deep/c.dae.glb"]
    assert (out / "deep/c.dae.glb").read_bytes() == b"glTF of 3"
    shown = capsys.readouterr().out
    assert "4 converted in 0:0" in shown and "; 3 files are left out: .obj 2, .glb 1" in shown
    assert f"build cpu --source {out}" in shown

    write(source, a__FBX="changed", deep___b__usdz="new")
    past = time.time() - 1000
    os.utime(source / "a.FBX", (past, past))
    os.utime(source / "deep/b.usdz", (past + 2000, past + 2000))
    assert convert(source, out) == 0
    assert (out / "a.glb").read_bytes() == b"glTF of 1" and (out / "deep/b.glb").read_bytes() == b"glTF of new"
    assert "1 converted in 0:0" in (shown := capsys.readouterr().out) and "3 converted before" in shown
    assert convert(source / "a.FBX", out, "--force", "--quiet") == 0
    assert (out / "a.glb").read_bytes() == b"glTF of changed"


def test_a_file_that_hangs_dies_or_eats_memory_fails_alone_with_its_reason(
    stand_in: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    source = write(tmp_path / "s", hang__fbx="hang", eat__fbx="eat", die__fbx="die", good__fbx="good")
    write(source, bad__fbx="escape", empty__fbx="nothing")
    before = children_of(os.getpid())
    assert convert(source, tmp_path / "out", "--timeout", "3", "--memory-gb", "0.2") == 1
    assert below(tmp_path / "out") == ["good.glb"] and children_of(os.getpid()) == before
    lines = [" ".join(line.strip("│").split()) for line in capsys.readouterr().out.splitlines()]
    cells = [tuple(part.strip() for part in line.split("│")) for line in lines]
    assert {cell for cell in cells if len(cell) == 3} == {
        ("bad.fbx", "unreadable", "red https://***@host/x"),
        ("die.fbx", "crashed", "killed by SIGSEGV"),
        ("eat.fbx", "out_of_memory", "used more than 0.2 GiB of memory (--memory-gb)"),
        ("empty.fbx", "exited", "the process ended without a GLB file"),
        ("hang.fbx", "timeout", "took more than 3 s (--timeout)"),
    }
    assert "1 converted in 0:0" in " ".join(lines) and "5 files failed" in " ".join(lines)


def test_the_process_has_no_secrets_and_a_home_of_its_own(
    stand_in: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", "abc")
    assert convert(write(tmp_path / "s", a__fbx="environment"), tmp_path / "out") == 0
    assert capsys.readouterr().err == "a.fbx: [] True\n"


def test_a_stop_ends_the_processes_and_keeps_what_is_done(stand_in: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "s", a__fbx="good", b__fbx="hang", c__fbx="hang")
    words = command("convert", "--source", source, "--out", tmp_path / "out", "--workers", "1")
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    wait_until(lambda: bool(below(tmp_path / "out")) and bool(children_of(process.pid)), "the first file is done")
    children = children_of(process.pid)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM and "run the same command again to resume" in said
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert below(tmp_path / "out") == ["a.glb"]


def test_what_cannot_begin_is_refused_in_one_line(
    stand_in: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = write(tmp_path / "s", a__fbx="bare", b__fbx="bare"), tmp_path / "out"

    def refusal(source: Path, *more: str) -> str:
        assert convert(source, out, *more) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert f"{stand_in}: bpy cannot be imported: No module named 'bpy'" in refusal(source)
    assert "not a program; expected a Python that has bpy" in refusal(source, "--blender", "nowhere")
    assert "does not exist" in refusal(tmp_path / "no")
    assert "no file to convert" in refusal(write(tmp_path / "none", a__obj=""))
    assert "1 file is left out: .obj 1" in refusal(tmp_path / "none")
    assert "expected a number greater than 0, not 'soon'" in refusal(source, "--timeout", "soon")
    monkeypatch.delenv("GS_TRIPLETS_BLENDER")
    monkeypatch.setattr("pipeline.converting.environment._MADE", tmp_path / "nothing")
    assert "`make converter` installs it" in refusal(source)
    monkeypatch.setattr("pipeline.converting.environment._ROOT", tmp_path)  # as from a wheel
    assert "pip install bpy==4.5.15" in refusal(source)
    assert not out.exists()


# -- with Blender --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def blender() -> str:
    try:
        return find_blender("")
    except RunError:
        pytest.skip("Blender is not installed: make converter")


@pytest.fixture(scope="module")
def made(blender: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that Blender wrote, beside one with a texture that must not be read."""
    folder, outside = tmp_path_factory.mktemp("made"), tmp_path_factory.mktemp("outside")
    for path, colour in ((folder / "paint.png", (200, 30, 30)), (outside / "secret.png", (0, 0, 255))):
        Image.new("RGB", (16, 16), colour).save(path)
    script = Path(__file__).with_name("make_files.py")
    words = [blender, "-I", str(script), str(folder), str(folder / "paint.png"), str(outside / "secret.png")]
    subprocess.run(words, check=True, capture_output=True, timeout=120)
    return folder


def read(path: Path) -> Model:
    return read_mesh(bundle.pack({path.name: path.read_bytes()}), path.name, "glb", Limits(), 1024)


@pytest.mark.slow
def test_files_of_blender_become_meshes_that_stand_on_y_with_textures_of_their_folder(
    blender: str, made: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = call(command("convert", "--source", made, "--out", out, "--blender", blender), code=1)
    assert "camera.blend" in done.stdout and "no_mesh" in done.stdout and "6 converted" in done.stdout
    assert "outside.blend: texture secret.png: not in the folder of the file; left out" in done.stderr
    assert len(below(out)) == 6
    for name in below(out):
        (part,) = read(out / name).parts
        corners = part.positions.min(0), part.positions.max(0)
        # of scripts.blend too: neither its script nor its driver has run
        np.testing.assert_allclose(corners, [(-1, 2, -2), (1, 8, 2)], atol=1e-4, err_msg=name)
        texture = part.material.color_texture
        if name == "outside.glb":
            assert texture is None
        else:
            assert texture is not None and np.abs(texture.pixels[..., :3] - [200.0, 30, 30]).max() < 3, name
    build = command("build", "cpu", "--source", out, "--run", tmp_path / "run", "--engine", "local", "--only", "render")
    call([*build, "--max-failed", "0", "--render.size", "32", "--render.views", "4"])


OPENED = """
import os, sys
import bpy
bpy.ops.wm.open_mainfile(filepath=sys.argv[1], use_scripts=True)
print("meshes:", sum(item.type == "MESH" for item in bpy.data.objects), flush=True)
os._exit(0)
"""


@pytest.mark.slow
def test_scripts_that_did_not_run_would_have_if_they_were_allowed(blender: str, made: Path) -> None:
    """The box of scripts.blend, which the test above finds in its place, is removed by its script."""
    words = [blender, "-c", OPENED, str(made / "scripts.blend")]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    assert "meshes: 0" in done.stdout


@pytest.mark.slow
def test_a_file_that_is_not_what_its_name_says_is_unreadable(
    blender: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "s", a__fbx="no", b__dae="no", c__usda="no", d__blend="no")
    assert convert(source, tmp_path / "out", "--blender", blender) == 1
    assert capsys.readouterr().out.count("unreadable") == 4


CONFINED = """
import socket, subprocess, sys
sys.path.insert(0, {folder!r})
from in_blender import _confine
if not _confine([{inside!r}, *sys.path], {inside!r}):
    sys.exit("no Landlock")
open({inside!r} + "/written", "w").close()
for deed in (
    lambda: open({outside!r}), lambda: open({outside!r}, "w"), lambda: subprocess.run(["/bin/true"]),
    lambda: socket.create_connection(("127.0.0.1", 9)),
):
    try:
        deed()
    except PermissionError:
        print("refused")
"""


def test_the_process_reads_nothing_elsewhere_starts_nothing_and_connects_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "outside").write_text("secret")
    folder = str(Path(in_blender.__file__).parent)
    code = CONFINED.format(folder=folder, inside=str(tmp_path / "inside"), outside=str(tmp_path / "outside"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.stderr == "no Landlock\n":
        pytest.skip("the kernel has no Landlock")
    assert done.stdout.split() == ["refused"] * 4, done.stderr
