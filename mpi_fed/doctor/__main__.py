"""One of the two ranks that `mpi-fed doctor` starts: python -m mpi_fed.doctor

The root prints, as JSON, what the world is.
"""

from __future__ import annotations

import json

from ..launch.world import guard, start


def main() -> None:
    """Start, meet the other rank, and let the root describe the world."""
    world = start()
    with guard(world):
        import numpy  # noqa: F401  so that its BLAS is there to be asked
        import threadpoolctl

        threads = max((pool["num_threads"] for pool in threadpoolctl.threadpool_info()), default=1)
        world.comm.Barrier()
        facts = {"size": world.size, "host": world.host, "thread_level": world.thread_level}
        if world.is_root:
            print(json.dumps(facts | {"blas_threads": threads}), flush=True)


if __name__ == "__main__":
    main()
