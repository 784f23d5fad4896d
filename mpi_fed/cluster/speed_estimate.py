"""How long configurations will take: from earlier logs of theirs, or else measured here for a moment."""

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
"""Seconds allowed to a configuration before its first round: imports, and what has not been compiled yet."""
RANKS = 4
"""The most ranks of a calibration."""


@dataclass(frozen=True)
class Speed:
    """Seconds of a round, on how many ranks, and how that is known."""

    seconds: float
    ranks: int
    source: str


def speeds(
    configurations: Sequence[Configuration], folder: Path, ranks: int, plugins: Sequence[str], measure: bool = True
) -> dict[str, Speed]:
    """By id, the speed of each configuration of which a log tells or, where `measure` allows it, a calibration."""
    logged = dict(_logged(folder))
    speeds_by_id = {c.id: logged[key] for c in configurations if (key := _key(c.tables)) in logged}
    unlogged = [c for c in configurations if c.id not in speeds_by_id]
    if unlogged and measure:
        speeds_by_id |= calibrate(unlogged, ranks, plugins)
    return speeds_by_id


def seconds_of(configuration: Configuration, repetitions: int, speed: Speed) -> float:
    """Wall seconds of so many repetitions, start-up included, if more ranks make no round faster."""
    return START_UP + speed.seconds * configuration.rounds * repetitions


def _logged(folder: Path) -> Iterator[tuple[str, Speed]]:
    """Yield, for each log in a folder with a time of a round, its configuration's key and speed."""
    for path in sorted(folder.glob("*.h5")):
        with contextlib.suppress(OSError, KeyError, ValueError, RuntimeError), h5py.File(path, "r") as log:
            seconds, rounds = log[schema.WALL_SECONDS.name][:], log[schema.ROUND.name][:]
            paces = [row[last] / rounds[last] for row in seconds if (last := np.isfinite(row).sum() - 1) > 0]
            if paces:
                tables = json.loads(log.attrs[schema.CONFIGURATION.name])
                ranks = int(log.attrs[schema.RANKS.name])
                yield _key(tables), Speed(float(np.max(paces)), ranks, "earlier logs")


def _key(tables: dict[str, Any]) -> str:
    """What the speed of a round depends on: all but how many rounds there are, and what is logged of them."""
    parts = {name: table for name, table in tables.items() if name not in ("study", "log")}
    return json.dumps([parts, tables["study"]["clients"]], sort_keys=True)


def calibrate(configurations: Sequence[Configuration], ranks: int, plugins: Sequence[str]) -> dict[str, Speed]:
    """Measure each configuration on a few ranks of this machine. Raises InputError where that cannot be done."""
    ranks = min(ranks, launcher.cores(), RANKS)
    say(
        f"measuring rounds of {len(configurations)} {plural('configuration', len(configurations))} on "
        f"{ranks} ranks here; what is not compiled yet takes a minute or two (--no-estimate leaves all of it out)"
    )
    with tempfile.TemporaryDirectory(prefix="mpi-fed-") as folder:
        file = Path(folder, "configurations.json")
        file.write_text(json.dumps({"configurations": [c.tables for c in configurations], "plugins": list(plugins)}))
        try:
            paces = list(_measured(ranks, file))
        except WorldError as error:
            raise InputError(f"no round can be measured here: {error}; or give --no-estimate") from None
    return {c.id: Speed(pace, ranks, "a moment here") for c, pace in zip(configurations, paces, strict=True)}


def _measured(ranks: int, file: Path) -> Iterator[float]:
    program = [sys.executable, "-P", "-m", "mpi_fed.cluster.calibrate", str(file)]
    errors_file = file.with_name("errors")
    with launcher.command_for(ranks, program) as (command, surroundings), open(errors_file, "w+b") as errors:
        with subprocess.Popen(
            command,
            env=surroundings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            preexec_fn=functools.partial(die_with_parent, os.getpid()),
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
            lines = errors.read().decode(errors="replace").strip().splitlines() or ["nothing"]
            reason = next((line for line in lines if line.startswith("mpi-fed: ")), lines[-1])
            raise WorldError(f"exit status {process.returncode}, saying: {plain(reason.removeprefix('mpi-fed: '))}")
