"""Progress of a run: a bar with the remaining time on a terminal, lines in the file of a job, or no output."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import IO, Any, Self

from .width import TERMINAL_WIDTH, terminal_width

REFRESH = 0.25
"""Seconds between two updates of the bar. It is not drawn by a thread, which would take time from the round."""
INTERVAL = 10.0
"""Seconds between two lines in a file."""


class Progress:
    """The display of a run's progress on rank 0.

    `total_rounds` is the number of rounds of all repetitions of all configurations. Use the class as
    `with Progress(total) as progress:`. For each configuration call `start(label)`, `begin()`, `advance(rounds)` any
    number of times, and `done(label, message)`; call `skip` for rounds that are not run. `enabled` is false on the
    other ranks; `stream` is standard error by default.
    """

    def __init__(self, total_rounds: int, enabled: bool = True, stream: IO[str] | None = None) -> None:
        self.total = total_rounds
        self.rounds = 0
        self.spent = 0.0
        self.label = ""
        self.stream = stream or sys.stderr
        self.begun = self.shown = time.monotonic()
        self._view = _view(self.stream) if enabled else _Silent()
        self._interval = self._view.interval

    def __enter__(self) -> Self:
        self._view.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._view.close()

    def start(self, label: str) -> None:
        """Show that the preparation and compilation of a configuration begin."""
        self.label = label
        self._view.started(self)

    def begin(self) -> None:
        """Start the clock of the rounds. The remaining time is estimated only from the time after this call."""
        self.begun = self.shown = time.monotonic()

    def advance(self, rounds: int) -> None:
        """Add `rounds` to the number of finished rounds. A call costs one reading of the clock."""
        self.rounds += rounds
        now = time.monotonic()
        self.spent += now - self.begun
        self.begun = now
        if now - self.shown >= self._interval:
            self.shown = now
            self._view.advanced(self)

    def skip(self, rounds: int) -> None:
        """Reduce the total by `rounds`, the number of rounds that will not be run."""
        self.total -= rounds

    def done(self, label: str, message: str = "") -> None:
        """Show that a configuration has ended; `message` is its final status."""
        self._view.done(label, message)

    @property
    def fraction(self) -> float:
        """Number of finished rounds divided by the total, in [0, 1]."""
        return min(1.0, self.rounds / self.total) if self.total else 1.0

    @property
    def remaining(self) -> float:
        """Estimated seconds to the end, at the mean speed so far; infinite before the first round."""
        return self.spent * (1 - self.fraction) / self.fraction if self.rounds else float("inf")


class _Silent:
    interval = float("inf")

    def open(self) -> None: ...
    def close(self) -> None: ...
    def started(self, progress: Progress) -> None: ...
    def advanced(self, progress: Progress) -> None: ...
    def done(self, label: str, message: str) -> None: ...


class _Lines(_Silent):
    interval = INTERVAL

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def started(self, progress: Progress) -> None:
        self._say(f"{progress.label}: started")

    def advanced(self, progress: Progress) -> None:
        left = duration(progress.remaining)
        self._say(f"{progress.label}: {progress.fraction:.0%} of {progress.total:,} rounds, {left} left")

    def done(self, label: str, message: str) -> None:
        self._say(f"{label}: {message or 'done'}")

    def _say(self, text: str) -> None:
        print(text, file=self.stream, flush=True)


class _Bar(_Silent):
    interval = REFRESH

    def __init__(self, stream: IO[str], width: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self.console = Console(file=stream, force_terminal=True, width=width, highlight=False)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[left]} left"),
        )
        self.bar = RichProgress(*columns, console=self.console, auto_refresh=False, transient=True)
        self.task = self.bar.add_task("", total=1.0, left="?")

    def open(self) -> None:
        self.bar.start()

    def close(self) -> None:
        self.bar.stop()

    def started(self, progress: Progress) -> None:
        self.advanced(progress)

    def advanced(self, progress: Progress) -> None:
        state: dict[str, Any] = {"completed": progress.fraction, "left": duration(progress.remaining)}
        self.bar.update(self.task, description=progress.label, refresh=True, **state)

    def done(self, label: str, message: str) -> None:
        self.console.print(f"{label}: {message or 'done'}", markup=False)


def duration(seconds: float) -> str:
    """Return a duration as text, such as 41 s, 3:05 or 2:00:41.

    Examples
    --------
    >>> duration(185)
    '3:05'
    """
    if seconds == float("inf"):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"


def _view(stream: IO[str]) -> _Silent:
    width = _terminal_width(stream)
    return _Bar(stream, width) if width else _Lines(stream)


def _terminal_width(stream: IO[str]) -> int | None:
    """Return the width of this process's terminal.

    Without a terminal, return the width of the terminal of the command that started the launcher, or None.
    """
    inherited = os.environ.get(TERMINAL_WIDTH) if stream is sys.stderr else None
    return terminal_width(stream) or (int(inherited) if inherited else None)
