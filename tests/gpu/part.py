"""What every part of the run shares: its options, and the figures that it writes as soon as they are known."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class Figures:
    """A JSON file that always holds all figures so far."""

    def __init__(self, path: Path):
        self.path = path
        self.known: dict[str, Any] = {}

    def put(self, **figures: Any) -> None:
        self.known.update(figures)
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.known))
        part.replace(self.path)
        print(", ".join(f"{name} {_short(value)}" for name, value in figures.items()), flush=True)


@dataclass(frozen=True)
class Part:
    device: str  # cuda or cpu
    kit: Path
    scratch: Path
    figures: Figures

    @property
    def toy(self) -> bool:
        """Whether this is a rehearsal: every size is as small as can be."""
        return self.device == "cpu"


def read_arguments() -> Part:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", choices=("cuda", "cpu"), required=True)
    parser.add_argument("--kit", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True, help="a folder of this part's own")
    parser.add_argument("--figures", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args()
    return Part(options.device, options.kit, options.scratch, Figures(options.figures))


def cores() -> int:
    return len(os.sched_getaffinity(0))


def module(*words: object) -> list[str]:
    """The command of one of this project's modules, run by this interpreter."""
    return [sys.executable, "-m", *map(str, words)]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
