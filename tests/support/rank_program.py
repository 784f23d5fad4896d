"""A rank in the tests of start and end: `python rank_program.py MODE FOLDER`, under a launcher.

`python rank_program.py launch RANKS MODE FOLDER` starts such ranks.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
import sys
import time
from pathlib import Path

from mpi_fed.errors import InputError, WorldError
from mpi_fed.launch.environment import die_with_launcher
from mpi_fed.launch.launcher import run_programs
from mpi_fed.launch.world import World, guard, start

LATE = 1.0
"""Seconds that a rank of the mode "late" waits before it begins."""


def announce(folder: str) -> None:
    """Write a file whose name is the process number of this rank, for the test to read."""
    Path(folder, f"{os.getpid()}.pid").touch()


def work(world: World, mode: str, folder: str) -> None:  # noqa: C901 (a case for each mode)
    last = world.rank == world.size - 1
    match mode:
        case "report":
            if world.is_root:
                print(world.size, world.thread_level, os.environ.get("OMP_NUM_THREADS"), flush=True)
        case "busy-gil":
            announce(folder)
            sum(itertools.repeat(0))  # never ends, in C, and keeps the GIL
        case "busy-nogil":
            announce(folder)
            hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # minutes in C, without the GIL
        case "sleep":
            announce(folder)
            time.sleep(300)
        case "usr1":
            received: list[int] = []
            signal.signal(signal.SIGUSR1, lambda signum, frame: received.append(signum))
            announce(folder)
            while not received:
                time.sleep(0.01)
            raise SystemExit(85)
        case "input-all":
            raise InputError("study.toml: rounds must be positive")
        case "input-root" if world.is_root:
            raise InputError("study.toml: rounds must be positive")
        case "input-last" if last:
            raise InputError("study.toml: rounds must be positive")
        case "bug-last" if last:
            raise ZeroDivisionError("a bug")
        case "bug-all":
            raise ZeroDivisionError("a bug")
    world.comm.Barrier()


def rank(mode: str, folder: str) -> int:
    if mode == "late":
        Path(folder, f"{os.getpid()}.early").touch()
        time.sleep(LATE)
        die_with_launcher(os.environ)
        announce(folder)
        time.sleep(300)
    try:
        world = start()
    except WorldError as error:
        print(f"mpi-fed: {error}", file=sys.stderr)
        return error.exit_status
    with guard(world):
        work(world, mode, folder)
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "launch":
        sys.exit(run_programs(int(sys.argv[2]), [[sys.executable, __file__, *sys.argv[3:]]])[0])
    sys.exit(rank(*sys.argv[1:]))
