"""`mpi-fed submit`: what studies lack, as Slurm array jobs. `mpi-fed status`: how far they are.

Each imports what it needs when it is called: `status` loads no compiler.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path


def submit(arguments: Namespace) -> int:
    """Submit the studies, or with --dry-run print the batch scripts; the exit status."""
    from .submit import submit_studies

    return submit_studies(arguments)


def status(folder: str, *, json: bool) -> int:
    """Print the state of every configuration below the folder; the exit status."""
    from .status import examine
    from .status_table import as_json, lines

    rows = examine(Path(folder))
    print(as_json(rows) if json else "\n".join(lines(rows)))
    return 0
