"""Estimate how long configurations will take, from their earlier logs or from a short measurement on this machine."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import InputError, WorldError
from ..launch import launcher
from ..launch.environment import die_with_parent
from ..log import schema
from ..study.configuration import Configuration
from ..terminal.console import say
from ..text import plain, plural

START_UP = 30.0
"""Estimated seconds of a configuration before its first round, for imports and compilation."""
RANKS = 4
"""Largest number of ranks of a calibration."""


@dataclass(frozen=True)
class Speed:
    """Seconds of a round, the number of ranks, and the source of the estimate."""

    seconds: float
    ranks: int
    source: str


def speeds(
    configurations: Sequence[Configuration], folder: Path, ranks: int, plugins: Sequence[str], measure: bool = True
) -> dict[str, Speed]:
    """Return id -> speed for the configurations with an earlier log and, with `measure`, for all others.

    The others are measured on this machine.
    """
    logged = dict(_logged(folder))
    speeds_by_id = {c.id: logged[key] for c in configurations if (key := _key(c.tables)) in logged}
    unlogged = [c for c in configurations if c.id not in speeds_by_id]
    if unlogged and measure:
        speeds_by_id |= calibrate(unlogged, ranks, plugins)
    return speeds_by_id


def seconds_of(configuration: Configuration, repetitions: int, speed: Speed) -> float:
    """Return the wall seconds of the repetitions and the start-up, as if more ranks did not make a round faster."""
    return START_UP + speed.seconds * configuration.rounds * repetitions


def _logged(folder: Path) -> Iterator[tuple[str, Speed]]:
    """Yield the key and the speed of the configuration, for each log in a folder that has times of rounds."""
    for path in sorted(folder.glob("*.h5")):
        with contextlib.suppress(OSError, KeyError, ValueError, RuntimeError), h5py.File(path, "r") as log:
            seconds, rounds = log[schema.WALL_SECONDS.name][:], log[schema.ROUND.name][:]
            paces = [row[last] / rounds[last] for row in seconds if (last := np.isfinite(row).sum() - 1) > 0]
            if paces:
                tables = json.loads(log.attrs[schema.CONFIGURATION.name])
                ranks = int(log.attrs[schema.RANKS.name])
                yield _key(tables), Speed(float(np.max(paces)), ranks, "earlier logs")


def _key(tables: dict[str, Any]) -> str:
    """Return the part of a configuration that the speed of a round depends on: not the rounds, seeds and log points."""
    parts = {name: table for name, table in tables.items() if name not in ("study", "log")}
    return json.dumps([parts, tables["study"]["clients"]], sort_keys=True)


def calibrate(configurations: Sequence[Configuration], ranks: int, plugins: Sequence[str]) -> dict[str, Speed]:
    """Measure each configuration on a few ranks of this machine. Raises InputError if the measurement fails."""
    ranks = min(ranks, launcher.cores(), RANKS)
    say(
        f"measuring rounds of {len(configurations)} {plural('configuration', len(configurations))} on "
        f"{ranks} ranks here; compiling takes a minute or two the first time (--no-estimate skips the measurement)"
    )
    with tempfile.TemporaryDirectory(prefix="mpi-fed-") as folder:
        file = Path(folder, "configurations.json")
        file.write_text(json.dumps({"configurations": [c.tables for c in configurations], "plugins": list(plugins)}))
        try:
            paces = list(_measured(ranks, file))
        except WorldError as error:
            raise InputError(f"rounds cannot be measured here: {error}; or give --no-estimate") from None
    return {c.id: Speed(pace, ranks, "a measurement here") for c, pace in zip(configurations, paces, strict=True)}


def _measured(ranks: int, file: Path) -> Iterator[float]:
    program = [sys.executable, "-P", "-m", "mpi_fed.cluster.calibrate", str(file)]
    errors_file = file.with_name("errors")
    with launcher.command_for(ranks, program) as (command, environment), open(errors_file, "w+b") as errors:
        with subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            preexec_fn=functools.partial(die_with_parent, os.getpid()),  # noqa: PLW1509  # it only calls prctl
        ) as process:
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    yield json.loads(line)["seconds"]
            except BaseException:
                process.terminate()
                raise
        if process.returncode:
            errors.seek(0)
            lines = errors.read().decode(errors="replace").strip().splitlines() or ["no message"]
            reason = next((line for line in lines if line.startswith("mpi-fed: ")), lines[-1])
            raise WorldError(f"exit status {process.returncode}: {plain(reason.removeprefix('mpi-fed: '))}")
