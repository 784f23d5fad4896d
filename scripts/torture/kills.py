"""Kill a run again and again, and compare its log with the log of an uninterrupted run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mpi_fed.log import schema
from mpi_fed.log.schema import RepetitionStatus

STUDY = """
[study]
name = "torture"
rounds = {rounds}
repetitions = 2
clients = 4
[problem]
kind = "gaussian"
dimension = 20
shift = "optimum"
[algorithm]
kind = "control-variates"
[[compressor]]
kind = "bernoulli"
p = 0.3
[log]
points_per_decade = 2000
iterates = "last"
"""
INTERVAL = 0.2
"""Seconds between checkpoints."""
LONGEST = 1.5
"""Largest number of seconds until a run is killed: from its start or, in three of four cases, from its first rounds."""
TIMED = (schema.WALL_SECONDS.name, schema.PHASE_SECONDS.name)
"""Datasets of times, which differ between runs."""


def kills(count: int, rounds: int, seed: int) -> bool:
    """Kill `count` times and print the table; return whether all logs were as required.

    If the study is done before, its files are removed and the study starts again.
    """
    randomly = random.Random(seed)
    done = starts = resumed = unreadable = lost = worst = different = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "study.toml").write_text(STUDY.format(rounds=rounds))
        command(folder, "whole").wait()
        whole = datasets(folder / "whole")
        while done < count:
            job = command(folder, "runs")
            starts += 1
            before = position(folder)
            resumed += before > 0
            if randomly.random() < 0.75:
                wait_for_rounds(job, folder)
            try:
                job.wait(randomly.uniform(0, LONGEST))
            except subprocess.TimeoutExpired:
                os.kill(job.pid, signal.SIGKILL)
                job.wait()
                done += 1
                time.sleep(0.3)  # until the ranks have ended, too
                try:
                    again = max(0, furthest(folder) - position(folder))
                except OSError as error:
                    print(f"unreadable after kill {done}: {error}")
                    unreadable += 1
                else:
                    lost, worst = lost + again, max(worst, again)
                continue
            different += job.returncode != 0 or not same(datasets(folder / "runs"), whole)
            for path in (folder / "runs" / "torture").iterdir():
                path.unlink()
        command(folder, "runs").wait()
        different += not same(datasets(folder / "runs"), whole)
        left = [p.name for p in (folder / "runs" / "torture").iterdir() if p.suffix != ".h5"]
    counts = {"kills": done, "starts": starts, "resumed": resumed, "rounds done again": lost, "at most": worst}
    counts |= {"unreadable logs": unreadable, "other results": different}
    print("  ".join(counts))
    print("  ".join(f"{number:>{len(name)},}" for name, number in counts.items()))
    if left:
        print(f"left over: {', '.join(left)}")
    return not (unreadable or different or left)


def command(folder: Path, out: str) -> subprocess.Popen[bytes]:
    """Start a run of the study."""
    words = [sys.executable, "-P", "-m", "mpi_fed", "run", "study.toml", "--ranks=2", f"--out={out}", "--no-analyze"]
    return subprocess.Popen(
        [*words, f"--checkpoint-seconds={INTERVAL}"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for_rounds(job: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until the log appears or changes, or the run ends."""

    def times() -> list[int]:
        return [path.stat().st_mtime_ns for path in (folder / "runs" / "torture").glob("*.h5")]

    before = times()
    while job.poll() is None and times() == before:
        time.sleep(0.005)


def datasets(out: Path) -> dict[str, Any]:
    """Return the datasets of the only log, by name."""
    (path,) = (out / "torture").glob("*.h5")
    with h5py.File(path, "r") as file:
        return {name: item[()] for name, item in file.items() if isinstance(item, h5py.Dataset)}


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Return whether two logs have the same bits, except for times."""
    names = [name for name in first.keys() - set(TIMED) if first[name].dtype != object]
    return first.keys() == second.keys() and all(first[name].tobytes() == second[name].tobytes() for name in names)


def position(folder: Path) -> int:
    """Return the number of rounds, of all repetitions, that the next start does not repeat."""
    done = 0
    for path in (folder / "runs" / "torture").glob("*.h5"):
        with h5py.File(path, "r") as file:
            status, rounds = file[schema.REPETITION_STATUS.name][:], file[schema.ROUND.name][-1]
            done += int((status == RepetitionStatus.COMPLETE).sum()) * int(rounds)
            missing = file[schema.REPETITION.name][status == RepetitionStatus.MISSING]
    for path in (folder / "runs" / "torture").glob("*.checkpoint"):
        with np.load(path, allow_pickle=False) as file:
            meta = json.loads(file["meta"].tobytes())
        done += meta["done"] if meta["seed"] in missing else 0
    return done


def furthest(folder: Path) -> int:
    """Return the number of rounds in the log, over all repetitions."""
    rounds = 0
    for path in (folder / "runs" / "torture").glob("*.h5"):
        with h5py.File(path, "r") as file:
            counts = np.isfinite(file[schema.EXCESS_RISK.name][:]).sum(axis=1)
            rounds += int(sum(file[schema.ROUND.name][count - 1] for count in counts if count))
    return rounds
