"""A rank of `mpi-fed bench`: python -m mpi_fed.benchmark ASKED FOUND

ASKED is the JSON of what to measure; into FOUND the root pickles (machine, results).
"""

from __future__ import annotations

import json
import os
import pickle
import sys
from pathlib import Path

from ..launch.world import guard, start
from ..terminal.width import TERMINAL_WIDTH


def main(asked: str, found: str) -> None:
    """Measure everything asked for on this world."""
    world = start()
    with guard(world):
        from .. import plugins

        wanted = json.loads(Path(asked).read_text())
        plugins.load(wanted["plugins"])
        from ..study.configuration import configuration_from_tables
        from ..terminal.progress import Progress
        from .machine import describe
        from .measure import measure_all

        configurations = [configuration_from_tables(tables) for tables in wanted["configurations"]]
        shown = world.is_root and TERMINAL_WIDTH in os.environ  # a file would get a line a result
        progress = Progress(len(configurations), enabled=shown)
        machine = describe(world)
        results = measure_all(configurations, wanted["repetitions"], world, progress, wanted["note"])
        if world.is_root:
            Path(found).write_bytes(pickle.dumps((machine, results)))


if __name__ == "__main__":
    main(*sys.argv[1:])
