"""Run one rank of `mpi-fed bench`: `python -m mpi_fed.benchmark ORDER ANSWER`.

ORDER is a JSON file with the configurations to measure; the root pickles (machine, measurements) to ANSWER.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
from pathlib import Path

from ..launch.world import guard, start
from ..terminal.width import TERMINAL_WIDTH


def main(order_file: str, answer_file: str) -> None:
    """Measure all configurations of the order on the ranks of this world."""
    world = start()
    with guard(world):
        from .. import plugins

        order = json.loads(Path(order_file).read_text())
        plugins.load(order["plugins"])
        from ..study.configuration import configuration_from_tables
        from ..terminal.progress import Progress
        from .machine import describe
        from .measure import measure_all

        configurations = [configuration_from_tables(tables) for tables in order["configurations"]]
        shown = world.is_root and TERMINAL_WIDTH in os.environ  # in a file, each result would add a line
        progress = Progress(len(configurations), enabled=shown)
        machine = describe(world)
        measurements = measure_all(configurations, order["repetitions"], world, progress, order["note"])
        if world.is_root:
            Path(answer_file).write_bytes(pickle.dumps((machine, measurements)))


if __name__ == "__main__":
    main(*sys.argv[1:])
