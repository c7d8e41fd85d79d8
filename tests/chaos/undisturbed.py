"""What is built, and the datasets that undisturbed builds make of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.chaos.reading import read_ids, read_status
from tests.pipeline.building import BLOCKS, SMALL, call, command, dataset_files, write_meshes

# A row that fails because of a harm is tried again; how often is not what is tested here. What hangs is noticed soon,
# and one worker a stage is quick to start.
_SCHEDULE = {"attempts": "20", "timeout_seconds": "30", "open_timeout_seconds": "90", "workers": "1"}
_STAGES = ("ingest", "render", "fit", "caption", "pack")


def _schedule(*stages: str) -> list[str]:
    return [
        word for stage in stages for name, value in _SCHEDULE.items() for word in (f"--schedule.{stage}.{name}", value)
    ]


@dataclass(frozen=True)
class Recipe:
    """One kind of build: the words of its command but for run and engine."""

    name: str
    words: tuple[str, ...]

    def command(self, run: Path, engine: str) -> list[str]:
        return command("build", *self.words, "--run", run, "--engine", engine)


@dataclass(frozen=True)
class Undisturbed:
    """What an undisturbed build of a recipe made."""

    recipe: Recipe
    run: Path

    @classmethod
    def build(cls, recipe: Recipe, folder: Path) -> Undisturbed:
        run = folder / "undisturbed" / recipe.name
        call(recipe.command(run, "local"))
        return cls(recipe, run)

    @cached_property
    def files(self) -> dict[str, bytes]:
        return dataset_files(self.run)

    @cached_property
    def ids(self) -> list[str]:
        return read_ids(self.run)

    @cached_property
    def status(self) -> dict[str, Any]:
        return read_status(self.run)


def make_recipes(folder: Path, objects: int) -> dict[str, Recipe]:
    """`meshes`: plain files, some of which fail. `demo`: all stages, with the teacher and the captioner."""
    source = write_meshes(folder / "source", count=objects)
    whole = sorted(source.iterdir())
    (source / "empty.glb").write_bytes(b"")
    (source / "cut.glb").write_bytes(whole[0].read_bytes()[:300])
    (source / "twin.glb").write_bytes(whole[1].read_bytes())
    (source / "notes.glb").write_bytes(b"These are not the meshes you are looking for.")
    demo = ["demo", "--corpus.count", str(objects // 2), *_schedule("embed", "align")]
    return {
        "meshes": Recipe("meshes", ("cpu", "--source", str(source), *SMALL, *BLOCKS, *_schedule(*_STAGES))),
        "demo": Recipe("demo", (*demo, *SMALL, *BLOCKS, *_schedule(*_STAGES))),
    }
