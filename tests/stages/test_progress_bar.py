"""What long work of any command shows on standard error: in a log, in a terminal, and where it is to be quiet."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

from stages.common.progress_bar import progress_bar
from stages.common.telling import is_quiet, quiet_if, tell, to_clock

WORK = """
from stages.common.progress_bar import progress_bar
with progress_bar("Verifying") as report:
    report(1, 4)
    report(4, 4)
"""


def work(monkeypatch: pytest.MonkeyPatch, seconds: int = 300) -> None:
    """A row a second, of so many."""
    now = 50.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with progress_bar("Verifying [red]") as report:
        for done in range(1, seconds + 1):
            now = 50.0 + done
            report(done, seconds)


def test_a_log_gets_a_line_now_and_then_with_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work(monkeypatch)
    lines = capsys.readouterr().err.splitlines()
    assert 15 < len(lines) < 30
    assert re.fullmatch(r"\d\d:\d\d:\d\d Verifying \[red\]: 10 of 300, 4:50 left", lines[0])


def test_quiet_work_shows_nothing_and_quiet_ends_with_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with quiet_if(True):
        work(monkeypatch)
        tell("Loading ...")
        assert is_quiet()
    assert capsys.readouterr() == ("", "") and not is_quiet()
    monkeypatch.setenv("GS_TRIPLETS_QUIET", "1")
    with quiet_if(False):
        assert is_quiet()


@pytest.mark.parametrize("variables", [{}, {"GS_TRIPLETS_QUIET": "1"}, {"TERM": "dumb"}])
def test_a_terminal_gets_a_bar_unless_it_is_dumb_or_work_is_quiet(variables: dict[str, str]) -> None:
    try:
        ours, theirs = pty.openpty()
    except OSError:
        pytest.skip("needs a pseudo-terminal")
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", **variables}
    subprocess.run([sys.executable, "-c", WORK], env=environment, stderr=theirs, check=True)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 10_000):
            shown += part
    except OSError:  # Linux says so at the end of a pseudo-terminal
        pass
    os.close(ours)
    assert (b"4/4" in shown) == (b"\x1b" in shown) == (variables == {})


def test_a_clock_has_minutes_and_where_needed_hours() -> None:
    assert [to_clock(seconds) for seconds in (5, 65.4, 3600 + 62)] == ["0:05", "1:05", "1:01:02"]
