"""What a build says before it changes a run, and what it refuses to do without --yes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.pipeline.building import build, build_words, dataset_files, ids_in_dataset, say, write_meshes


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    write_meshes(folder / "source", count=3)
    build(folder / "source", folder / "run")
    return folder


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built / "run", tmp_path / "run"))


def files(run: Path) -> dict[str, int]:
    return {str(path.relative_to(run)): path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}


def dry(source: Path, run: Path, *more: str) -> list[str]:
    """What --dry-run says; it changes nothing."""
    before = files(run)
    said = say(*build_words(source, run, "--dry-run", *more)).stdout.splitlines()
    assert files(run) == before
    return said


def test_a_dry_run_of_a_finished_run_has_nothing_to_say(built: Path, copy: Path) -> None:
    assert dry(built / "source", copy) == ["Nothing to do: everything is up to date."]


def test_a_dry_run_names_settings_and_the_work_that_is_done_again(built: Path, copy: Path) -> None:
    assert dry(built / "source", copy, "--fit.steps", "21", "--schedule.fit.cpus", "2") == [
        "Settings: fit.steps 21 (was 20)",
        "To do: fit 3 (3 again)",
    ]
    added = dry(built / "source", copy, "--embed.model", "stages/embedded/clip")
    assert "embed.model stages/embedded/clip (was left out)" in added[0] and "embed.device auto (was" in added[0]
    assert added[1] == "To do: embed 3, align 3"
    assert dry(built / "source", copy, "--caption", "null")[0].startswith("Settings: caption.engine left out (was ")


def test_a_dry_run_counts_rows(built: Path, copy: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(built / "source", tmp_path / "source", copy_function=shutil.copy2))
    names = sorted(path.name for path in source.iterdir())
    (source / names[0]).rename(source / "another.glb")
    said = dry(source, copy)
    assert said[0] == "Rows: 3 were listed; 1 added, 1 withdrawn, 2 changed"  # the other two have other addresses
    assert said[1].startswith("To do: ingest 3 (2 again)")


def test_a_dry_run_of_a_new_run_makes_no_folder(built: Path, tmp_path: Path) -> None:
    assert say(*build_words(built / "source", tmp_path / "new", "--dry-run")).stdout == "Rows: 3, all of them new\n"
    assert not (tmp_path / "new").exists()


def test_withdrawing_more_than_a_tenth_needs_yes(built: Path, copy: Path, tmp_path: Path) -> None:
    pattern = f"{built}/source/*{sorted((built / 'source').iterdir())[0].name}"
    before = files(copy / "dataset")
    refused = build(Path(pattern), copy, code=2).stderr
    assert f"--run {copy} has 3 rows of {built}/source, and this build takes {pattern}: 2 would be withdrawn" in refused
    assert "confirm with --yes" in refused
    assert files(copy / "dataset") == before
    build(Path(pattern), copy, "--yes")
    assert len(ids_in_dataset(copy)) == 1


def test_the_demo_corpus_is_not_put_on_a_run_of_ones_own_meshes(copy: Path) -> None:
    refused = say("build", "demo", "--corpus.count", "3", "--run", copy, "--engine", "local", code=2).stderr
    assert "and this build takes the demo corpus with seed 0: 3 would be withdrawn, 3 added" in refused


def test_json_gives_an_event_a_line_and_all_else_goes_to_standard_error(built: Path, copy: Path) -> None:
    said = say(*build_words(built / "source", copy, "--json"))
    events = [json.loads(line) for line in said.stdout.splitlines()]
    assert [event["event"] for event in events] == ["start", "changes", "progress", "end"]
    assert events[1]["rows"] == {"before": 3, "added": 0, "withdrawn": 0, "changed": 0}
    assert events[-1] | {"exit_code": 0, "failed": 0, "dataset": f"{copy}/dataset"} == events[-1]
    assert sum(events[-1]["rows"].values()) == 3
    assert "Nothing to do" in said.stderr and "\x1b" not in said.stderr
    refused = say("build", "cpu", "--source", copy / "nowhere", "--run", copy, "--json", code=2)
    assert json.loads(refused.stdout.splitlines()[-1])["event"] == "error"


def test_a_quiet_build_prints_only_what_was_made(built: Path, copy: Path) -> None:
    said = say(*build_words(built / "source", copy, "--quiet"))
    assert said.stderr == ""
    nothing, made = said.stdout.splitlines()
    assert nothing.startswith("Nothing to do") and made.startswith("3 triplets (")


def test_a_finished_run_starts_no_workers_and_no_ray(built: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # no cluster is there
    before = dataset_files(copy)
    said = say(*build_words(built / "source", copy, "--engine", "ray"))
    assert "Nothing to do: everything is up to date." in said.stdout
    assert dataset_files(copy) == before
