"""What a build shows: in terminals of several widths, in a log, and as events."""

from __future__ import annotations

import io
import json
import re

import pytest
from rich.console import Console

from pipeline.command_line.console import plain_console
from pipeline.planning.figures import Figures
from pipeline.running import display as displays
from pipeline.running.display import Display, Progress, left_text, to_log_line, to_screen
from pipeline.running.time_left import Estimate
from stages.common.telling import quiet_if, tell

FIGURES: Figures = {
    "ingest": {"todo": 0, "ok": 9_990, "failed": 10, "reasons": {"corrupt_file": 9, "not_found": 1}},
    "render": {
        "todo": 8_880,
        "running": 8,
        "ok": 1_101,
        "failed": 1,
        "reasons": {"no_faces": 1},
        "rows_per_minute": 88,
    },
    "pack": {"todo": 12, "running": 1, "ok": 3, "failed": 1, "reasons": {"mixed_views": 1}},
}
DETAILS = {("ingest", "corrupt_file"): "shoe.glb: declares 40,000 bytes, but has 1,024: it is probably truncated"}
PROGRESS = Progress(FIGURES, 95.0, Estimate(120.0, 300.0), {"fit": 12.0, "embed": 1.0}, DETAILS)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_screen_fits_terminals_of_usual_widths(width: int) -> None:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(to_screen(PROGRESS, PROGRESS.share, console))
    lines = [line.rstrip() for line in capture.get().splitlines()]
    assert all(len(line) <= width for line in lines)
    assert re.fullmatch(r"1:35 elapsed +[━╸╺ ]+ +31%  2 to 5 min left", lines[0])
    (render,) = (line for line in lines if "render " in line and "failed" not in line)
    assert re.findall(r"\d+", render) == ["8880", "8", "1101", "1", "88"]  # no number is cut
    assert any(line.startswith("ingest: 9 failed, corrupt_file: shoe.glb: declares") for line in lines)
    assert "pack: 1 failed, mixed_views" in lines and "render: 1 failed, no_faces" in lines
    assert lines[-1].startswith("Opening fit (12 s): loading libraries")


def test_a_log_gets_plain_lines_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    shown_at = []
    with Display() as display:
        for second in range(7200):
            now = 1000.0 + second
            display.show_opening({"fit": 3.0})
            if display.due:
                display.show(PROGRESS)
                shown_at.append(second)
    first, *lines = capsys.readouterr().err.splitlines()
    assert first.startswith("Opening the workers of fit")
    assert len(lines) == len(shown_at) and shown_at[0] == 10 and 120 < len(lines) < 250  # in two hours
    clock, _, text = lines[0].partition(" ")
    assert re.fullmatch(r"\d\d:\d\d:\d\d", clock) and text == to_log_line(PROGRESS)
    assert text.endswith(" | pack 3/17 (1 failed) | 1:35 elapsed | 2 to 5 min left | opening fit (12 s)")


def test_a_quiet_build_shows_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with quiet_if(True), Display() as display:
        tell("Rows: 5, all of them new")
        display.show(PROGRESS)
        display.show_opening({"fit": 30.0})
        display.emit("progress")
    assert capsys.readouterr() == ("", "")


def test_events_are_lines_of_json_on_standard_output_and_sentences_go_to_the_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Display(as_json=True) as display:
        tell("Rows: 5, all of them new")
        display.emit("failed", id="a\nb", stage="fit")
        display.show(PROGRESS)
    out, error = capsys.readouterr()
    failed, progress = (json.loads(line) for line in out.splitlines())
    assert failed == {"event": "failed", "id": "a\nb", "stage": "fit"}
    assert progress == {
        "event": "progress",
        "elapsed_seconds": 95.0,
        "seconds_left": [120.0, 300.0],
        "opening": ["fit", "embed"],
        "stages": FIGURES,
    }
    assert error == "Rows: 5, all of them new\n"


def test_no_color_and_dumb_terminals_are_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    console = plain_console(file=io.StringIO(), force_terminal=True, width=80)
    with console.capture() as capture:
        console.print(to_screen(PROGRESS, 0.5, console))
    assert not re.search(r"\x1b\[[0-9;]*3\d", capture.get())  # bold, but no colour
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(displays, "plain_console", lambda **_: plain_console(file=io.StringIO(), force_terminal=True))
    assert Display()._live is None


@pytest.mark.parametrize(
    ("left", "text"),
    [
        (None, ""),
        (Estimate(0, 0), ""),
        (Estimate(42, 42), "0:42 left"),
        (Estimate(20, 50), "20 to 50 s left"),
        (Estimate(20, 150), "1 to 3 min left"),
        (Estimate(95, 145), "1 to 3 min left"),
        (Estimate(3000, 9000), "50 to 150 min left"),
    ],
)
def test_time_left_is_a_clock_or_a_range(left: Estimate | None, text: str) -> None:
    assert left_text(left) == text
