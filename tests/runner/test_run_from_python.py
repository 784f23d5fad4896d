"""`mpi_fed.run`: a study run from Python, in one process or on the ranks of a communicator."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mpi_fed.log.reader import read_log

if TYPE_CHECKING:
    from mpi_fed.launch.world import World

STUDY: dict[str, Any] = {
    "study": {"name": "from-python", "rounds": 30, "repetitions": 2, "clients": 2},
    "problem": {"kind": "gaussian", "dimension": 5},
    "compressor": [{"kind": "none"}, {"kind": "quantization", "levels": [1, 2]}],
}
UNCOMPILED = {**os.environ, "NUMBA_DISABLE_JIT": "1"}


def python(code: str, folder: Path) -> Any:
    """Run a program in `folder`, uncompiled, and return the JSON on the last line that it prints."""
    program = f"import json, mpi_fed\nstudy = json.loads({json.dumps(STUDY)!r})\n{code}"
    words = [sys.executable, "-P", "-c", program]
    answer = subprocess.run(words, cwd=folder, env=UNCOMPILED, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout.splitlines()[-1])


def test_one_process_runs_missing_configurations_and_returns_the_logs_in_order(tmp_path: Path) -> None:
    code = """
first = mpi_fed.run(study, progress=False)
second = mpi_fed.run(mpi_fed.load_study(study), out="runs")
print(json.dumps([[str(path) for path in paths] for paths in (first, second)]))
"""
    first, second = python(code, tmp_path)
    assert first == second
    logs = [read_log(tmp_path / path) for path in first]
    assert [log.label for log in logs] == ["none", "quantization levels=1", "quantization levels=2"]
    assert all(log.status == "complete" and log.path.parent.name == "from-python" for log in logs)


def test_threads_and_signal_handlers_of_the_caller_are_restored(tmp_path: Path) -> None:
    code = """
import os, signal
import scipy.linalg, threadpoolctl
os.environ.pop("OMP_NUM_THREADS", None)
threadpoolctl.threadpool_limits(2)
def facts():
    threads = [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    handlers = [str(signal.getsignal(signum)) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    return [threads, handlers, os.environ.get("OMP_NUM_THREADS")]
before = facts()
mpi_fed.run(study)
print(json.dumps([before, facts()]))
"""
    before, after = python(code, tmp_path)
    assert before == after


def test_wrong_input_raises_and_writes_nothing(tmp_path: Path) -> None:
    code = """
study["compressor"].append({"kind": "quantisation"})
try:
    mpi_fed.run(study)
except mpi_fed.InputError as error:
    print(json.dumps(str(error)))
"""
    message = python(code, tmp_path)
    assert message.startswith("<mapping>: [[compressor]] 3 kind is")
    assert 'did you mean "quantization"?' in message
    assert list(tmp_path.iterdir()) == []


def test_after_an_interruption_the_next_call_continues(tmp_path: Path) -> None:
    study = {**STUDY, "study": {**STUDY["study"], "rounds": 20_000, "repetitions": 1}, "compressor": [{"kind": "none"}]}
    program = f"""
import json, mpi_fed
try:
    mpi_fed.run(json.loads({json.dumps(study)!r}))
except KeyboardInterrupt as error:
    print(error)
"""
    words = [sys.executable, "-P", "-c", program]
    process = subprocess.Popen(
        words, cwd=tmp_path, env=UNCOMPILED, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    folder = tmp_path / "runs" / "from-python"
    until = time.monotonic() + 60
    while not list(folder.glob("*.h5")) and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert output == "a checkpoint is saved; run the study again to continue from it\n", errors
    (path,) = folder.glob("*.h5")
    assert read_log(path).status == "interrupted"
    subprocess.run(words, cwd=tmp_path, env=UNCOMPILED, capture_output=True, check=True)
    log = read_log(path)
    assert log.status == "complete"
    assert log.attributes["restarts"] == 1


@pytest.mark.mpi(ranks=2)
def test_ranks_of_a_communicator_give_the_trajectories_of_one_process(world: World, tmp_path: Path) -> None:
    from mpi4py import MPI

    import mpi_fed

    assert world.size == 2
    folder = Path(world.comm.bcast(str(tmp_path)))
    study = {**STUDY, "compressor": [{"kind": "quantization", "levels": 1}]}
    paths = mpi_fed.run(study, folder / "two", world.comm)
    assert paths == world.comm.bcast(paths)
    if world.is_root:
        alone = mpi_fed.run(study, folder / "one", MPI.COMM_SELF)
        for path, other in zip(paths, alone, strict=True):
            assert np.array_equal(read_log(path).excess_risk, read_log(other).excess_risk)


@pytest.mark.mpi(ranks=2)
def test_an_error_on_one_rank_is_raised_on_every_rank(world: World, tmp_path: Path) -> None:
    import mpi_fed

    assert world.size == 2
    study = STUDY if world.is_root else {**STUDY, "problem": {"kind": "gaussian", "dimension": -1}}
    with pytest.raises(mpi_fed.InputError, match="dimension is -1"):
        mpi_fed.run(study, tmp_path, world.comm)
