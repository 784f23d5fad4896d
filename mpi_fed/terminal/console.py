"""Messages of the command, on standard error."""

from __future__ import annotations

import sys

from ..text import plain


def say(message: str) -> None:
    """Print one line, `mpi-fed: MESSAGE`, on standard error."""
    print(f"mpi-fed: {plain(message)}", file=sys.stderr, flush=True)
