"""Write the splats of a run as files, one per object."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import BoundedSemaphore

import numpy as np

from pipeline.planning.row_states import State
from pipeline.planning.run import Run, RunError, open_run
from stages.artifacts.splat import Splat
from stages.common.prefetch import prefetch
from stages.common.progress_bar import progress_bar
from stages.common.telling import tell_if_slow
from stages.exporting import FORMATS, SplatFormat

_ARTIFACT = "splat"  # the column that names the files
_THREADS = 8
_MOST_PIXELS, _MOST_CONVERSIONS = 1024, 4  # at once; one at this size takes about 1 GB
MODES = ("classic", "antialiased")  # gsplat's names


@dataclass(frozen=True)
class _Export:
    """One object: its id, its index in the listing, and the file to write."""

    id: str
    index: int
    path: Path


_Encoder = Callable[[_Export], bytes | ValueError]


def export_splats(options: argparse.Namespace) -> int:
    """Write the files; return 1 if the splat of an object cannot be read."""
    with tell_if_slow("Reading what the run has"):
        run = open_run(options.run)
    splat_format = next(each for each in FORMATS if options.format in (None, each.name))
    out = options.out.expanduser().absolute()
    exports = _plan_exports(run, options.id, out, splat_format.name)
    encode = _encoder(run, splat_format, options.rasterize_mode, options.pixels)
    present = [export for export in exports if export.path.exists()]
    if present and not options.force:
        _refuse_changes(present, encode)
    left = exports if options.force else [export for export in exports if not export.path.exists()]
    failures = 0
    for export, data in _encode_all(left, encode, "Exporting"):
        if isinstance(data, ValueError):
            print(f"error: {export.id}: {data}", file=sys.stderr)
            failures += 1
        else:
            _write(export.path, data)
    counts = {"written": len(left) - failures, "unchanged": len(exports) - len(left), "failed": failures}
    print(f"{out}: {splat_format.name} files:", ", ".join(f"{count} {what}" for what, count in counts.items() if count))
    return 1 if failures else 0


def _plan_exports(run: Run, ids: list[str] | None, out: Path, suffix: str) -> list[_Export]:
    """The objects to export, in the order of the listing, and their files. Raise RunError if an id has no splat."""
    fitted = run.plan.states[_stage(run)] == State.OK
    names = run.listing.ids.to_pylist()
    if not fitted.any():
        raise RunError(f"--run {run.store.root}: no object is fitted yet; run `build`")
    if ids:
        index_of = {name: index for index, name in enumerate(names)}
        for name in ids:
            if name not in index_of:
                raise RunError(f"--id {name}: {run.store.root} has no object of this id")
            if not fitted[index_of[name]]:
                raise RunError(f"--id {name}: is not fitted; `status --run {run.store.root} --failed` may say why")
        indices = sorted({index_of[name] for name in ids})
    else:
        indices = np.flatnonzero(fitted).tolist()
    found: dict[Path, _Export] = {}
    for index in indices:
        path = out / _file_name(names[index], suffix)
        export = found.setdefault(path, _Export(names[index], index, path))
        if export.index != index:
            raise RunError(f"{path}: would be the file of {export.id} and {names[index]}; export them one by one")
    return list(found.values())


def _stage(run: Run) -> str:
    return next(name for name, step in run.plan.steps.items() if step.stage.artifact == _ARTIFACT)


def _file_name(name: str, suffix: str) -> PurePosixPath:
    """An id may be a path: the file stays below the folder."""
    parts = [part for part in name.split("/") if part not in ("", ".", "..")] or ["_"]
    return PurePosixPath(*parts[:-1], f"{parts[-1]}.{suffix}")


def _refuse_changes(present: list[_Export], encode: _Encoder) -> None:
    """Raise RunError if a file has other content than its export."""
    changed = [
        export.path
        for export, data in _encode_all(present, encode, "Comparing")
        if isinstance(data, bytes) and export.path.read_bytes() != data
    ]
    if changed:
        more = f" (and {len(changed) - 1} more files)" if len(changed) > 1 else ""
        raise RunError(f"{changed[0]}: has other content{more}; pass --force to replace it, or a new --out folder")


def _encoder(run: Run, splat_format: SplatFormat, mode: str | None, pixels: int | None) -> _Encoder:
    """A function that gives the file of an export, or a ValueError if its splat cannot be read or converted."""
    stage = _stage(run)
    convert = _converter(run, mode, pixels)

    def encode(export: _Export) -> bytes | ValueError:
        try:
            stored = run.plan.outcomes.read(stage, run.plan.key(stage, export.index))
            return splat_format.encode(convert(Splat.from_ply(run.plan.outcomes.read_artifact(stored))))
        except FileNotFoundError:
            return ValueError("its splat is missing; `clean --packed` deletes the splats that are in shards")
        except ValueError as error:
            return error

    return encode


def _converter(run: Run, mode: str | None, pixels: int | None) -> Callable[[Splat], Splat]:
    """A function that converts a splat of the run to a mode of drawing, if it was fitted for the other."""
    antialiased = bool(run.plan.steps[_stage(run)].stage.settings().get("antialiased"))
    if mode in (None, MODES[antialiased]):
        if pixels:
            why = "the splats of this run were fitted for this mode" if mode else "it needs --rasterize-mode"
            raise RunError(f"--pixels: is the size for which splats are converted; {why}")
        return lambda splat: splat
    from stages.fitting.conversion import convert  # loads numba

    views = next(step.stage.settings() for step in run.plan.steps.values() if step.stage.shown.views)
    size = pixels or min(views["size"], _MOST_PIXELS)
    if size > _MOST_PIXELS:
        raise RunError(f"--pixels {size}: splats are converted for at most {_MOST_PIXELS} pixels")
    turns = BoundedSemaphore(min(_MOST_CONVERSIONS, len(os.sched_getaffinity(0))))

    def converted(splat: Splat) -> Splat:
        with turns:
            return convert(splat, not antialiased, size, views["fov_deg"])

    return converted


def _encode_all(exports: list[_Export], encode: _Encoder, title: str) -> Iterator[tuple[_Export, bytes | ValueError]]:
    """Encode exports in threads, and show how many are done."""
    results: Iterable[bytes | ValueError] = prefetch(encode, exports, _THREADS)
    with progress_bar(title) as report:
        for done, (export, data) in enumerate(zip(exports, results, strict=True), 1):
            yield export, data
            report(done, len(exports))


def _write(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.part")
    draft.write_bytes(data)
    draft.replace(path)
