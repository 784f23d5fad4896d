"""Signals that ask a rank to stop. They are recorded here; all ranks act on them together, between two rounds."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)
_SAME = 1.0
"""Seconds within which two signals count as one, sent twice (by the terminal and by the launcher)."""
_times: list[float] = []
"""The times at which signals arrived."""


def watch() -> None:
    """Record SIGUSR1, SIGTERM and SIGINT from now on. A second SIGTERM or SIGINT has its default effect at once."""
    for signum in SIGNALS:
        signal.signal(signum, _note)


@contextmanager
def watching() -> Iterator[None]:
    """Record signals within the block, and restore their handlers afterwards.

    Does nothing outside the main thread, where Python does not allow handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {signum: signal.getsignal(signum) for signum in SIGNALS}
    _times.clear()
    watch()
    try:
        yield
    finally:
        _times.clear()
        for signum, handler in handlers.items():
            signal.signal(signum, handler)


def stop_requested() -> bool:
    """Return whether a signal has arrived."""
    return bool(_times)


def restore_defaults() -> None:
    """Restore the default effects of the signals."""
    for signum in SIGNALS:
        signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)


def _note(signum: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    _times.append(now)
    if signum != signal.SIGUSR1 and now - _times[0] > _SAME:
        restore_defaults()
        os.kill(os.getpid(), signum)
