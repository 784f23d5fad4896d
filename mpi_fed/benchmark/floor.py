"""Time the bare collectives from a program in C: a lower bound for the communication of a round.

The program is compiled with the `mpicc` of the MPI in use.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..launch import launcher
from ..routes import routes
from .document import Result

COLLECTIVES = ("gather", "gatherv", "allgather", "allgatherv", "reduce", "allreduce")
"""The collectives that floor.c times; each is called on the uplink of the route with the same name."""
SOURCE = Path(__file__).with_name("floor.c")


def with_floors(results: Sequence[Result], folder: Path) -> list[Result]:
    """Return the results with `floor_microseconds` filled in where the collectives can be timed in C.

    A collective sends as many bytes as a rank passed to MPI in the mean round, according to the ledger. There are as
    many launches as for the result; `floor_microseconds` is the median over launches of the root's median. Call this
    function from the main thread; `folder` is for temporary files.
    """
    chosen = [result for result in results if result.route in COLLECTIVES and result.repetitions]
    program = compiled(folder) if chosen else None
    if program is None:
        return list(results)
    cases, answer = folder / "floor.txt", folder / "floors.txt"
    cases.write_text("".join(_case(result) for result in chosen))
    medians = []
    for _ in range(chosen[0].launches):
        if launcher.run_programs(chosen[0].ranks, [[str(program), str(cases), str(answer)]])[0] != 0:
            return list(results)
        medians.append([float(line) for line in answer.read_text().split()])
    floors = zip(chosen, np.median(medians, axis=0).tolist(), strict=True)
    by_result = {id(result): float(f"{microseconds:.6g}") for result, microseconds in floors}
    return [replace(result, floor_microseconds=by_result.get(id(result))) for result in results]


def compiled(folder: Path) -> Path | None:
    """Compile floor.c with the mpicc next to the launcher; return the program, or None if that is not possible."""
    mpicc = shutil.which("mpicc", path=str(Path(launcher.find_launcher().path).parent))
    if mpicc is None:
        return None
    program = folder / "floor"
    words = [mpicc, "-O2", "-o", str(program), str(SOURCE)]
    completed = subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    return program if completed.returncode == 0 else None


def _case(result: Result) -> str:
    transported = result.transported_bytes
    assert transported is not None
    down = 0 if routes[result.route].reaches_all_ranks else transported.downlink / result.ranks
    rounds = result.repetitions // result.launches
    bits = result.compressor.get("value_bits", 32)
    return f"{result.route} {round(transported.uplink / result.ranks)} {bits} {round(down)} {rounds}\n"
