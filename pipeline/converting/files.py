"""Say which files are to be converted, and where each goes."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from manifests.addresses import is_uri
from manifests.folders import SourceError, find
from manifests.left_out import CONVERTIBLE, count_left_out, in_words


@dataclass(frozen=True)
class Conversion:
    source: Path
    name: str  # below the source folder
    out: Path

    @property
    def is_done(self) -> bool:
        """Whether its result exists and is not older than its source."""
        try:
            return self.out.stat().st_mtime >= self.source.stat().st_mtime
        except OSError:  # no result yet; or a link to nowhere, which is a failure of this file
            return False


@dataclass(frozen=True)
class Found:
    conversions: list[Conversion]
    left_out: Counter[str]  # other files, by ending


def find_files(source: str, out: Path) -> Found:
    """Find the files with an ending of CONVERTIBLE in a folder and below, or take one file."""
    if is_uri(source):
        raise SourceError(f"{source}: only local files are converted; download them")
    path = Path(source).expanduser().absolute()
    if not path.exists():
        raise SourceError(f"{source}: does not exist")
    others: list[str] = []
    if path.is_dir():
        paths = sorted(find(str(path), ("**", "*"), CONVERTIBLE, hidden=False, others=others))
    else:
        paths = [str(path)] if source.lower().endswith(CONVERTIBLE) else []
    skipped = count_left_out(paths, others, local=False)
    if not paths:
        end = f"; {in_words(skipped)}" if skipped else ""
        raise SourceError(f"{source}: no file to convert; expected names ending in {', '.join(CONVERTIBLE)}{end}")
    base = path if path.is_dir() else path.parent
    return Found(_conversions(paths, base, out), skipped)


def _conversions(paths: list[str], base: Path, out: Path) -> list[Conversion]:
    """The same names and folders with .glb; files that differ only in their ending keep it: chair.fbx.glb."""
    stems = Counter(os.path.splitext(path)[0] for path in paths)
    made = []
    for path in paths:
        name = os.path.relpath(path, base)
        stem, ending = os.path.splitext(name)
        kept = ending if stems[os.path.splitext(path)[0]] > 1 else ""
        made.append(Conversion(Path(path), name, out / f"{stem}{kept}.glb"))
    return made
