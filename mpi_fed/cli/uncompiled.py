"""Load plugins in a process that runs no rounds, and so needs no compiled code."""

from __future__ import annotations

from collections.abc import Iterable

from .. import plugins
from ..engine import compile_switch


def load_plugins(files: Iterable[str]) -> None:
    """Switch compilation off, then load the plugin files. Call this before `mpi_fed.engine` is imported."""
    compile_switch.compile_kernels = False
    plugins.load(files)
