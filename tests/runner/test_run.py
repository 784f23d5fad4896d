"""`mpi-fed run` from start to end, with the launchers."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from support import command
from support.command import assert_same
from support.study_text import write_study

from mpi_fed.launch import launcher

STUDY: dict[str, Any] = {"rounds": 2000, "repetitions": 2, "clients": 3, "problem": {"dimension": 20}}
BERNOULLI = {"kind": "bernoulli", "p": 0.5}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """The folder of a study, in which its commands run."""
    write_study(tmp_path / "test.toml", "none", BERNOULLI, **STUDY)
    return tmp_path


def mpirun(python: str, ranks: int, *arguments: object, folder: Path) -> None:
    """Start the launcher of a Python's MPI directly, as a user does."""
    mpiexec = launcher.find_launcher(python)
    environment = dict(os.environ)
    options = []
    if mpiexec.family == "Open MPI":
        options = ["--oversubscribe"] if (os.cpu_count() or 1) < ranks else []
        if os.geteuid() == 0:
            environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    words = [mpiexec.path, *options, "-n", str(ranks), python, "-m", "mpi_fed", "run", *map(str, arguments)]
    ended = subprocess.run(
        words, env=environment, cwd=folder, capture_output=True, text=True, timeout=command.PATIENCE, check=False
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
def test_mpirun_and_ranks_give_the_same_logs(mpi_python: str, study: Path) -> None:
    """Three clients, on two ranks and on one: the logs are equal except for datasets that depend on ranks or time."""
    mpirun(mpi_python, 2, "test.toml", "--out=mpirun", "--no-analyze", folder=study)
    options = ["run", "test.toml", "--no-analyze"]
    command.run(*options, "--ranks=2", "--out=ranks", python=mpi_python, folder=study)
    command.run(*options, "--ranks=1", "--out=alone", python=mpi_python, folder=study)
    first, second, alone = (command.logs(study / name / "test") for name in ("mpirun", "ranks", "alone"))
    assert len(first) == 2
    assert first.keys() == second.keys() == alone.keys()
    transported = {"uplink_transported_bytes", "downlink_transported_bytes"}
    for label, log in first.items():
        assert_same(log, second[label])
        assert_same(log, alone[label], command.TIMED | transported)
    with h5py.File(next((study / "mpirun" / "test").glob("none*.h5"))) as file:
        assert file.attrs["ranks"] == b"2"
        assert b" run test.toml" in file.attrs["command_line"]


def test_a_finished_run_prints_the_table_and_writes_the_report(study: Path) -> None:
    ended = command.run("run", "test.toml", "--ranks=2", folder=study)
    assert "none" in ended.stdout
    assert "bernoulli" in ended.stdout
    assert "report: " in ended.stdout.splitlines()[-1]
    names = {path.name for path in (study / "runs" / "test").iterdir()}
    assert {"report.html", "analysis.json", "table.txt"} < names
    again = command.run("run", "test.toml", "--ranks=2", folder=study)
    assert again.stdout == ended.stdout
    assert again.stderr.count("complete already") == 2


@pytest.mark.slow
def test_a_terminal_without_a_width_gets_bar_and_table(study: Path) -> None:
    ours, theirs = pty.openpty()  # 0 columns
    words = [sys.executable, "-P", "-m", "mpi_fed", "run", "test.toml", "--ranks=1", "--only=none"]
    with subprocess.Popen(words, cwd=study, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the process has ended
            while part := os.read(ours, 4096):
                shown += part
    os.close(ours)
    assert process.returncode == 0
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    assert text != shown.decode()
    for part_of_text in ("test: none: complete", "excess risk", "VALID", "report: "):
        assert part_of_text in text


@pytest.mark.slow
def test_the_options_only_set_and_jobs(study: Path) -> None:
    """Only the selected configurations run, in parallel, and each log has its position in the whole grid."""
    options = ["--jobs=2", "--ranks=1", "--no-analyze", "--set=problem.eigenvalue_decay=[1, 2]"]
    command.run("run", "test.toml", *options, "--set=study.rounds=50", "--only=bernoulli", folder=study)
    paths = sorted((study / "runs" / "test").glob("*.h5"))
    logs = {}
    for path in paths:
        with h5py.File(path) as file:
            tables = json.loads(file.attrs["configuration"])
            place = tables["compressor"]["kind"], tables["problem"]["eigenvalue_decay"]
            logs[place] = (int(file.attrs["position"]), int(file["round"][-1]))
    assert logs == {("bernoulli", 1.0): (1, 50), ("bernoulli", 2.0): (3, 50)}


@pytest.mark.slow
def test_a_diverging_run_is_reported(study: Path) -> None:
    """The other configuration runs to its end."""
    options = ["--ranks=2", "--set=algorithm.step_size=[0.01, 3.0]", "--only=none"]
    ended = command.run("run", "test.toml", *options, folder=study)
    complete, diverged = sorted((study / "runs" / "test").glob("*.h5"))
    with h5py.File(complete) as file:
        assert file.attrs["status"] == b"complete"
    with h5py.File(diverged) as file:
        assert file.attrs["status"] == b"diverged"
        assert file["repetition_status"][:].tolist() == [2, 2]
        risk, counts = file["excess_risk"][:], file["uplink_payload_bytes"][:]
        lost = ~np.isfinite(risk)
        assert lost[:, -1].all()
        assert not lost[:, 0].any()
        assert (np.diff(lost.astype(int), axis=1) >= 0).all()
        assert (counts[:, -1] == -1).all(), "counts are written after the divergence"
        assert (counts[~lost] >= 0).all()
    assert "diverged" in ended.stdout
    assert "diverged" in ended.stderr
    again = command.run("run", "test.toml", *options, folder=study)
    assert again.stderr.count("complete already") == 2, "a diverged repetition was run again"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "expected"),
    [("compressor.value_bits=16", ["in round 0 client ", "give this compressor value_bits = 32"]),
     ("route.downlink_bits=16", ["the root had to send", "give the route downlink_bits = 32"])],
)  # fmt: skip
def test_a_number_beyond_float16_ends_the_run(mpi_python: str, study: Path, setting: str, expected: list[str]) -> None:
    far = ["--set=problem.shift='optimum'", "--set=problem.optimum_spread=1e6"]
    options = ["--ranks=2", "--only=none", f"--set={setting}", *far]
    ended = command.run("run", "test.toml", *options, status=2, python=mpi_python, folder=study)
    (line,) = (line for line in ended.stderr.splitlines() if line.startswith("mpi-fed: "))
    for words in ("float16's 65504", *expected):
        assert words in line
    with h5py.File(next((study / "runs" / "test").glob("*.h5"))) as file:
        assert file.attrs["status"] == b"interrupted"
        assert (file["repetition_status"][:] == 0).all()


