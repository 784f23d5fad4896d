"""Measure the time of a round of each configuration on this machine. Each rank of a calibration runs this program.

Run `python -m mpi_fed.cluster.calibrate FILE` under a launcher. FILE holds, as JSON, the configurations' tables and the
plugins. The root prints one JSON object for each configuration, with the seconds of a round.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from ..launch.world import World, guard, start

MEASURED = 0.3
"""Least seconds of the last measured stretch of rounds; all rounds of a configuration take about twice that."""


def main(file: str) -> None:
    """Measure every configuration of the file."""
    world = start()
    with guard(world):
        from .. import plugins
        from ..study.configuration import configuration_from_tables

        task = json.loads(Path(file).read_text())
        plugins.load(task["plugins"])
        for tables in task["configurations"]:
            seconds = _measure(world, configuration_from_tables(tables))
            if world.is_root:
                print(json.dumps({"seconds": seconds}), flush=True)


def _measure(world: World, configuration: Any) -> float:
    """Return the seconds of a round, from the last of several stretches of 1, 2, 4, ... rounds."""
    from ..runner.simulation import Simulation

    population = configuration.problem.prepare(configuration.clients)
    simulation = Simulation(configuration, population, world.comm, [0, configuration.rounds])
    simulation.compile()
    simulation.start(configuration.seeds[0])
    stretch, seconds = 1, 0.0
    while seconds < MEASURED and simulation.done < configuration.rounds:
        world.comm.Barrier()
        begun, first = time.perf_counter(), simulation.done
        simulation.advance(min(first + stretch, configuration.rounds))
        seconds = world.comm.bcast(time.perf_counter() - begun)
        stretch *= 2
    return seconds / (simulation.done - first)


if __name__ == "__main__":
    main(sys.argv[1])
