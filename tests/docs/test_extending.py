"""docs/extending.md, followed to the letter: its files are written, its commands run, in its order.

The seeds are fixed, so on one CPU type the verdicts come out the same each time; elsewhere the run is refused by
chance in fewer than 2 of 1,000 cases (docs/analysis.md), certification in fewer than 1 of a million.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support import crowd

from mpi_fed.analysis import load

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
FILES = {text.split()[1]: text for language, text in BLOCKS if language in ("python", "toml")}
COMMANDS = [text.strip() for language, text in BLOCKS if language == "sh"]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory):
    """A folder with the page's files, and what became of each of its commands."""
    folder = tmp_path_factory.mktemp("extending")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    own = ("OMPI_", "PMI", "SLURM_", "MPI_LOCAL", "MPI_FED_RANKS", "NUMBA_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(own)}
    environment |= crowd.settings()
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = [
        subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True)
        for command in COMMANDS
    ]
    return folder, done


def analysis(folder, study):
    return json.loads((folder / "runs" / study / "analysis.json").read_text())["configurations"]


def logs(folder, study):
    return {log.label: log for log in map(load, sorted((folder / "runs" / study).glob("*.h5")))}


def iterates(log):
    return log.dataset("iterate")


def succeeded(bench, number, *words):
    folder, done = bench
    assert [word for word in words if word not in COMMANDS[number]] == []
    assert done[number].returncode == 0, done[number].stdout + done[number].stderr
    return folder, done[number].stdout


def test_page_has_the_files_and_commands_that_are_followed_here() -> None:
    assert list(FILES) == ["window.py", "window.toml", "momentum.py", "synchronised.py"]
    assert len(COMMANDS) == 5


def test_certify_passes_the_compressor(bench) -> None:
    _, output = succeeded(bench, 0, "certify", "--plugin window.py")
    rows = [line for line in output.splitlines() if "window" in line]
    assert len(rows) == 3  # with each value_bits
    assert all("PASS" in row for row in rows)


def test_predict_knows_the_compressor_exactly(bench) -> None:
    _, output = succeeded(bench, 1, "predict", "--plugin window.py")
    row = next(line.split() for line in output.splitlines() if line.startswith(" window h=4 "))
    assert row[2] == "4"
    assert row[-1] == "exact"


def test_run_is_valid_and_measures_what_is_predicted(bench) -> None:
    folder, _ = succeeded(bench, 2, "run", "--plugin window.py")
    window, rand_h = analysis(folder, "window")
    for one, kind in ((window, "window"), (rand_h, "rand-h")):
        assert (one["compressor"]["kind"], one["compressor"]["h"]) == (kind, 4)
        assert (one["verdict"], one["prediction_kind"], one["route"]["kind"]) == ("VALID", "exact", "gather")
        assert one["uplink"]["information_bits"] == 5000 * 2 * 4 * 32
    traces = re.search(r"limit trace\s+(\d+) against (\d+)", PAGE)
    assert [round(window["limit_trace"]), round(rand_h["limit_trace"])] == [int(text) for text in traces.groups()]


def test_uncompiled_run_gives_the_same_bits(bench) -> None:
    folder, _ = succeeded(bench, 3, "NUMBA_DISABLE_JIT=1", "--plugin window.py")
    compiled, plain = logs(folder, "window"), logs(folder, "plain")
    assert compiled.keys() == plain.keys()
    for label, log in plain.items():
        shared, long, short = np.intersect1d(compiled[label].round, log.round, return_indices=True)
        assert len(shared) > 50
        assert np.array_equal(iterates(compiled[label])[0, long], iterates(log)[0, short])


def test_algorithm_and_route_run_and_the_route_changes_no_bit(bench) -> None:
    folder, _ = succeeded(bench, 4, "--plugin momentum.py", "--plugin synchronised.py")
    found = analysis(folder, "grid")
    assert [(one["algorithm"]["kind"], one["route"]["kind"]) for one in found] == [
        ("sgd", "gather"),
        ("sgd", "synchronised"),
        ("momentum", "gather"),
        ("momentum", "synchronised"),
    ]
    assert {one["verdict"] for one in found} == {"VALID"}
    assert [one["prediction_kind"] for one in found] == ["exact", "exact", None, None]
    held = {
        tuple(log.configuration[table]["kind"] for table in ("algorithm", "route")): iterates(log)
        for log in logs(folder, "grid").values()
    }
    for algorithm in ("sgd", "momentum"):
        assert np.array_equal(held[algorithm, "gather"], held[algorithm, "synchronised"])
    assert not np.array_equal(held["sgd", "gather"], held["momentum", "gather"])
