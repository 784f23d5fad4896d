"""The bare collectives from C, where the MPI has brought its compiler: what a round of that size cannot undercut."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..launch import launcher
from ..routes import routes

COLLECTIVES = ("gather", "gatherv", "allgather", "allgatherv", "reduce", "allreduce")
"""What floor.c knows: a route of this kind is this collective."""
SOURCE = Path(__file__).with_name("floor.c")


def add_floors(results: Sequence[dict[str, Any]], folder: Path) -> None:
    """Time the collectives of each result from C, in as many launches, and set `floor_microseconds` where that can be.

    The bytes are those that the ledger found a rank to hand to MPI, the mean over rounds. The figure is the median over
    launches of the root's median. Call it from the main thread; `folder` is for files."""
    known = [result for result in results if result["route"] in COLLECTIVES and result["repetitions"]]
    program = compiled(folder) if known else None
    if program is None:
        return
    ranks, launches = known[0]["ranks"], known[0]["launches"]
    asked, answer = folder / "floor.txt", folder / "floors.txt"
    asked.write_text("".join(_case(result) for result in known))
    found = []
    for _ in range(launches):
        if launcher.run_programs(ranks, [[str(program), str(asked), str(answer)]])[0] != 0:
            return
        found.append([float(line) for line in answer.read_text().split()])
    for result, microseconds in zip(known, np.median(found, axis=0).tolist(), strict=True):
        result["floor_microseconds"] = float(f"{microseconds:.6g}")


def compiled(folder: Path) -> Path | None:
    """The program, made by the mpicc that stands beside the launcher; None where there is none, or it fails."""
    mpicc = shutil.which("mpicc", path=str(Path(launcher.find_launcher().path).parent))
    if mpicc is None:
        return None
    program = folder / "floor"
    words = [mpicc, "-O2", "-o", str(program), str(SOURCE)]
    ended = subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL)
    return program if ended.returncode == 0 else None


def _case(result: dict[str, Any]) -> str:
    bytes_of, ranks = result["transported_bytes"], result["ranks"]
    down = 0 if routes[result["route"]].reaches_all_ranks else bytes_of["downlink"] / ranks
    each = result["repetitions"] // result["launches"]
    bits = result["compressor"].get("value_bits", 32)
    return f"{result['route']} {round(bytes_of['uplink'] / ranks)} {bits} {round(down)} {each}\n"
