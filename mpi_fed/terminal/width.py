"""The width of the terminal: this process' own, or the one that the command above the launcher found."""

from __future__ import annotations

import os
from typing import IO

TERMINAL_WIDTH = "MPI_FED_TERMINAL_WIDTH"
"""Set for ranks where standard error of the command that started them is a terminal: its width."""
NARROW = 80
"""Characters of a line where a terminal does not say."""


def terminal_width(stream: IO[str]) -> int | None:
    """Characters of a line of the terminal that the stream ends at; None where it ends elsewhere."""
    return (os.get_terminal_size(stream.fileno()).columns or NARROW) if stream.isatty() else None
