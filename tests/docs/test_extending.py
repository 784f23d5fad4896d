"""Follow docs/extending.md to the letter: write its files and run its commands, in its order.

The seeds are fixed, so on one CPU type the verdicts are the same each time. On another type a correct run is refused by
chance in fewer than 2 of 1,000 cases (docs/analysis.md), and certification in fewer than 1 of a million.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support import crowd

from mpi_fed.log.reader import Log, read_log

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
FILES = {text.split()[1]: text for language, text in BLOCKS if language in ("python", "toml")}
COMMANDS = [text.strip() for language, text in BLOCKS if language == "sh"]


Outcome = tuple[Path, list[subprocess.CompletedProcess[str]]]
"""A folder with the page's files, and the result of each of its commands."""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Write the page's files and run its commands."""
    folder = tmp_path_factory.mktemp("extending")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    launchers = ("OMPI_", "PMI", "SLURM_", "MPI_LOCAL", "MPI_FED_RANKS", "NUMBA_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(launchers)}
    environment |= crowd.settings()
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = [
        subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        for command in COMMANDS
    ]
    return folder, done


def analysis(folder: Path, study: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "runs" / study / "analysis.json").read_text())["configurations"]
    return found


def logs(folder: Path, study: str) -> dict[str, Log]:
    return {log.label: log for log in map(read_log, sorted((folder / "runs" / study).glob("*.h5")))}


def iterates(log: Log) -> NDArray[np.float64]:
    found = log.dataset("iterate")
    assert found is not None
    return found


def succeeded(outcome: Outcome, number: int, *words: str) -> tuple[Path, str]:
    folder, done = outcome
    assert [word for word in words if word not in COMMANDS[number]] == []
    assert done[number].returncode == 0, done[number].stdout + done[number].stderr
    return folder, done[number].stdout


def test_the_page_has_the_files_and_commands_of_this_test() -> None:
    assert list(FILES) == ["window.py", "window.toml", "momentum.py", "synchronised.py"]
    assert len(COMMANDS) == 5


def test_certify_passes_the_compressor(outcome: Outcome) -> None:
    _, output = succeeded(outcome, 0, "certify", "--plugin window.py")
    rows = [line for line in output.splitlines() if "window" in line]
    assert len(rows) == 3  # with each value_bits
    assert all("PASS" in row for row in rows)


def test_the_prediction_of_the_compressor_is_exact(outcome: Outcome) -> None:
    _, output = succeeded(outcome, 1, "predict", "--plugin window.py")
    row = next(line.split() for line in output.splitlines() if line.startswith(" window h=4 "))
    assert row[2] == "4"
    assert row[-1] == "exact"


def test_the_measured_risk_agrees_with_the_prediction(outcome: Outcome) -> None:
    folder, _ = succeeded(outcome, 2, "run", "--plugin window.py")
    window, rand_h = analysis(folder, "window")
    for entry, kind in ((window, "window"), (rand_h, "rand-h")):
        assert (entry["compressor"]["kind"], entry["compressor"]["h"]) == (kind, 4)
        assert (entry["verdict"], entry["prediction_kind"], entry["route"]["kind"]) == ("VALID", "exact", "gather")
        assert entry["uplink"]["information_bits"] == 5000 * 2 * 4 * 32
    traces = re.search(r"limit trace\s+(\d+) (?:against|compared\s+with) (\d+)", PAGE)
    assert traces is not None
    assert [round(window["limit_trace"]), round(rand_h["limit_trace"])] == [int(text) for text in traces.groups()]


def test_an_uncompiled_run_gives_the_same_bits(outcome: Outcome) -> None:
    folder, _ = succeeded(outcome, 3, "NUMBA_DISABLE_JIT=1", "--plugin window.py")
    compiled, plain = logs(folder, "window"), logs(folder, "plain")
    assert compiled.keys() == plain.keys()
    for label, log in plain.items():
        shared, long, short = np.intersect1d(compiled[label].round, log.round, return_indices=True)
        assert len(shared) > 50
        assert np.array_equal(iterates(compiled[label])[0, long], iterates(log)[0, short])


def test_the_algorithm_and_the_route_run_and_the_route_changes_no_bit(outcome: Outcome) -> None:
    folder, _ = succeeded(outcome, 4, "--plugin momentum.py", "--plugin synchronised.py")
    found = analysis(folder, "grid")
    assert [(entry["algorithm"]["kind"], entry["route"]["kind"]) for entry in found] == [
        ("sgd", "gather"),
        ("sgd", "synchronised"),
        ("momentum", "gather"),
        ("momentum", "synchronised"),
    ]
    assert {entry["verdict"] for entry in found} == {"VALID"}
    assert [entry["prediction_kind"] for entry in found] == ["exact", "exact", None, None]
    by_kinds = {
        tuple(log.configuration[table]["kind"] for table in ("algorithm", "route")): iterates(log)
        for log in logs(folder, "grid").values()
    }
    for algorithm in ("sgd", "momentum"):
        assert np.array_equal(by_kinds[algorithm, "gather"], by_kinds[algorithm, "synchronised"])
    assert not np.array_equal(by_kinds["sgd", "gather"], by_kinds["momentum", "gather"])
