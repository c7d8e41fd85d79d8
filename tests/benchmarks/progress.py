"""How well builds estimate the time that is left: recorded builds are replayed, and each estimate compared.

python -m tests.benchmarks.progress
python -m tests.benchmarks.progress record NAME build demo --run RUN ...

The second builds, and records in NAME.jsonl what its workers did and when. A record has numbers and names of stages.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import pipeline.running.build
import stages.common.telling
from pipeline.__main__ import main as run_command
from pipeline.running.simulation import BuildLoad, StageLoad
from pipeline.running.time_left import Estimate, Event, TimeLeft

RECORDS = Path(__file__).parent / "recorded_builds"
NEAR = 0.25  # an estimate is near if it is off by no more than this share of what was left
_FIRST = 0.2  # the share of a build whose estimates are not counted
_INTERVAL = 1.0  # seconds between estimates that are recorded


class Timed(NamedTuple):
    """An estimate, and what was left when it was made."""

    at: float
    estimate: Estimate
    left: float

    @property
    def is_range(self) -> bool:
        return self.estimate.low != self.estimate.high

    @property
    def error(self) -> float:
        """By how many seconds it is off: of a range, from its nearer bound; 0 within it."""
        low, high = self.estimate
        return max(low - self.left, self.left - high, 0.0)

    @property
    def is_near(self) -> bool:
        return self.error <= NEAR * self.left

    @property
    def is_near_in_seconds(self) -> bool:
        """Near, or off by one second: the clock shows whole ones."""
        return self.is_near or self.error <= 1

    @property
    def is_middle_near(self) -> bool:
        """Whether it is near if the middle of a range is taken for one number."""
        return abs(sum(self.estimate) / 2 - self.left) <= NEAR * self.left


class Recorder(TimeLeft):
    """Writes what it is told to a file."""

    file: Any = None
    _load: BuildLoad | None = None

    def __init__(self, earlier: dict[str, float]):
        super().__init__(earlier)
        self._write({"earlier": {name: round(seconds, 4) for name, seconds in earlier.items()}})

    def _write(self, line: Any) -> None:
        print(json.dumps(line, separators=(",", ":")), file=self.file, flush=True)

    def note(self, event: Event) -> None:
        super().note(event)
        self._write([round(event.at, 3), *event[1:]])

    def estimate(self, now: float, load: BuildLoad) -> Estimate:
        fixed = replace(load, stages={name: replace(stage, left=0) for name, stage in load.stages.items()})
        if fixed != self._load:
            self._load = fixed
            self._write(asdict(fixed))
        self._write({"at": round(now, 3), "left": [stage.left for stage in load.stages.values()]})
        return super().estimate(now, load)


def record(name: str, words: list[str]) -> int:
    RECORDS.mkdir(exist_ok=True)
    with (RECORDS / f"{name}.jsonl").open("w") as Recorder.file:
        pipeline.running.build.TimeLeft = Recorder  # type: ignore[misc]
        stages.common.telling._LINE_SECONDS = _INTERVAL, _INTERVAL
        return run_command(words)


def replay(path: Path) -> list[Timed]:
    """Every estimate of a recorded build."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    end = max(line[0] for line in lines if isinstance(line, list))
    estimates = _estimates(lines)
    return [Timed(at, estimate, end - at) for at, estimate in estimates if at < end]


def _estimates(lines: list[Any]) -> Iterator[tuple[float, Estimate]]:
    time_left, load = TimeLeft(lines[0]["earlier"]), BuildLoad(0, 0, {})
    for line in lines[1:]:
        if isinstance(line, list):
            time_left.note(Event(*line))
        elif "stages" in line:
            stages = {
                name: StageLoad(**stage | {"needs": tuple(stage["needs"])}) for name, stage in line["stages"].items()
            }
            load = BuildLoad(line["cpus"], line["gpus"], stages)
        else:
            left = zip(load.stages.items(), line["left"], strict=True)
            load = replace(load, stages={name: replace(stage, left=count) for (name, stage), count in left})
            yield line["at"], time_left.estimate(line["at"], load)


def counted_estimates(timed: list[Timed]) -> list[Timed]:
    """Those after the first fifth of the build."""
    end = timed[-1].at + timed[-1].left
    return [each for each in timed if each.at >= _FIRST * end]


def share(values: list[bool]) -> float:
    return sum(values) / max(1, len(values))


def main() -> int:
    if sys.argv[1:2] == ["record"]:
        return record(sys.argv[2], sys.argv[3:])
    records = [Path(word) for word in sys.argv[1:] if not word.startswith("-")] or sorted(RECORDS.glob("*.jsonl"))
    print(
        f"{'build':24} {'seconds':>7} {'estimates':>9} {'near':>5} {'or 1 s off':>10} {'middle near':>11} {'ranges':>6}"
    )
    for path in records:
        timed = replay(path)
        counted = counted_estimates(timed)
        if "--all" in sys.argv:
            for each in timed:
                low, high = each.estimate
                mark = "" if each.is_near else "!"
                print(f"  {each.at:7.1f} s: {low:6.1f} to {high:6.1f} s left, in truth {each.left:6.1f} {mark}")
        print(
            f"{path.stem:24} {timed[-1].at + timed[-1].left:7.0f} {len(counted):9} "
            f"{share([each.is_near for each in counted]):5.0%} "
            f"{share([each.is_near_in_seconds for each in counted]):10.0%} "
            f"{share([each.is_middle_near for each in counted]):11.0%} "
            f"{share([each.is_range for each in counted]):6.0%}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
