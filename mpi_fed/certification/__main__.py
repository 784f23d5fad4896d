"""A rank of `mpi-fed certify`: python -m mpi_fed.certification RESULT DRAWS DIMENSION|all ONLY [PLUGIN.py ...]."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from ..launch.world import guard, start
from ..terminal.width import TERMINAL_WIDTH


def main(result: str, draws: str, dimension: str, only: str, *plugin_files: str) -> None:
    """Examine every case on a world of two ranks; the root writes their certificates to the file `result`."""
    world = start()
    with guard(world):
        from .. import plugins

        plugins.load(plugin_files)
        from ..terminal.progress import Progress
        from .cases import cases
        from .channel import Channel
        from .examine import examine

        work = cases(None if dimension == "all" else int(dimension), only)
        channel, certificates = Channel(world.comm), []
        shown = (
            world.is_root and TERMINAL_WIDTH in os.environ
        )  # in a file, progress would take one line for each compressor
        with Progress(len(work), enabled=shown) as progress:
            for case in work:
                progress.start(case.label)
                certificates.append(examine(case, int(draws), channel))
                progress.advance(1)
        if world.is_root:
            documents = [certificate.to_json() for certificate in certificates]
            Path(result).write_text(json.dumps(documents, allow_nan=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
