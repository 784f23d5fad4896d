"""Entry point of `python -m mpi_fed`, which is the same as `mpi-fed`."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
