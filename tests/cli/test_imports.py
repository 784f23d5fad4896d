"""Light commands load neither the compiler nor MPI, since each of these takes seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.synthetic_log import write_log

PROGRAM = """
import sys
from mpi_fed.cli.main import main
try:
    sys.exit(main(sys.argv[1:]))
finally:
    print("loaded:", *sorted({"mpi4py", "numba", "pydantic", "scipy"} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "full"],
        ["status", "empty"],
        ["analyze", "empty"],
        ["scaling", "empty"],
        ["compare", "none.json", "none.json"],
        ["analyze", "--help"],
        ["run", "--help"],
        ["submit", "--help"],
        ["--help"],
    ],
    ids=" ".join,
)
def test_a_light_command_loads_neither_compiler_nor_mpi(tmp_path: Path, arguments: list[str]) -> None:
    for name in ("empty", "full"):
        (tmp_path / name).mkdir()
    write_log(tmp_path / "full" / "a.h5")
    command = [sys.executable, "-P", "-c", PROGRAM, *arguments]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert process.stdout.splitlines()[-1] == "loaded:"
    assert process.returncode == (2 if {"empty", "none.json"} & set(arguments) else 0), process.stderr
