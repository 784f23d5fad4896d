"""A run that is killed again and again."""

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
"""Seconds after which a run is killed at the latest, from its start, or three times in four from its first rounds."""
TIMED = ("wall_seconds", "phase_seconds")


def kills(count: int, rounds: int, seed: int) -> bool:
    """Kill `count` times, or until the study is done and begun anew; print the table; whether all was as it must be."""
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
                time.sleep(0.3)  # until the ranks have noticed
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
    found = {"kills": done, "starts": starts, "resumed": resumed, "rounds done again": lost, "at most": worst}
    found |= {"unreadable logs": unreadable, "other results": different}
    print("  ".join(found))
    print("  ".join(f"{number:>{len(name)},}" for name, number in found.items()))
    if left:
        print(f"left over: {', '.join(left)}")
    return not (unreadable or different or left)


def command(folder: Path, out: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-P", "-m", "mpi_fed", "run", "study.toml", "--ranks=2", f"--out={out}", "--no-analyze"]
    return subprocess.Popen(
        [*words, f"--checkpoint-seconds={INTERVAL}"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for_rounds(job: subprocess.Popen[bytes], folder: Path) -> None:
    """Until the log appears, or is written to."""

    def times() -> list[int]:
        return [path.stat().st_mtime_ns for path in (folder / "runs" / "torture").glob("*.h5")]

    before = times()
    while job.poll() is None and times() == before:
        time.sleep(0.005)


def datasets(out: Path) -> dict[str, Any]:
    (path,) = (out / "torture").glob("*.h5")
    with h5py.File(path, "r") as file:
        return {name: item[()] for name, item in file.items() if isinstance(item, h5py.Dataset)}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    names = [name for name in one.keys() - set(TIMED) if one[name].dtype != object]
    return one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in names)


def position(folder: Path) -> int:
    """Rounds of all repetitions that a start would not do again."""
    done = 0
    for path in (folder / "runs" / "torture").glob("*.h5"):
        with h5py.File(path, "r") as file:
            done += int((file["repetition_status"][:] == 1).sum()) * int(file["round"][-1])
            missing = file["repetition"][file["repetition_status"][:] == 0]
    for path in (folder / "runs" / "torture").glob("*.checkpoint"):
        with np.load(path, allow_pickle=False) as file:
            meta = json.loads(file["meta"].tobytes())
        done += meta["done"] if meta["seed"] in missing else 0
    return done


def furthest(folder: Path) -> int:
    """Rounds of all repetitions that the log tells of."""
    rounds = 0
    for path in (folder / "runs" / "torture").glob("*.h5"):
        with h5py.File(path, "r") as file:
            held = np.isfinite(file["excess_risk"][:]).sum(axis=1)
            rounds += int(sum(file["round"][count - 1] for count in held if count))
    return rounds
