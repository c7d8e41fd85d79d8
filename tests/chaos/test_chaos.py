"""The campaign itself: a short form of it, and that it draws, harms and compares as it says."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.chaos.campaign import draw
from tests.chaos.checks import find_differences
from tests.chaos.clock import Clock
from tests.chaos.damage import FILES, WAYS, damage_file
from tests.chaos.disk import Disk
from tests.chaos.disturbed import DisturbedBuild
from tests.chaos.driver import Driver, Failure
from tests.chaos.harms import HARMS
from tests.chaos.undisturbed import Undisturbed, make_recipes
from tests.pipeline.building import call


def test_a_seed_draws_the_same_campaign_and_every_harm_comes() -> None:
    first, again, other = (draw(seed, 12, 60, ["ray", "local"], list(HARMS), 2) for seed in (5, 5, 6))
    assert first == again != other
    given = [(planned.engine, each.harm) for planned in first for each in planned.harms]
    assert len(given) == 60 and {harm for _, harm in given} == set(HARMS)
    assert all(engine in HARMS[harm].engines for engine, harm in given)


@pytest.mark.parametrize("way", WAYS)
def test_damage_changes_a_file_or_what_is_beside_it(tmp_path: Path, way: str) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(b'{"a": 1}')
    WAYS[way](path, Random(1))
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] != [("file.json", b'{"a": 1}')]


def test_only_files_of_the_kind_are_damaged(tmp_path: Path) -> None:
    for name in ("artifacts/fit/ab/ab-1.ply", "manifest/log/fit/1-1.parquet", "dataset/index.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"content")
    assert {kind for kind in FILES if damage_file(tmp_path, kind, Random(1))} == {"artifact", "log", "dataset"}


def test_a_clock_jumps_for_its_processes_alone(tmp_path: Path) -> None:
    clock = Clock.make(tmp_path)
    if clock is None:
        pytest.skip("needs a C compiler")
    script = (
        "import time; print(time.time(), time.monotonic(), flush=True); input(); print(time.time(), time.monotonic())"
    )
    words = [sys.executable, "-c", script]
    process = subprocess.Popen(
        words, env=clock.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdout
    before = [float(word) for word in process.stdout.readline().split()]
    clock.jump(-86_400)
    after = [float(word) for word in process.communicate("\n")[0].split()]
    assert after[0] < before[0] < time.time() and after[1] > before[1]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk.mount(tmp_path / "small", 1)
    if not made.small:
        pytest.skip("needs the right to mount a small file system")
    yield made
    made.unmount()


def test_a_full_disk_takes_nothing_until_it_is_freed(disk: Disk) -> None:
    disk.fill()
    with pytest.raises(OSError) as raised:
        (disk.folder / "more").write_bytes(b"1" * 10_000)
    assert raised.value.errno == errno.ENOSPC
    disk.free()
    (disk.folder / "more").write_bytes(b"1" * 10_000)


@pytest.mark.parametrize("script", ["raise ValueError", "import sys; sys.exit(7)", "import sys; sys.exit(2)"])
def test_a_driver_may_not_end_without_a_reason(tmp_path: Path, script: str) -> None:
    with pytest.raises(Failure):
        Driver.start([sys.executable, "-c", script], {}, tmp_path).end()
    assert Driver.start([sys.executable, "-c", "pass"], {}, tmp_path).end().code == 0


@pytest.mark.slow
def test_what_differs_from_the_undisturbed_dataset_is_found(tmp_path: Path) -> None:
    recipe = make_recipes(tmp_path, objects=2)["meshes"]
    expected = Undisturbed.build(recipe, tmp_path)
    build = DisturbedBuild.make(recipe, "local", tmp_path / "build", Random(1))
    assert build.finish().code == 0
    assert find_differences(build, expected) == []
    (build.run / "dataset" / "index.json.0.draft").write_bytes(b"")
    card = build.run / "dataset" / "README.md"
    card.write_bytes(card.read_bytes()[1:])
    found = find_differences(build, expected)
    build.unmount()
    assert found == ["dataset/README.md has other bytes", "dataset/index.json.0.draft should not be there"]


@pytest.mark.slow
def test_a_short_campaign(tmp_path: Path) -> None:
    words = ["--builds", "2", "--harms", "10", "--engine", "local", "--demos", "0", "--objects", "6"]
    call([sys.executable, "-m", "tests.chaos", *words, "--out", str(tmp_path)])
    builds = json.loads((tmp_path / "chaos.json").read_text())["builds"]
    assert sum(len(build["given"]) for build in builds) == 10
    assert [build["problems"] for build in builds] == [[], []]
