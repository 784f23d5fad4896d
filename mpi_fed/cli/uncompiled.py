"""Plugins in a process that runs no rounds, and so needs no compiled code."""

from __future__ import annotations

from collections.abc import Iterable

from .. import plugins
from ..engine import compile_switch


def load_plugins(files: Iterable[str]) -> None:
    """Switch compilation off, then load the plugin files. Call it before anything that imports `mpi_fed.engine`."""
    compile_switch.compile_kernels = False
    plugins.load(files)
