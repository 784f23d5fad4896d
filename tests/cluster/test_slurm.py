"""Jobs on a real Slurm (scripts/local_slurm.py), all of whose nodes are this machine, under both MPIs.

Rounds run uncompiled, because no test here depends on their speed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import pytest
from support import command
from support.mpi_tests import MUST_HAVE_BOTH
from support.processes import alive, children, family
from support.study_text import write_study

from mpi_fed.cluster import status
from mpi_fed.launch import launcher

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LOCAL = str(ROOT / "scripts" / "local_slurm.py")
PATIENCE = 120
"""Seconds after which a wait fails; usually it takes some seconds, but the machine may be busy."""
LONG, SECONDS_LONG = 10**9, 6000
"""Rounds of an endless run, and of a run of some seconds."""
ENVIRONMENT = {
    "NUMBA_DISABLE_JIT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_mpi_yield_when_idle": "1",  # several nodes share the machine's cores
    "MPIR_CVAR_DEVICE_COLLECTIVES": "none",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
}


def local(folder: Path, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run scripts/local_slurm.py and check its exit status."""
    answer = subprocess.run(
        [LOCAL, *arguments, "--folder", str(folder)], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert answer.returncode == status, answer.stderr
    return answer


def unavailable() -> str | None:
    """Return the reason why no Slurm can run here, or None."""
    programs = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if missing := [name for name in programs if shutil.which(name, path=path) is None]:
        return f"no {', '.join(missing)}: apt-get install slurm-wlm munge"
    return "Slurm's daemons need root" if os.geteuid() else None


@pytest.fixture(scope="module")
def here() -> Iterator[Path]:
    """A folder with a short path, because the path of a socket has a small limit."""
    if reason := unavailable():
        pytest.fail(reason, pytrace=False) if MUST_HAVE_BOTH else pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        os.chmod(folder, 0o755)  # munged requires that all users can reach its socket
        yield Path(folder)


@pytest.fixture(scope="module")
def configuration(here: Path) -> Iterator[str]:
    """The slurm.conf of a running Slurm."""
    folder = here / "slurm"
    output = local(folder, "start", "--nodes=4", "--cpus=2").stdout
    try:
        assert output == f"export SLURM_CONF={folder}/slurm.conf\n"
        yield f"{folder}/slurm.conf"
    finally:
        local(folder, "stop")


@pytest.fixture
def slurm(configuration: str, alone: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A Slurm without jobs, an empty current folder, and the environment that jobs inherit."""
    for name, value in {**ENVIRONMENT, "SLURM_CONF": configuration}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    yield configuration
    ask("scancel", "--user=root")
    wait(lambda: not jobs())


def ask(*words: str) -> str:
    answer = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert answer.returncode == 0, f"{words}: {answer.stderr}"
    return answer.stdout


def jobs() -> list[str]:
    return ask("squeue", "--noheader", "--array", "--format=%i %T").splitlines()


def wait(done: Callable[[], object]) -> object:
    """Wait until the function returns a true value, and return it."""
    end = time.monotonic() + PATIENCE
    while not (result := done()):
        assert time.monotonic() < end, f"{jobs()}\n{output()}"
        time.sleep(0.1)
    return result


def output() -> str:
    """Return the output of all jobs."""
    return "\n".join(path.read_text(errors="replace") for path in sorted(Path().rglob("*.out")))


def two_compressors(rounds: int = 40, repetitions: int = 1) -> Path:
    """Write a study with two configurations and return its path."""
    tables = {"rounds": rounds, "repetitions": repetitions, "clients": 2, "problem": {"dimension": 5}}
    return write_study("study.toml", "none", 'kind = "quantization"\nlevels = 1', **tables)


def submit(python: str, *options: str, nodes: int = 2, **study: int) -> str:
    """Submit the study for two ranks, and return the standard error."""
    words = ["--no-estimate", f"--nodes={nodes}", f"--tasks-per-node={2 // nodes}", "--time=10", *options]
    return command.run("submit", two_compressors(**study), *words, python=python, folder=Path.cwd()).stderr


def under_srun(python: str) -> int:
    """Return the number of nodes for two ranks under srun, which may fail to connect MPICH's ranks of several nodes."""
    return 1 if launcher.find_library(python).family == "MPICH" else 2


def states(folder: str = "runs") -> list[str]:
    return [row.state for row in status.examine(Path(folder))]


def is_over(folder: str = "runs") -> bool:
    return not {"running", "queued"} & set(states(folder)) and not jobs()


def rank_processes(rank: int) -> list[int]:
    """Return the processes of this rank in jobs of this Slurm."""
    configuration, processes = os.environ["SLURM_CONF"], []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_text().split("\0")
            names = dict(n.split("=", 1) for n in (path / "environ").read_text().split("\0") if "=" in n)
        except (OSError, UnicodeDecodeError):
            continue
        number = names.get("OMPI_COMM_WORLD_RANK", names.get("PMI_RANK"))
        is_rank = "python" in words[0] and "mpi_fed" in words and number == str(rank)
        if is_rank and configuration == names.get("SLURM_CONF") and alive(int(path.name)):
            processes.append(int(path.name))
    return processes


def launcher_words(python: str) -> str:
    mpich = launcher.find_library(python).family == "MPICH"
    return "srun -K1 --mpi=pmi2" if mpich else "mpirun"


@pytest.mark.parametrize("nodes", [1, 2], ids=["one-node", "two-nodes"])
def test_an_array_completes_a_study_in_spite_of_a_warning(slurm: str, mpi_python: str, nodes: int) -> None:
    """The first task is warned as at its time limit: it saves, is requeued, and ends. A new submission submits nothing.

    The folder's name is hostile. MPICH's ranks are started by srun on one node, and by its own mpiexec on two nodes.
    """
    out = "runs of $(touch pwned) 'x' %j"
    submit(mpi_python, f"--out={out}", nodes=nodes, rounds=SECONDS_LONG)
    first = status.examine(Path(out))[0]
    wait(lambda: Path(out, "test", first.file_name).exists())
    ask("scancel", "--signal=USR1", "--batch", first.job or "")
    wait(lambda: "mpi-fed: saved; back in the queue" in output())
    wait(lambda: is_over(out))
    assert states(out) == ["done", "done"], output()
    restarts, tasks = [], set()
    for path in Path(out, "test").glob("*.h5"):
        with h5py.File(path) as log:
            assert log.attrs["ranks"] == b"2"
            restarts.append(int(log.attrs["restarts"]))
            tasks.add(json.loads(log.attrs["slurm"])["SLURM_ARRAY_TASK_ID"])
    assert tasks == {"0", "1"}
    assert sorted(restarts) == [0, 1]  # the other task was not requeued
    assert len(list(Path(out, "test", "jobs").glob("*.out"))) == 2
    again = submit(mpi_python, f"--out={out}", nodes=nodes, rounds=SECONDS_LONG)
    assert "2 done, 0 queued or running, 0 to submit" in again
    assert jobs() == []
    assert not list(Path().rglob("pwned"))


def test_a_killed_rank_ends_its_job_and_its_node_is_reported(slurm: str, mpi_python: str) -> None:
    submit(mpi_python, "--only=none", rounds=LONG)
    wait(lambda: any(row.rounds_done for row in status.examine(Path("runs"))))
    assert states()[0] == "running"
    assert "0 done, 1 queued or running, 0 to submit" in submit(mpi_python, "--only=none", rounds=LONG)
    (process,) = rank_processes(1)
    os.kill(process, signal.SIGKILL)
    wait(is_over)
    killed, other = status.examine(Path("runs"))
    assert (killed.state, other.state) == ("failed", "missing")
    assert killed.exit_status not in (None, 0)
    # Open MPI reports the rank that it noticed first: the killed rank, or a rank that lost its connection to it.
    text = output()
    mpich = rf"rank 1 is process {process} on \S+$(.|\n)*PID {process} RUNNING AT n[1-4]"
    assert re.search(rf"process rank [01] with PID \d+ on node n[1-4]|{mpich}", text, re.MULTILINE), text
    assert f"ended with exit status {killed.exit_status} on n" in text
    assert rank_processes(0) == []


def test_a_wrong_launcher_fails_and_status_gives_the_reason(slurm: str, mpi_python: str) -> None:
    """The two ranks do not connect and are two worlds of one rank each."""
    Path("site.toml").write_text('launcher = "srun -K1 --mpi=none"')
    submit(mpi_python, "--profile=site.toml", "--only=none")
    wait(is_over)
    row = status.examine(Path("runs"))[0]
    assert row.state == "failed"
    assert row.note.startswith("the launcher started 2 ranks, but their MPI world has 1"), output()
    assert row.exit_status in (3, 143)  # 143 if srun had time to end the other rank


def test_a_study_that_is_damaged_after_its_submission_fails(slurm: str, mpi_python: str) -> None:
    submit(mpi_python, "--sbatch=--hold")
    assert states() == ["queued", "queued"]
    Path("study.toml").write_text("[study]\nname = 3\n")
    for job in [line.split()[0] for line in jobs()]:
        ask("scontrol", "release", job)
    wait(is_over)
    for row in status.examine(Path("runs")):
        assert row.state == "failed"
        assert "study.toml: no compressor is given" in row.note, output()
        assert row.exit_status in (2, 137)  # srun reports an abort as a kill


def test_a_cancelled_job_is_not_requeued(slurm: str, mpi_python: str) -> None:
    submit(mpi_python, "--only=none", rounds=LONG)
    wait(lambda: any(row.rounds_done for row in status.examine(Path("runs"))))
    ask("scancel", status.examine(Path("runs"))[0].job or "")
    wait(is_over)
    assert states()[0] in ("failed", "interrupted")
    wait(lambda: not rank_processes(0) + rank_processes(1))


def test_an_example_file_completes_a_study_in_spite_of_a_warning(
    slurm: str, mpi_python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The study is one job with mpirun, or an array with srun."""
    monkeypatch.setenv("PATH", f"{Path(mpi_python).parent}:{os.environ['PATH']}")
    words = launcher_words(mpi_python)
    name, options = ("single", []) if words == "mpirun" else ("array", ["--array=0-1"])
    text = (ROOT / "slurm" / f"{name}.sbatch").read_text()
    places = f"--nodes={under_srun(mpi_python)} --ntasks=2"
    edited = text.replace("--ntasks=4", places).replace("(mpirun)", f"({words})")
    assert edited.count("--ntasks=2") == 1
    Path("job.sbatch").write_text(edited)
    job = ask("sbatch", "--parsable", *options, "job.sbatch", str(two_compressors(rounds=SECONDS_LONG))).strip()
    wait(lambda: list(Path().glob("runs/test/none-*.h5")))
    ask("scancel", "--signal=USR1", "--batch", f"{job}_0" if options else job)
    wait(lambda: any("PENDING" in line for line in jobs()))
    wait(lambda: not jobs())
    assert states() == ["done", "done"], output()
    assert len(list(Path().glob("mpi-fed-*.out"))) == (2 if options else 1)


def test_a_job_whose_node_fails_continues_on_another_node(slurm: str, mpi_python: str) -> None:
    """All processes of the node are killed, and the node is set to DOWN, to save the time until Slurm notices."""
    submit(mpi_python, "--only=none", "--checkpoint-seconds=0.2", rounds=SECONDS_LONG)
    wait(lambda: list(Path().glob("runs/test/*.checkpoint")))
    (process,) = rank_processes(1)
    node = node_of(process)
    assert node is not None
    daemon = int((Path(slurm).parent / f"slurmd-{node}.pid").read_text())
    steps = [int(path.name) for path in Path("/proc").glob("[0-9]*") if is_step(path, node)]
    assert steps
    os.kill(daemon, signal.SIGKILL)  # before it can report that the node is up
    ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=killed")
    for victim in [*(member for step in steps for member in family(step)), process]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    try:
        wait(is_over)
        assert states()[0] == "done", output()
        with h5py.File(next(Path("runs/test").glob("*.h5"))) as log:
            assert log.attrs["restarts"] == 1
    finally:
        subprocess.run(["/usr/sbin/slurmd", "-N", node, "-f", slurm], check=True)
        wait(lambda: ask("sinfo", "--noheader", "--Node", "--format=%T").split() == ["idle"] * 4)


def node_of(process: int) -> str | None:
    """Return the node of Slurm on which a process of a step runs, or None."""
    with contextlib.suppress(OSError):
        names = Path(f"/proc/{process}/environ").read_text(errors="replace").split("\0")
        return next((name.partition("=")[2] for name in names if name.startswith("SLURMD_NODENAME=")), None)
    return None


def is_step(path: Path, node: str) -> bool:
    """Return whether a process of this Slurm is the slurmstepd of a step on a node, whose children are the step's."""
    try:
        is_ours = f"SLURM_CONF={os.environ['SLURM_CONF']}\0" in (path / "environ").read_text(errors="replace")
        is_stepd = is_ours and (path / "cmdline").read_text().startswith("slurmstepd")
    except OSError:
        return False
    return is_stepd and node in map(node_of, children(int(path.name)))


def test_local_slurm_prints_its_nodes(slurm: str, here: Path) -> None:
    output = local(here / "slurm", "status").stdout
    assert re.findall("^n[1-4] ", output, re.MULTILINE) == ["n1 ", "n2 ", "n3 ", "n4 "]
    assert "a Slurm already runs" in local(here / "slurm", "start", status=2).stderr
    local(here / "other", "status", status=1)
    assert not (here / "other").exists()


def test_local_slurm_listens_only_on_loopback(slurm: str, here: Path) -> None:
    daemons = [int(path.read_text()) for path in (here / "slurm").glob("*.pid")]
    assert len(daemons) == 5
    inodes = {os.readlink(fd) for process in daemons for fd in Path(f"/proc/{process}/fd").iterdir()}
    for table, loopback in (("tcp", "0100007F"), ("tcp6", "0" * 24 + "01000000")):
        rows = [line.split() for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
        addresses = [row[1].partition(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes]
        assert set(addresses) <= {loopback}
        assert table != "tcp" or len(addresses) == 5


def test_local_slurm_replaces_a_killed_slurm_and_leaves_nothing_behind(here: Path) -> None:
    folder = here / "killed"
    local(folder, "start", "--nodes=1")
    files = [folder / "slurmctld.pid", folder / "slurmd-n1.pid", folder / "munge" / "pid"]
    first = [int(path.read_text()) for path in files]
    os.kill(first[0], signal.SIGKILL)
    os.kill(first[2], signal.SIGKILL)
    local(folder, "start", "--nodes=1")
    second = [int(path.read_text()) for path in files]
    assert not any(map(alive, first))
    assert all(map(alive, second))
    local(folder, "stop")
    assert not any(map(alive, second))
    assert not folder.exists()


def test_local_slurm_refuses_a_folder_with_other_files(here: Path) -> None:
    (here / "mine").mkdir(exist_ok=True)
    (here / "mine" / "file").touch()
    for action in ("start", "stop"):
        assert "contains files that do not belong to a local Slurm" in local(here / "mine", action, status=2).stderr
    assert (here / "mine" / "file").exists()
