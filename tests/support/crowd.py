"""Workers of pytest share the cores: each one's MPI worlds would take them for its own, and spin while others work."""

from __future__ import annotations

import os

from mpi_fed.launch.environment import tune_mpi


def settings() -> dict[str, str]:
    """What MPI libraries read at their start: that others are here, where they are."""
    found: dict[str, str] = {}
    tune_mpi(found, crowded=int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1)
    return found