@pytest.mark.slow
def test_a_file_that_is_not_a_log_is_refused_in_one_sentence(study: Path) -> None:
    command.run("run", "test.toml", "--ranks=1", "--only=none", "--no-analyze", folder=study)
    (path,) = (study / "runs" / "test").glob("*.h5")
    path.write_text("my notes")
    ended = command.run("run", "test.toml", "--ranks=1", "--only=none", status=2, folder=study)
    (line,) = (line for line in ended.stderr.splitlines() if line.startswith("mpi-fed: "))
    assert path.name in line
    assert path.read_text() == "my notes"


PLUGIN = """
from typing import NamedTuple
import numpy as np
from mpi_fed.compressors import compressors
from mpi_fed.compressors.none import NoCompression
from mpi_fed.engine.wire_floats import pack

class FailsKernel(NamedTuple):
    value_bits: int
    chunk: np.ndarray
    dither: np.ndarray

@compressors.register
class Fails(NoCompression):
    kind = "fails"
    Kernel = FailsKernel
    where: str

    def kernel(self, dimension):
        from mpi4py import MPI

        if self.where == "python" and MPI.COMM_WORLD.rank == 1:
            raise ZeroDivisionError("a bug on one rank")
        return FailsKernel(*super().kernel(dimension))

    @staticmethod
    def encode(kernel, x, payload, message):
        if message.stream.client == 1 and message.stream.round == 50:
            raise ZeroDivisionError("a bug on one rank")
        return pack(x, kernel.value_bits, payload, message.stream, kernel.dither)
"""


@pytest.mark.slow
@pytest.mark.parametrize("where", ["python", "kernel"])
def test_a_plugin_that_fails_on_one_rank_ends_the_job(mpi_python: str, study: Path, where: str) -> None:
    """The plugin fails in Python, or in compiled code while the root waits in a collective. The message is printed."""
    (study / "plugin.py").write_text(PLUGIN)
    write_study(study / "test.toml", {"kind": "fails", "where": where}, BERNOULLI, **STUDY)
    options = ["--ranks=2", "--plugin=plugin.py", "--only=fails"]
    ended = command.run("run", "test.toml", *options, status=1, python=mpi_python, folder=study)
    assert f"mpi-fed: rank 1 on {os.uname().nodename} failed\nTraceback" in ended.stderr
    assert ended.stderr.count("ZeroDivisionError: a bug on one rank") == 1
