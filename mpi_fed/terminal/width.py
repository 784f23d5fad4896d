"""The width of the terminal of this process, or of the command that started the launcher."""

from __future__ import annotations

import os
from typing import IO

TERMINAL_WIDTH = "MPI_FED_TERMINAL_WIDTH"
"""Variable with the width of the terminal, set for ranks if standard error of the starting command is a terminal."""
NARROW = 80
"""Characters of a line if the terminal does not report its width."""


def terminal_width(stream: IO[str]) -> int | None:
    """Return the characters of a line if the stream is a terminal; else None."""
    return (os.get_terminal_size(stream.fileno()).columns or NARROW) if stream.isatty() else None
