"""Make the kit: all that a bare GPU machine needs for the run, in one folder that is small enough to be carried there.

python -m tests.gpu.kit [--out runs/gpu-kit] [--meshes FOLDER] [--objects-only] [--toy]

kit.json     what is in it, and what it cost
site.tar.xz  the packages that such a machine lacks, gsplat among them with its kernels compiled for it
egl/         Debian's packages of the EGL loaders
objects/     64 objects of the demo corpus and 24 meshes of FOLDER, rendered at 512², each with its start
run/         a small packed dataset with a teacher's vectors

What is made once is kept in OUT-work, so that the same command again makes what is missing. `--toy` makes a kit of tiny
sizes without kernels, for a rehearsal. `--objects-only` is for a machine that has all packages: no site.tar.xz, no egl.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.fit import photos_of
from tests.benchmarks.fit_objects import rendered
from tests.gpu.kit_site import pack_site
from tests.gpu.machine import VERSION, MachineError, machine_python
from tests.gpu.objects import SUFFIX, write_object
from tests.gpu.part import cores, module

ROOT = Path(__file__).resolve().parents[2]
LARGEST_MIB = 64.0  # with the files that git tracks, which travel too
_EGL = ("libegl1", "libglvnd0", "libgl1", "libglx0", "libgles2", "libopengl0")


@dataclass(frozen=True)
class Sizes:
    size: int
    views: int
    gaussians: int
    demo: int
    meshes: int
    dataset: tuple[str, ...]


FULL = Sizes(512, 36, 16_384, 64, 24, ("--corpus.count", "32", "--render.size", "32", "--fit.gaussians", "512"))
TOY = Sizes(16, 6, 40, 4, 0, ("--corpus.count", "6", "--render.size", "32", "--fit.gaussians", "128"))


class Kit:
    """Makes the parts of the kit that are missing."""

    def __init__(self, out: Path, meshes: Path | None, toy: bool):
        self.out, self.meshes, self.toy = out, meshes, toy
        self.sizes = TOY if toy else FULL
        self.work = out.with_name(f"{out.name}-work")
        for folder in (self.out / "objects", self.out / "egl", self.work):
            folder.mkdir(parents=True, exist_ok=True)

    def make(self, packages: bool) -> None:
        known = self.make_packages() if packages else {}
        say("a dataset for the trainer")
        self.build_dataset()
        say("objects to fit: views and starts")
        known["start_cpu_seconds_an_object"] = self.make_objects()
        (self.out / "kit.json").write_text(json.dumps(known, indent=1))

    def make_packages(self) -> dict[str, Any]:
        python = machine_python()
        say("packages and kernels")
        packages = pack_site(python, self.work, self.out / "site.tar.xz", kernels=not self.toy)
        say("EGL loaders")
        self.fetch_egl()
        return {"made_for": f"Python {VERSION}, torch {_torch_of(python)}", "packages": packages}

    def fetch_egl(self) -> None:
        """Debian's loaders; without apt-get the machine must have its own."""
        if shutil.which("apt-get") is None:
            say("  no apt-get here: the machine must have libEGL itself")
            return
        if len(list((self.out / "egl").glob("*.deb"))) < len(_EGL):
            fetch = subprocess.run(["apt-get", "-q", "download", *_EGL], cwd=self.out / "egl", capture_output=True)
            if fetch.returncode:
                raise SystemExit(f"apt-get download failed: {fetch.stderr.decode()[-300:]}; run apt-get update first")

    def build_dataset(self) -> None:
        run = self.work / "run"
        if not (run / "dataset" / "index.json").exists():
            words = ["--render.views", "8", "--fit.steps", "60", "--engine", "local"]
            subprocess.run(module("pipeline", "build", "demo", "--run", run, *self.sizes.dataset, *words), check=True)
        shutil.copytree(run / "dataset", self.out / "run" / "dataset", dirs_exist_ok=True)

    def make_objects(self) -> float:
        """Median CPU seconds of a start."""
        sizes = self.sizes
        views = rendered(
            self.work, sizes.size, sizes.views, sizes.demo, self.meshes, sizes.meshes if self.meshes else 0
        )
        named = [(path, self.out / "objects" / f"{path.name.removesuffix('.views.zip')}{SUFFIX}") for path in views]
        file = self.work / "starts.json"
        seconds: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}
        waiting = [(path, made, sizes.gaussians) for path, made in named if not made.exists()]
        with ProcessPoolExecutor(cores()) as pool:
            for number, (name, taken) in enumerate(pool.map(_make_object, waiting), 1):
                seconds[name] = taken
                file.write_text(json.dumps(seconds))
                say(f"  {number} of {len(waiting)}: {name}")
        found = sorted(seconds.values())
        return found[len(found) // 2]


def _make_object(given: tuple[Path, Path, int]) -> tuple[str, float]:
    from stages.fitting.start import start_from

    path, made, gaussians = given
    training, held_out = photos_of(path)
    begun = time.process_time()
    start = start_from(training, gaussians, 1)
    seconds = time.process_time() - begun
    write_object(made, training, held_out, start)
    return made.name, seconds


def _torch_of(python: Path) -> str:
    command = [str(python), "-c", "import torch; print(torch.__version__)"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def contents(folder: Path) -> Iterator[tuple[str, int]]:
    """What is at the top of the folder, with its bytes."""
    for path in sorted(folder.iterdir()):
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        yield (
            path.name + ("" if path.is_file() else f"/ ({len(files)} files)"),
            sum(file.stat().st_size for file in files),
        )


def tracked_bytes() -> int:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    return sum((ROOT / name).stat().st_size for name in listed.stdout.split("\0") if name and (ROOT / name).exists())


def show(folder: Path) -> float:
    """Print the list; returns the MiB of what must travel."""
    found = list(contents(folder))
    total = sum(size for _, size in found)
    for name, size in [*found, ("the kit", total), ("and the repository's own files", tracked_bytes())]:
        print(f"{name:<40}{size / 2**20:>8.1f} MiB")
    return (total + tracked_bytes()) / 2**20


def say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu-kit"))
    parser.add_argument("--meshes", type=Path, help="a folder; 24 of its textured meshes are taken, evenly spread")
    parser.add_argument("--objects-only", action="store_true", help="without packages, kernels and EGL loaders")
    parser.add_argument("--toy", action="store_true", help="tiny sizes, no kernels: for a rehearsal")
    options = parser.parse_args()
    try:
        Kit(options.out, options.meshes, options.toy).make(packages=not options.objects_only)
    except MachineError as error:
        print(f"gpu-kit: {error}", file=sys.stderr)
        return 1
    total = show(options.out)
    if total > LARGEST_MIB:
        print(f"gpu-kit: {total:.1f} MiB are more than the {LARGEST_MIB:.0f} that travel", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
