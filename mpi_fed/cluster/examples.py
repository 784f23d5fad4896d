"""Write the batch files in slurm/, which users copy and edit: `python -m mpi_fed.cluster.examples FOLDER`."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from .batch_script import WARNING, render

EXAMPLES = {"single.sbatch": False, "array.sbatch": True}
"""Names of the files, each with True if its job is an array."""


def example(name: str) -> str:
    """Return the text of one of the files."""
    return render("example.sh.j2", array=EXAMPLES[name], warning=WARNING)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write all files into a folder."""
    parser = ArgumentParser("python -m mpi_fed.cluster.examples", description="Write the example batch files.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="slurm, in a checkout")
    folder = parser.parse_args(arguments).folder
    for name in EXAMPLES:
        (folder / name).write_text(example(name))


if __name__ == "__main__":
    main()
