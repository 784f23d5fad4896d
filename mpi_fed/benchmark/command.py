"""`mpi-fed bench`: start ranks, have them time rounds of every route and compressor, show what they found."""

from __future__ import annotations

import json
import os
import pickle
import re
import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, WorldError

if TYPE_CHECKING:
    from ..study.configuration import Configuration

RANKS, LAUNCHES = 2, 5


def bench(given: Namespace) -> int:
    """Time rounds on ranks started for it, several times over; 0 where every result is VALID, else 1.

    Raises InputError and WorldError."""
    from ..launch.launcher import run_programs
    from .cases import cases
    from .floor import add_floors
    from .result import document

    ranks, launches = given.ranks or RANKS, given.launches or LAUNCHES
    configurations, left_out = cases(ranks, *_wanted(given))
    _check_place(given.out)
    _check_memory(configurations, ranks, ranks)
    _tell_left_out(left_out)
    times = "once" if launches == 1 else f"in each of {launches} launches"
    count = f"{len(configurations)} result{'s' * (len(configurations) > 1)}"
    print(
        f"mpi-fed: {count}, {times}, on {ranks} rank{'s' * (ranks > 1)}; what is not compiled "
        "yet takes minutes",
        file=sys.stderr,
    )
    found: list[Any] = []
    with tempfile.TemporaryDirectory(prefix="mpi-fed-bench-") as folder:
        asked, answer = Path(folder, "asked.json"), Path(folder, "found")
        for number in range(1, launches + 1):
            note = f"launch {number} of {launches}: " if launches > 1 else ""
            wanted = {"configurations": [c.tables for c in configurations], "repetitions": given.repetitions}
            asked.write_text(json.dumps({**wanted, "plugins": given.plugin, "note": note}))
            program = [sys.executable, "-P", "-m", "mpi_fed.benchmark", str(asked), str(answer)]
            status = run_programs(ranks, [program])[0]
            if status != 0:
                return status
            found.append(pickle.loads(answer.read_bytes()))
        told = document(found[0][0], [results for _, results in found])
        add_floors(told["results"], Path(folder))
    return _tell(told, given)


def bench_here(given: Namespace) -> int:
    """Time rounds on the ranks of this world, which a launcher has started. Every rank calls it; the exit status."""
    from ..launch.world import await_reader, start
    from ..terminal.progress import Progress
    from ..terminal.width import TERMINAL_WIDTH
    from .cases import cases
    from .machine import describe
    from .measure import measure_all
    from .result import document

    world = start()
    if given.ranks not in (None, world.size):
        raise WorldError(f"--ranks {given.ranks} was asked for, and the launcher started {world.size}")
    if given.launches not in (None, 1):
        raise InputError(f"--launches {given.launches}: inside a launcher there is one; start without it")
    configurations, left_out = cases(world.size, *_wanted(given))
    if world.is_root:
        _check_place(given.out)
        _tell_left_out(left_out)
    _check_memory(configurations, world.size, world.node_size)
    shown = world.is_root and (TERMINAL_WIDTH in os.environ or sys.stderr.isatty())
    machine = describe(world)
    results = measure_all(configurations, given.repetitions, world, Progress(len(configurations), enabled=shown))
    status = _tell(document(machine, [results]), given) if world.is_root else 0
    sys.stdout.flush()
    await_reader()
    world.comm.Barrier()  # a launcher ends the others as soon as one has failed
    return status


def _wanted(given: Namespace) -> tuple[Any, ...]:
    return given.dimension, given.compressor, given.route, given.downlink_bits, given.downlink


def _tell_left_out(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        print(f"mpi-fed: left out: {sentence}", file=sys.stderr)


def _check_place(out: str | None) -> None:
    """Refuse a file that cannot be written before anything is measured."""
    if out is None:
        return
    file, folder = Path(out), Path(out).absolute().parent
    place = file if file.exists() else folder
    if file.is_dir() or not folder.is_dir() or not os.access(place, os.W_OK):
        raise InputError(f"--out {out}: no file can be written there; name one in a folder that is there")


def _check_memory(configurations: Sequence[Configuration], ranks: int, here: int) -> None:
    """Refuse what cannot fit, one dimension after the other, so that the sentence names the smallest."""
    from ..study.memory_estimate import check

    for one in sorted(configurations, key=lambda one: one.problem.dimension_of()):
        place = f"--dimension {one.problem.dimension_of()}: route {one.route.kind}"
        check(place, [one], ranks, here, "give a smaller --dimension or fewer --ranks", twice=True)


def _tell(told: dict[str, Any], given: Namespace) -> int:
    """Print and save what was found; the exit status."""
    from . import VALID
    from .table import print_table

    text = json.dumps(told, indent=2, allow_nan=False)
    text = re.sub(r"\[[^][{}\"]+\]", lambda numbers: " ".join(numbers[0].split()), text)  # each list on one line
    if given.out is not None:
        try:
            Path(given.out).write_text(text + "\n")
        except OSError as error:
            raise InputError(f"--out {given.out}: cannot write the file ({error.strerror or error})") from None
    print(text) if given.json else print_table(told)
    return 0 if told["verdict"] == VALID else 1
