"""The progress that rank 0 prints while it runs."""

from __future__ import annotations

import io

import pytest

from mpi_fed.terminal import progress
from mpi_fed.terminal.progress import Progress, duration
from mpi_fed.terminal.width import TERMINAL_WIDTH


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time of a clock that moves only when it is set, in a list of one element."""
    now = [100.0]
    monkeypatch.setattr(f"{progress.__name__}.time.monotonic", lambda: now[0])
    return now


def test_a_file_gets_a_line_every_ten_seconds(clock: list[float]) -> None:
    stream = io.StringIO()
    with Progress(1000, stream=stream) as shown:
        shown.start("none")
        clock[0] += 9  # compiling
        shown.begin()
        for _ in range(25):
            clock[0] += 1
            shown.advance(10)
        shown.done("none", "complete")
    assert stream.getvalue().splitlines() == [
        "none: started",
        "none: 10% of 1,000 rounds, 1:30 left",
        "none: 20% of 1,000 rounds, 1:20 left",
        "none: complete",
    ]


def test_skipped_rounds_do_not_change_the_estimated_speed(clock: list[float]) -> None:
    stream = io.StringIO()
    shown = Progress(1000, stream=stream)
    shown.skip(500)
    clock[0] += 20
    shown.advance(100)
    assert stream.getvalue() == ": 20% of 500 rounds, 1:20 left\n"


def test_a_disabled_bar_prints_nothing(clock: list[float]) -> None:
    stream = io.StringIO()
    with Progress(10, enabled=False, stream=stream) as shown:
        shown.start("none")
        clock[0] += 100
        shown.advance(10)
        shown.done("none")
    assert stream.getvalue() == ""


def test_the_terminal_of_the_starting_command_gets_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(TERMINAL_WIDTH, "70")
    with Progress(100) as shown:
        shown.start("quantization [levels=1]")
        shown.rounds = 40
        shown._view.advanced(shown)
        shown.done("quantization [levels=1]", "complete")
    text = capsys.readouterr().err
    assert "40%" in text
    assert "quantization [levels=1]: complete" in text
    assert "\x1b[" in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (41, "41 s"), (185, "3:05"), (7241, "2:00:41"), (float("inf"), "?")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
