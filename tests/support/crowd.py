"""Settings of MPI for parallel pytest workers, whose worlds would otherwise busy-wait on cores that others need."""

from __future__ import annotations

import os

from mpi_fed.launch.environment import tune_mpi


def settings() -> dict[str, str]:
    """Return the environment variables that make MPI libraries yield the processor if there are other workers."""
    variables: dict[str, str] = {}
    tune_mpi(variables, crowded=int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1)
    return variables
