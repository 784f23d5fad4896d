"""`mpi-fed bench` and `mpi-fed compare`: time rounds of every route and compressor, and compare two saved results."""

from __future__ import annotations

import json as json_format
import os
import pickle
import re
import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, WorldError
from ..terminal.console import say

if TYPE_CHECKING:
    from ..study.configuration import Configuration
    from .document import Bench
    from .result import Measured

RANKS, LAUNCHES = 2, 5


def bench(options: Namespace) -> int:
    """Start ranks, time rounds on them in several launches, and return 0 if every result is VALID, else 1.

    Raises InputError and WorldError.
    """
    from ..launch.launcher import run_programs
    from .cases import cases
    from .floor import with_floors
    from .result import bench_document

    ranks, launches = options.ranks or RANKS, options.launches or LAUNCHES
    configurations, left_out = cases(ranks, *_choice(options))
    _check_place(options.out)
    _check_memory(configurations, ranks, ranks)
    _print_left_out(left_out)
    times = "once" if launches == 1 else f"in each of {launches} launches"
    count = f"{len(configurations)} result{'s' * (len(configurations) > 1)}"
    say(f"{count}, {times}, on {ranks} rank{'s' * (ranks > 1)}; compiling new configurations takes minutes")
    machine: dict[str, Any] = {}
    measured: list[list[Measured]] = []
    with tempfile.TemporaryDirectory(prefix="mpi-fed-bench-") as folder:
        order_file, answer = Path(folder, "order.json"), Path(folder, "answer")
        for number in range(1, launches + 1):
            note = f"launch {number} of {launches}: " if launches > 1 else ""
            order = {"configurations": [c.tables for c in configurations], "repetitions": options.repetitions}
            order_file.write_text(json_format.dumps({**order, "plugins": options.plugin, "note": note}))
            program = [sys.executable, "-P", "-m", "mpi_fed.benchmark", str(order_file), str(answer)]
            status = run_programs(ranks, [program])[0]
            if status != 0:
                return status
            its_machine, measurements = pickle.loads(answer.read_bytes())
            machine = machine or its_machine
            measured.append(measurements)
        document = bench_document(machine, measured)
        document = replace(document, results=with_floors(document.results, Path(folder)))
    return _report(document, options)


def bench_here(options: Namespace) -> int:
    """Time rounds on the ranks that a launcher has started, and return the exit status. Every rank calls it."""
    from ..launch.world import await_reader, start
    from ..terminal.progress import Progress
    from ..terminal.width import TERMINAL_WIDTH
    from .cases import cases
    from .machine import describe
    from .measure import measure_all
    from .result import bench_document

    world = start()
    if options.ranks not in (None, world.size):
        started = f"the launcher started {world.size} rank{'s' * (world.size > 1)}"
        raise WorldError(f"--ranks {options.ranks}: {started}; leave --ranks out or give {world.size}")
    if options.launches not in (None, 1):
        raise InputError(f"--launches {options.launches}: under a launcher there is one launch; start bench without it")
    configurations, left_out = cases(world.size, *_choice(options))
    if world.is_root:
        _check_place(options.out)
        _print_left_out(left_out)
    _check_memory(configurations, world.size, world.node_size)
    shown = world.is_root and (TERMINAL_WIDTH in os.environ or sys.stderr.isatty())
    machine = describe(world)
    measurements = measure_all(configurations, options.repetitions, world, Progress(len(configurations), enabled=shown))
    status = _report(bench_document(machine, [measurements]), options) if world.is_root else 0
    sys.stdout.flush()
    await_reader()
    world.comm.Barrier()  # a launcher ends all ranks as soon as one exits with an error
    return status


def compare(first: str, second: str, threshold: float = 1.1, json: bool = False) -> int:
    """Compare two files of `mpi-fed bench --out`, and return 1 if a result is slower in the second file, else 0.

    Raises InputError if a file is not a bench result, or if the files have no result in common.
    """
    from .compare import compare_benches
    from .compare_table import print_comparison
    from .load import load_bench

    comparison = compare_benches(load_bench(first), load_bench(second), threshold)
    if not comparison.lines and not comparison.invalid:
        keys = "the same route, compressor, dimension, number of ranks and downlink"
        raise InputError(f"{first} and {second} have no result in common; time {keys} for both")
    if json:
        print(json_format.dumps(asdict(comparison), indent=2, allow_nan=False))
    else:
        print_comparison(comparison)
    return 1 if comparison.slower else 0


def _choice(options: Namespace) -> tuple[Any, ...]:
    return options.dimension, options.compressor, options.route, options.downlink_bits, options.downlink


def _print_left_out(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        say(f"left out: {sentence}")


def _check_place(out: str | None) -> None:
    """Raise InputError before anything is measured if the file cannot be written."""
    if out is None:
        return
    file, folder = Path(out), Path(out).absolute().parent
    place = file if file.exists() else folder
    if file.is_dir() or not folder.is_dir() or not os.access(place, os.W_OK):
        raise InputError(f"--out {out}: cannot write this file; give a file in an existing folder that is writable")


def _check_memory(configurations: Sequence[Configuration], ranks: int, here: int) -> None:
    """Raise InputError if a case does not fit into memory; the message has the smallest dimension that does not."""
    from ..study.memory_estimate import check

    for configuration in sorted(configurations, key=lambda each: each.problem.dimension_of()):
        place = f"--dimension {configuration.problem.dimension_of()}: route {configuration.route.kind}"
        check(place, [configuration], ranks, here, "give a smaller --dimension or fewer --ranks", twice=True)


def _report(document: Bench, options: Namespace) -> int:
    """Print and save the document, and return the exit status."""
    from . import VALID
    from .table import print_bench

    text = json_format.dumps(asdict(document), indent=2, allow_nan=False)
    text = re.sub(r"\[[^][{}\"]+\]", lambda numbers: " ".join(numbers[0].split()), text)  # each list on one line
    if options.out is not None:
        try:
            Path(options.out).write_text(text + "\n")
        except OSError as error:
            raise InputError(f"--out {options.out}: cannot write the file ({error.strerror or error})") from None
    print(text) if options.json else print_bench(document)
    return 0 if document.verdict == VALID else 1
