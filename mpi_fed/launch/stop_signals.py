"""Signals that ask a rank to stop. They are noted here; all ranks act on them together, at a round's boundary."""

from __future__ import annotations

import os
import signal
import time
from types import FrameType

SIGNALS = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)
_SAME = 1.0
"""Seconds within which a signal that comes again is the same one, come by another way (terminal and launcher)."""
_first: list[float] = []


def listen() -> None:
    """Note SIGUSR1, SIGTERM and SIGINT from now on. Whoever sends SIGTERM or SIGINT again wants it at once."""
    for signum in SIGNALS:
        signal.signal(signum, _note)


def asked() -> bool:
    """Whether a signal has come."""
    return bool(_first)


def listen_no_more() -> None:
    """Let signals do what they do by default."""
    for signum in SIGNALS:
        signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)


def _note(signum: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    _first.append(now)
    if signum != signal.SIGUSR1 and now - _first[0] > _SAME:
        listen_no_more()
        os.kill(os.getpid(), signum)
