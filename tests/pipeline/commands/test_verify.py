"""`verify` names what is damaged or missing in a run, and the next build makes it again, byte for byte."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from manifests.lease import Lease
from manifests.store import open_store
from tests.pipeline.building import ONE_WORKER, call, command, dataset_files, reasons, say, status, write_meshes

SETTINGS = ["--render.size", "16", "--render.views", "4", "--fit.steps", "6", "--fit.gaussians", "20"]
SETTINGS += ["--splits.rows_per_shard", "2", "--splits.shares", "{only: 1.0}", *ONE_WORKER]


def build_words(folder: Path) -> list[str]:
    return [
        "build",
        "cpu",
        "--source",
        str((folder / "source").resolve()),
        "--run",
        f"{folder}/run",
        "--engine",
        "local",
        *SETTINGS,
    ]


def build(folder: Path, *more: str, code: int = 0) -> None:
    say(*build_words(folder), *more, code=code)


def verify(run: Path, *more: str, code: int) -> list[str]:
    """The names of the files that are damaged or missing."""
    return [
        each["file"] for each in json.loads(say("verify", "--run", run, "--json", *more, code=code).stdout)["damaged"]
    ]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished build of three objects in two shards."""
    folder = tmp_path_factory.mktemp("verified")
    write_meshes(folder / "source", count=3)
    call(command(*build_words(folder)))  # in a process of its own, so that the holder of the lease has ended
    return folder


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    shutil.copytree(built / "run", tmp_path / "run")
    (tmp_path / "source").symlink_to(built / "source")
    return tmp_path


# -- kinds of damage: each returns the file that it damages --------------------------------------------------------

Harm = Callable[[Path], object]


def flip(at: int | bytes) -> Harm:
    """Flip a bit of the byte at a position, or of the byte after a mark."""

    def harm(path: Path) -> None:
        data = bytearray(path.read_bytes())
        place = data.index(at) + len(at) if isinstance(at, bytes) else at % len(data)
        data[place] ^= 1
        path.write_bytes(data)

    return harm


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def write(data: bytes) -> Harm:
    return lambda path: path.write_bytes(data)


def replace(text: str, by: str) -> Harm:
    return lambda path: path.write_text(path.read_text().replace(text, by, 1))


def change(**columns: Any) -> Harm:
    """Change columns of an outcome that has no checksum, as earlier versions wrote it."""

    def harm(path: Path) -> None:
        content = json.loads(path.read_bytes())
        kept = {name: value for name, value in content.items() if not name.startswith("_")}
        path.write_text(json.dumps(kept | columns))

    return harm


def take_the_place(path: Path) -> None:
    """Another valid shard under this name."""
    other = next(shard for shard in sorted(path.parent.iterdir()) if shard != path)
    path.write_bytes(other.read_bytes())


SHARD, SPLAT, VIEWS, MESH = (
    "dataset/data/*",
    "artifacts/fit/*/*.ply",
    "artifacts/render/*/*.zip",
    "artifacts/ingest/*/*.zip",
)
OUTCOME = "artifacts/{}/*/*.json"
PART, ROWS, BEAT = "manifest/log/{}/*.parquet", "manifest/rows/00000001.parquet", "manifest/lease/*-beat.json"

