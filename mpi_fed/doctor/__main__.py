"""One of the two ranks that `mpi-fed doctor` starts by `python -m mpi_fed.doctor`.

The root prints a description of the world as JSON.
"""

from __future__ import annotations

import json

from ..launch.world import guard, start


def main() -> None:
    """Start MPI, wait for the other rank, and print the description on the root."""
    world = start()
    with guard(world):
        import numpy as np  # noqa: F401  loads the BLAS that threadpoolctl examines
        import threadpoolctl

        threads = max((pool["num_threads"] for pool in threadpoolctl.threadpool_info()), default=1)
        world.comm.Barrier()
        facts = {"size": world.size, "host": world.host, "thread_level": world.thread_level}
        if world.is_root:
            print(json.dumps(facts | {"blas_threads": threads}), flush=True)


if __name__ == "__main__":
    main()
