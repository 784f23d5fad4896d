"""The batch files in slurm/, for people to copy and edit. `python -m mpi_fed.cluster.examples [FOLDER]` writes them."""

from __future__ import annotations

import sys
from pathlib import Path

from .batch_script import WARNING, render

EXAMPLES = {"single.sbatch": False, "array.sbatch": True}
"""For each file, whether its job is an array."""
FOLDER = Path(__file__).parents[2] / "slurm"


def example(name: str) -> str:
    """The text of one of the files."""
    return render("example.sh.j2", array=EXAMPLES[name], warning=WARNING)


def main(folder: str | Path = FOLDER) -> None:
    """Write all files into a folder, by default that of this checkout."""
    for name in EXAMPLES:
        Path(folder, name).write_text(example(name))


if __name__ == "__main__":
    main(*sys.argv[1:])