AT_A_GLANCE: dict[str, tuple[str, Harm]] = {
    "shard cut": (SHARD, cut),
    "shard emptied": (SHARD, write(b"")),
    "shard deleted": (SHARD, Path.unlink),
    "shard is another": (SHARD, take_the_place),
    "shard's end flipped": (SHARD, flip(-1)),
    "splat cut": (SPLAT, cut),
    "splat emptied": (SPLAT, write(b"")),
    "splat deleted": (SPLAT, Path.unlink),
    "views cut": (VIEWS, cut),
    "mesh deleted": (MESH, Path.unlink),
    "outcome {}": (OUTCOME.format("caption"), write(b"{}")),
    "outcome []": (OUTCOME.format("fit"), write(b"[]")),
    "outcome null": (OUTCOME.format("render"), write(b"null")),
    "outcome a number": (OUTCOME.format("ingest"), write(b"1e400")),
    "outcome nested": (OUTCOME.format("ingest"), write(b"[" * 100_000)),
    "outcome cut": (OUTCOME.format("fit"), cut),
    "outcome flipped": (OUTCOME.format("caption"), flip(b'"text": "')),
    "outcome deleted": (OUTCOME.format("fit"), Path.unlink),
    "outcome's types": (OUTCOME.format("fit"), change(psnr="thirty")),
    "outcome's captions": (OUTCOME.format("caption"), change(captions=[{"text": 5, "kind": "name"}])),
    "outcome's artifact outside": (OUTCOME.format("fit"), change(splat="../../x")),
    "outcome's artifact of another": (OUTCOME.format("fit"), change(splat="artifacts/render/00/a.zip")),
    "outcome's shard outside": (OUTCOME.format("pack"), change(shard="dataset/data/../../../x.parquet")),
    "part flipped": (PART.format("fit"), flip(400)),
    "part cut": (PART.format("ingest"), cut),
    "part emptied": (PART.format("pack"), write(b"")),
    "listing cut": (ROWS, cut),
    "listing flipped": (ROWS, flip(400)),
    "lease []": ("manifest/lease/00000001.json", write(b"[]")),
    "lease of huge numbers": ("manifest/lease/00000001.json", write(b'{"host": "a", "pid": 1e400}')),
    "beat []": (BEAT, write(b"[]")),
    "beat null": (BEAT, write(b"null")),
    "beat of bounds": (BEAT, write(b'{"bounds": 3}')),
    "beat of time": (BEAT, write(b'{"count": 1, "time": "x", "released": false}')),
    "beat of huge numbers": (BEAT, write(b'{"count": 1, "time": 1e400, "released": false, "bounds": {"1": 1}}')),
    "recipe changed": ("recipe.yaml", replace("steps: 6", "steps: 7")),
    "index []": ("dataset/index.json", write(b"[]")),
    "index cut": ("dataset/index.json", cut),
    "index's counts": ("dataset/index.json", replace('"only": 3', '"only": 4')),
    "index deleted": ("dataset/index.json", Path.unlink),
    "card deleted": ("dataset/README.md", Path.unlink),
    "card flipped": ("dataset/README.md", flip(900)),
}  # fmt: skip
WITH_CHECKSUMS: dict[str, tuple[str, Harm]] = {
    "shard's data flipped": (SHARD, flip(3000)),
    "shard's footer flipped": (SHARD, flip(-400)),
    "splat flipped": (SPLAT, flip(-7)),
    "splat's header flipped": (SPLAT, flip(b"property float ")),
    "zip's local header flipped": (VIEWS, flip(b"PK\3\4\x14")),
    "zip's directory flipped": (VIEWS, flip(b"PK\1\2\x14\3\x14\0")),
    "zip's data flipped": (VIEWS, flip(300)),
    "mesh's zip flipped": (MESH, flip(60)),
}


# of each kind of file, how it is mended; how it is found does not matter to that
MENDED = [
    "shard emptied", "shard's data flipped", "splat flipped", "zip's directory flipped", "mesh deleted", "outcome {}",
    "outcome's captions", "outcome's shard outside", "part cut", "listing flipped", "lease []", "beat of bounds",
    "recipe changed", "index cut", "index's counts", "card deleted",
]  # fmt: skip


def do(harm: tuple[str, Harm], run: Path) -> str:
    """Damage a file, and return its name in the run."""
    pattern, deed = harm
    path = min(run.glob(pattern))
    deed(path)
    return str(path.relative_to(run))


_ALSO_IN_UNIT_TESTS = (
    "beat",
    "lease",
    "outcome's",
    "outcome n",
    "outcome a",
    "splat d",
    "splat e",
    "shard e",
    "part e",
)


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=[pytest.mark.slow] * kind.startswith(_ALSO_IN_UNIT_TESTS)) for kind in AT_A_GLANCE],
)
def test_damage_is_found_at_a_glance_and_named(folder: Path, kind: str) -> None:
    name = do(AT_A_GLANCE[kind], folder / "run")
    found = verify(folder / "run", "--dry-run", code=1)
    assert name in found or any(name.removesuffix(".json") in file for file in found)


@pytest.mark.parametrize("kind", WITH_CHECKSUMS)
def test_damage_that_keeps_the_size_is_found_by_checksums(folder: Path, kind: str) -> None:
    name = do(WITH_CHECKSUMS[kind], folder / "run")
    assert verify(folder / "run", "--dry-run", "--deep", code=1) == [name]


def test_a_damaged_shard_is_found_without_an_index_and_where_its_rows_are_to_be_worked(folder: Path) -> None:
    run = folder / "run"
    (run / "dataset" / "index.json").unlink()
    for part in (run / "manifest" / "log" / "ingest").iterdir():
        part.unlink()
    shard = do(WITH_CHECKSUMS["shard's data flipped"], run)
    outcome = do(AT_A_GLANCE["outcome's shard outside"], run)
    assert {shard, "dataset/index.json"} <= {*verify(run, "--dry-run", "--deep", code=1)}
    (run / shard).unlink()
    found = verify(run, "--dry-run", "--deep", code=1)
    assert shard not in found and "dataset/index.json" in found  # a build packs a shard that is gone without being told
    assert (run / outcome).exists()


