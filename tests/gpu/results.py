"""The figures of a run as a table beside their aims, and as the block of docs/benchmarks.md that is made from them.

python -m tests.gpu.results [RESULTS.json ...] [--docs docs/benchmarks.md]

Of several files the later ones count where they have a part. Without `--docs` the table is printed. Needs the standard
library alone.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

_BEGIN, _END = "<!-- gpu figures: begin -->", "<!-- gpu figures: end -->"
_NOT_YET = "not yet measured"
Parts = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Line:
    what: str
    part: str
    figure: str
    form: str = "{:.3g}"
    aim: str = ""

    def value(self, parts: Parts) -> str:
        """The figure; else why there is none."""
        found = parts.get(self.part, {})
        value = found.get("figures", {}).get(self.figure)
        if value is not None:
            return self.form.format(value)
        return found["state"] if found.get("state") in ("failed", "cut") else _NOT_YET


_PERCENT, _SECONDS, _DECIBELS = "{:.0%}", "{:.3f} s", "{:.1f} dB"
LINES = (
    Line("gsplat's kernels", "versions", "kernels", "{}", "loaded"),
    Line("tests marked gpu: passed", "engine_tests", "passed", "{}"),
    Line("tests marked gpu: failed", "engine_tests", "failed", "{}", "0"),
    Line("fit 512², 16,384 Gaussians, 36 views: PSNR", "fit_512", "psnr", _DECIBELS, "35 dB"),
    Line("fit 512²: seconds an object, starts ready", "fit_512", "seconds_an_object", _SECONDS, "0.5 s"),
    Line("fit 512²: of it the device", "fit_512", "device_seconds_an_object", _SECONDS, "0.3 s"),
    Line("fit 512²: share of time the device is busy", "fit_512", "busy_share", _PERCENT),
    Line("fit 512²: objects at once", "fit_512", "at_once", "{}"),
    Line("fit 512²: device memory", "fit_512", "memory_gib", "{:.1f} GiB"),
    Line(
        "fit 512²: CPU seconds of a start, where the kit was made", "fit_512", "start_cpu_seconds_an_object", _SECONDS
    ),
    Line("fit 512², one at a time: seconds an object", "fit_512_alone", "seconds_an_object", _SECONDS),
    Line("fit 512², one at a time: share of time the device is busy", "fit_512_alone", "busy_share", _PERCENT),
    Line("fit 512²: one at a time takes so many times as long", "", "alone_to_batch", "{:.1f}", "5"),
    Line("fit 256², 8,192 Gaussians, 24 views: PSNR", "fit_256", "psnr", _DECIBELS, "34 dB"),
    Line("fit 256²: seconds an object", "fit_256", "seconds_an_object", _SECONDS, "0.1 s"),
    Line("fit 256²: share of time the device is busy", "fit_256", "busy_share", _PERCENT),
    Line("train, Base, 256 objects, 10,000 Gaussians, 512 x 64: a step", "train", "step_ms", "{:.0f} ms"),
    Line("train: share of a plain matrix product's rate", "train", "share_of_plain_rate", _PERCENT, "45%"),
    Line("train: the same with torch.compile", "train", "compiled_share", _PERCENT),
    Line("train: the plain step takes so many times as long", "train", "times_the_plain_step", "{:.1f}", "4"),
    Line("train: device memory", "train", "step_memory_gib", "{:.0f} GiB"),
    Line("train: the trainer on the kit's dataset", "train", "trainer_on_files", "{}", "ok"),
    Line("teacher, ViT-B/32's shape: images a second", "models", "teacher_images_a_second", "{:,.0f}"),
    Line("teacher: share of the bare model's rate", "models", "teacher_share", _PERCENT, "85%"),
    Line("captioner, 2 billion weights, 16 at once: captions a second", "models", "captions_a_second_16_at_once"),
    Line("captioner, 64 at once: captions a second", "models", "captions_a_second_64_at_once"),
    Line("render 256²: views a second", "render", "views_a_second", "{:,.0f}", "2,000"),
    *(
        Line(f"fit 256², {count} at once: seconds an object", "curve", f"seconds_an_object_{count}_at_once", _SECONDS)
        for count in (1, 4, 16, 64, 256)
    ),
    Line("demo, 48 objects, meshes to shards: seconds", "build", "build_seconds", "{:.0f} s"),
    Line("demo: triplets", "build", "triplets", "{}", "48"),
    Line("demo: PSNR", "build", "psnr", _DECIBELS),
)


def rows(parts: Parts) -> list[tuple[str, str, str]]:
    """What, its aim, and the figure or why there is none."""
    return [(line.what, line.aim, line.value(_with_ratios(parts))) for line in LINES]


def show_table(parts: Parts) -> str:
    device = parts.get("versions", {}).get("figures", {}).get("gpu", "no GPU")
    wide = max(len(line.what) for line in LINES)
    lines = [f"{what:<{wide}}  {aim:>8}  {value}" for what, aim, value in rows(parts)]
    return "\n".join([f"\n{device}", f"{'':<{wide}}  {'aim':>8}  reached", *lines])


def docs_block(parts: Parts, today: date) -> str:
    """The block of docs/benchmarks.md."""
    measured = parts.get("versions", {}).get("figures", {})
    where = "No GPU has been measured yet."
    if measured:
        where = "{gpu}, {cores} cores, torch {torch}, gsplat {gsplat}".format(**measured) + f", {today}."
    head = [where, "", "| | aim | reached |", "|---|---|---|"]
    body = [f"| {what} | {aim} | {value} |" for what, aim, value in rows(parts)]
    return "\n".join([_BEGIN, *head, *body, _END])


def write_docs(path: Path, parts: Parts, today: date) -> None:
    text = path.read_text()
    if text.count(_BEGIN) != 1 or text.count(_END) != 1:
        raise SystemExit(f"{path}: expected one line {_BEGIN!r} and one line {_END!r}")
    before, after = text.split(_BEGIN)[0], text.split(_END)[1]
    path.write_text(before + docs_block(parts, today) + after)


def read(paths: list[Path]) -> Parts:
    parts: Parts = {}
    for path in paths:
        parts |= json.loads(path.read_text())["parts"]
    rehearsed = sorted(name for name, found in parts.items() if found.get("device") == "cpu")
    if rehearsed:
        raise SystemExit(f"these parts are of a rehearsal, which measures nothing: {', '.join(rehearsed)}")
    return parts


def _with_ratios(parts: Parts) -> Parts:
    """And what follows from two parts."""
    alone, batch = (
        parts.get(name, {}).get("figures", {}).get("seconds_an_object") for name in ("fit_512_alone", "fit_512")
    )
    return {**parts, "": {"figures": {"alone_to_batch": alone / batch if alone and batch else None}}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="*", type=Path, default=[])
    parser.add_argument("--docs", type=Path, help="write the block of this page")
    options = parser.parse_args()
    parts = read(options.results)
    if options.docs:
        write_docs(options.docs, parts, date.today())
    else:
        print(show_table(parts))


if __name__ == "__main__":
    main()
