"""The commands `mpi-fed submit`, which submits missing configurations to Slurm, and `mpi-fed status`.

Each command imports its modules when it is called, so that `status` does not load the compiler.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path


def submit(arguments: Namespace) -> int:
    """Submit the studies, or with --dry-run print the batch scripts. Return the exit status."""
    from .submit import submit_studies

    return submit_studies(arguments)


def status(folder: str, *, json: bool) -> int:
    """Print the state of every configuration in the folder. Return the exit status."""
    from .status import examine
    from .status_table import as_json, lines

    rows = examine(Path(folder))
    print(as_json(rows) if json else "\n".join(lines(rows)))
    return 0