def test_a_whole_run_has_no_damage_and_a_dry_run_changes_nothing(folder: Path) -> None:
    before = {path: path.read_bytes() for path in (folder / "run").rglob("*") if path.is_file()}
    shown = say("verify", "--run", folder / "run", "--deep", "--dry-run").stdout
    assert "No damage was found." in shown
    do(AT_A_GLANCE["splat cut"], folder / "run")
    do(AT_A_GLANCE["splat cut"], folder / "run")
    verify(folder / "run", "--dry-run", code=1)
    after = {path: path.read_bytes() for path in (folder / "run").rglob("*") if path.is_file()}
    assert [path.suffix for path in after if after[path] != before.get(path)] == [".ply"]


def test_what_is_damaged_and_nothing_else_is_made_again(folder: Path) -> None:
    before = dataset_files(folder / "run")
    run, kinds = (
        folder / "run",
        ["shard's data flipped", "splat flipped", "outcome {}", "zip's data flipped", "card flipped"],
    )
    names = [do({**AT_A_GLANCE, **WITH_CHECKSUMS}[kind], run) for kind in kinds]
    assert sorted(verify(run, "--deep", code=1)) == sorted(names)
    failed = {row["stage"]: row["reason"] for row in status(run)["failed"]}  # a row is listed at its first such stage
    assert {"render", "pack"} <= failed.keys() and set(failed.values()) == {"damaged"}
    splats = {path: path.read_bytes() for path in run.glob(SPLAT)}
    build(folder)
    assert dataset_files(run) == before and not reasons(run)
    assert len([path for path in run.glob(SPLAT) if path not in splats]) == 1
    assert verify(run, "--deep", code=0) == []


def test_rows_that_clean_has_removed_are_not_damaged(folder: Path) -> None:
    say("clean", "--run", folder / "run", "--packed", "--yes")
    assert verify(folder / "run", "--deep", code=0) == []


@pytest.mark.slow
def test_a_build_without_verify_notices_a_shard_of_another_size(folder: Path) -> None:
    before = dataset_files(folder / "run")
    do(AT_A_GLANCE["shard cut"], folder / "run")
    build(folder)
    assert dataset_files(folder / "run") == before


def test_a_recipe_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "run" / "recipe.yaml").write_text("fit: {steps: [")
    assert "recipe.yaml is damaged" in say("verify", "--run", folder / "run", code=1).stderr
    assert "recipe.yaml is damaged" in say("status", "--run", folder / "run", code=2).stderr


def test_rows_are_not_lost_where_their_list_is(folder: Path) -> None:
    before = dataset_files(folder / "run")
    for path in (folder / "run" / "manifest" / "rows").iterdir():
        cut(path)
    words = ["build", "cpu", "--run", folder / "run", "--engine", "local", *SETTINGS]
    assert "are damaged: give --source" in say(*words, code=2).stderr
    assert dataset_files(folder / "run") == before


def test_it_waits_for_no_build_and_takes_the_lease(folder: Path) -> None:
    lease = Lease.acquire(open_store(folder / "run"))
    try:
        assert "another build is at work" in say("verify", "--run", folder / "run", code=2).stderr
        assert verify(folder / "run", "--dry-run", code=0) == []
    finally:
        lease.release()


@pytest.mark.slow
@pytest.mark.parametrize("kind", MENDED)
def test_the_same_command_mends_every_kind_of_file(folder: Path, kind: str) -> None:
    before = dataset_files(folder / "run")
    do({**AT_A_GLANCE, **WITH_CHECKSUMS}[kind], folder / "run")
    say("verify", "--run", folder / "run", "--deep", code=1)
    build(folder)
    assert dataset_files(folder / "run") == before and not reasons(folder / "run")
    assert verify(folder / "run", "--deep", code=0) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_harm_at_random_is_mended(folder: Path, seed: int) -> None:
    """Ten files of a run are flipped, cut, emptied or deleted at once; what remains is not trusted blindly."""
    drawn, run = random.Random(seed), folder / "run"
    before = dataset_files(run)
    files = sorted(path for path in run.rglob("*") if path.is_file() and path.name != "recipe.yaml")
    for path in drawn.sample(files, 10):
        size = path.stat().st_size
        drawn.choice([flip(drawn.randrange(size)), flip(drawn.randrange(size)), cut, write(b""), Path.unlink])(path)
    verify(run, "--deep", code=1)
    build(folder)
    assert dataset_files(run) == before and not reasons(run)
    assert verify(run, "--deep", code=0) == []
