"""What a rank does in the tests of start and end: `python rank_program.py MODE [FOLDER]`, under a launcher."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from mpi_fed.errors import InputError
from mpi_fed.world import World, guard, start


def busy(nogil: bool) -> None:
    """Spend a minute in one compiled call, with the GIL held or released."""
    import numba

    @numba.njit(nogil=nogil)
    def spin(n):
        x = 1
        for i in range(n):
            x = (x * 1103515245 + i) % 2147483647
        return x

    spin(10)
    Path(sys.argv[2], f"{os.getpid()}.pid").touch()
    spin(10**11)


def work(world: World, mode: str) -> None:
    match mode:
        case "report":
            if world.is_root:
                print(world.size, world.thread_level, os.environ.get("OMP_NUM_THREADS"), flush=True)
        case "busy-gil":
            busy(nogil=False)
        case "busy-nogil":
            busy(nogil=True)
        case "input-all":
            raise InputError("study.toml: rounds must be positive")
        case "input-root" if world.is_root:
            raise InputError("study.toml: rounds must be positive")
        case "input-last" if world.rank == world.size - 1:
            raise InputError("study.toml: rounds must be positive")
        case "bug-last" if world.rank == world.size - 1:
            raise ZeroDivisionError("a bug")
        case "bug-all":
            raise ZeroDivisionError("a bug")
        case "exit":
            raise SystemExit(85)
        case "sleep":
            Path(sys.argv[2], f"{os.getpid()}.pid").touch()
            time.sleep(60)
    world.comm.Barrier()


if __name__ == "__main__":
    world = start()
    with guard(world):
        work(world, sys.argv[1])
