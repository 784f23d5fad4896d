"""Running the command `mpi-fed` in its own process, and reading the logs that it writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np

PATIENCE = 900
TIMED = {"wall_seconds", "phase_seconds"}
"""Datasets that differ from run to run."""


def start(
    *arguments: object, python: str = sys.executable, folder: Path | None = None, **variables: str
) -> subprocess.Popen[str]:
    """Start `mpi-fed ARGUMENTS` in `folder`, with these environment variables added."""
    return subprocess.Popen(
        [python, "-P", "-m", "mpi_fed", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: object, status: int = 0, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `mpi-fed ARGUMENTS` to its end, and check its exit status."""
    with start(*arguments, **options) as process:
        try:
            output, errors = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode == status, f"exit status {process.returncode}, not {status}\n{output}\n{errors}"
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def arrays(path: Path) -> dict[str, Any]:
    """Return all datasets of a log."""
    with h5py.File(path, "r") as file:
        return {name: dataset[:] for name, dataset in file.items() if isinstance(dataset, h5py.Dataset)}


def logs(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the datasets of all logs in a folder, by the name of the log."""
    return {path.stem: arrays(path) for path in sorted(folder.glob("*.h5"))}


def assert_same(one: dict[str, Any], other: dict[str, Any], leaving_out: set[str] = TIMED) -> None:
    """Check that two logs have the same datasets, bit for bit."""
    assert one.keys() == other.keys()
    for name in one.keys() - leaving_out:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def assert_refused(capsys: Any, sentences: list[str]) -> None:
    """Check that a command in this process printed one line, to standard error, that contains these sentences."""
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.splitlines()) == 1
    assert [text for text in sentences if text not in output.err] == []
