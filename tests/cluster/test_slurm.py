"""Jobs on a real Slurm of this machine (scripts/local_slurm.py), under both MPIs: each node of it is this machine.

Rounds run uncompiled, as nothing here depends on how fast they are.
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
"""Seconds for what takes seconds, on a machine that has other things to do."""
LONG, SECONDS_LONG = 10**9, 6000
SURROUNDINGS = {
    "NUMBA_DISABLE_JIT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_mpi_yield_when_idle": "1",  # each node believes that it has the machine's cores for itself
    "MPIR_CVAR_DEVICE_COLLECTIVES": "none",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
}


def local(folder: Path, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    answer = subprocess.run(
        [LOCAL, *arguments, "--folder", str(folder)], capture_output=True, text=True, timeout=PATIENCE
    )
    assert answer.returncode == status, answer.stderr
    return answer


def unavailable() -> str | None:
    """Why there can be no Slurm here."""
    programs = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if lacking := [name for name in programs if shutil.which(name, path=path) is None]:
        return f"no {', '.join(lacking)}: apt-get install slurm-wlm munge"
    return "Slurm's daemons need root" if os.geteuid() else None


@pytest.fixture(scope="module")
def here() -> Iterator[Path]:
    """A short folder: a socket's path has little room."""
    if reason := unavailable():
        pytest.fail(reason, pytrace=False) if MUST_HAVE_BOTH else pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        os.chmod(folder, 0o755)  # munged wants its socket to be reached by all users
        yield Path(folder)


@pytest.fixture(scope="module")
def configuration(here: Path) -> Iterator[str]:
    """The slurm.conf of a Slurm that runs."""
    folder = here / "slurm"
    said = local(folder, "start", "--nodes=4", "--cpus=2").stdout
    try:
        assert said == f"export SLURM_CONF={folder}/slurm.conf\n"
        yield f"{folder}/slurm.conf"
    finally:
        local(folder, "stop")


@pytest.fixture
def slurm(configuration: str, alone: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A Slurm without jobs, an empty current folder, and what its jobs inherit."""
    for name, value in {**SURROUNDINGS, "SLURM_CONF": configuration}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    yield configuration
    ask("scancel", "--user=root")
    wait(lambda: not jobs())


def ask(*words: str) -> str:
    answer = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
    assert answer.returncode == 0, f"{words}: {answer.stderr}"
    return answer.stdout


def jobs() -> list[str]:
    return ask("squeue", "--noheader", "--array", "--format=%i %T").splitlines()


def wait(done: Callable[[], object]) -> object:
    """Until it is true: what it gives."""
    end = time.monotonic() + PATIENCE
    while not (result := done()):
        assert time.monotonic() < end, f"{jobs()}\n{output()}"
        time.sleep(0.1)
    return result


def output() -> str:
    """All that the jobs have written."""
    return "\n".join(path.read_text(errors="replace") for path in sorted(Path().rglob("*.out")))


def two_compressors(rounds: int = 40, repetitions: int = 1) -> Path:
    """A study of two configurations."""
    tables = {"rounds": rounds, "repetitions": repetitions, "clients": 2, "problem": {"dimension": 5}}
    return write_study("study.toml", "none", 'kind = "quantization"\nlevels = 1', **tables)


def submit(python: str, *options: str, nodes: int = 2, **study: int) -> str:
    """Submit the study for two ranks; what is said about it."""
    words = ["--no-estimate", f"--nodes={nodes}", f"--tasks-per-node={2 // nodes}", "--time=10", *options]
    return command.run("submit", two_compressors(**study), *words, python=python, folder=Path.cwd()).stderr


def under_srun(python: str) -> int:
    """Over how many nodes two ranks may spread where srun starts MPICH's, which of several nodes may fail to meet."""
    return 1 if launcher.find_library(python).family == "MPICH" else 2


def states(folder: str = "runs") -> list[str]:
    return [row.state for row in status.examine(Path(folder))]


def is_over(folder: str = "runs") -> bool:
    return not {"running", "queued"} & set(states(folder)) and not jobs()


def rank_processes(rank: int) -> list[int]:
    """The processes that are this rank of a world of a job on this Slurm."""
    own, found = f"SLURM_CONF={os.environ['SLURM_CONF']}", []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_text().split("\0")
            names = dict(n.split("=", 1) for n in (path / "environ").read_text().split("\0") if "=" in n)
        except (OSError, UnicodeDecodeError):
            continue
        number = names.get("OMPI_COMM_WORLD_RANK", names.get("PMI_RANK"))
        is_rank = "python" in words[0] and "mpi_fed" in words and number == str(rank)
        if is_rank and own.partition("=")[2] == names.get("SLURM_CONF") and alive(int(path.name)):
            found.append(int(path.name))
    return found


def launcher_words(python: str) -> str:
    mpich = launcher.find_library(python).family == "MPICH"
    return "srun -K1 --mpi=pmi2" if mpich else "mpirun"


@pytest.mark.parametrize("nodes", [1, 2], ids=["one-node", "two-nodes"])
def test_an_array_does_a_study_through_a_warning_and_again_nothing(slurm: str, mpi_python: str, nodes: int) -> None:
    """The first task is warned as at its time limit: it saves, comes back, and ends. The folder's name is hostile.

    MPICH's ranks are started by srun on one node, by its own mpiexec on two.
    """
    out = "runs of $(touch pwned) 'x' %j"
    submit(mpi_python, f"--out={out}", nodes=nodes, rounds=SECONDS_LONG)
    first = status.examine(Path(out))[0]
    wait(lambda: Path(out, "test", first.file_name).exists())
    ask("scancel", "--signal=USR1", "--batch", first.job or "")
    wait(lambda: "mpi-fed: saved; back into the queue" in output())
    wait(lambda: is_over(out))
    assert states(out) == ["done", "done"], output()
    restarts, tasks = [], set()
    for path in Path(out, "test").glob("*.h5"):
        with h5py.File(path) as log:
            assert log.attrs["ranks"] == b"2"
            restarts.append(int(log.attrs["restarts"]))
            tasks.add(json.loads(log.attrs["slurm"])["SLURM_ARRAY_TASK_ID"])
    assert tasks == {"0", "1"}
    assert sorted(restarts) == [0, 1]  # the other task was left alone
    assert len(list(Path(out, "test", "jobs").glob("*.out"))) == 2
    again = submit(mpi_python, f"--out={out}", nodes=nodes, rounds=SECONDS_LONG)
    assert "2 done, 0 queued or running, 0 to submit" in again
    assert jobs() == []
    assert not list(Path().rglob("pwned"))


def test_a_killed_rank_ends_its_job_which_says_where(slurm: str, mpi_python: str) -> None:
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
    # Open MPI names the rank that it noticed first: the killed one, or the one that lost its connection to it.
    said = output()
    tells = rf"rank 1 is process {process} on \S+$(.|\n)*PID {process} RUNNING AT n[1-4]"
    assert re.search(rf"process rank [01] with PID \d+ on node n[1-4]|{tells}", said, re.MULTILINE), said
    assert f"ended with exit status {killed.exit_status} on n" in said
    assert rank_processes(0) == []


def test_ranks_that_do_not_meet_fail_and_status_says_so(slurm: str, mpi_python: str) -> None:
    """Both are refused, as worlds of one; the study is whole, so it is the launcher that is wrong."""
    Path("site.toml").write_text('launcher = "srun -K1 --mpi=none"')
    submit(mpi_python, "--profile=site.toml", "--only=none")
    wait(is_over)
    row = status.examine(Path("runs"))[0]
    assert row.state == "failed"
    assert row.note.startswith("the launcher started 2 ranks, but their MPI world has 1"), output()
    assert row.exit_status in (3, 143)  # srun tells the status of the rank that it ended, if there was time to end it


def test_a_study_that_was_spoilt_after_it_was_submitted_fails(slurm: str, mpi_python: str) -> None:
    submit(mpi_python, "--sbatch=--hold")
    assert states() == ["queued", "queued"]
    Path("study.toml").write_text("[study]\nname = 3\n")
    for job in [line.split()[0] for line in jobs()]:
        ask("scontrol", "release", job)
    wait(is_over)
    for row in status.examine(Path("runs")):
        assert row.state == "failed"
        assert "study.toml: no compressor is given" in row.note, output()
        assert row.exit_status in (2, 137)  # under srun an abort is a kill


def test_a_cancelled_job_does_not_come_back(slurm: str, mpi_python: str) -> None:
    submit(mpi_python, "--only=none", rounds=LONG)
    wait(lambda: any(row.rounds_done for row in status.examine(Path("runs"))))
    ask("scancel", status.examine(Path("runs"))[0].job or "")
    wait(is_over)
    assert states()[0] in ("failed", "interrupted")
    wait(lambda: not rank_processes(0) + rank_processes(1))


def test_a_template_runs_through_a_warning(slurm: str, mpi_python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The study as one job by mpirun, or as an array by srun."""
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


def test_a_job_whose_node_dies_goes_on_elsewhere(slurm: str, mpi_python: str) -> None:
    """Slurm is told, to save the time until it notices, and all on the node is killed."""
    submit(mpi_python, "--only=none", "--checkpoint-seconds=0.2", rounds=SECONDS_LONG)
    wait(lambda: list(Path().glob("runs/test/*.checkpoint")))
    (process,) = rank_processes(1)
    node = node_of(process)
    daemon = int((Path(slurm).parent / f"slurmd-{node}.pid").read_text())
    steps = [int(path.name) for path in Path("/proc").glob("[0-9]*") if is_step(path, node)]
    assert steps
    os.kill(daemon, signal.SIGKILL)  # before it can say that the node is well
    ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=killed")
    for victim in [*(one for step in steps for one in family(step)), process]:
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
    """The node of Slurm that a process of a step is on."""
    with contextlib.suppress(OSError):
        names = Path(f"/proc/{process}/environ").read_text(errors="replace").split("\0")
        return next((name.partition("=")[2] for name in names if name.startswith("SLURMD_NODENAME=")), None)
    return None


def is_step(path: Path, node: str) -> bool:
    """Whether a process is what looks after a step on a node of this Slurm: its children are the step's."""
    try:
        own = f"SLURM_CONF={os.environ['SLURM_CONF']}\0" in (path / "environ").read_text(errors="replace")
        is_one = own and (path / "cmdline").read_text().startswith("slurmstepd")
    except OSError:
        return False
    return is_one and node in map(node_of, children(int(path.name)))


def test_local_slurm_says_what_it_is(slurm: str, here: Path) -> None:
    said = local(here / "slurm", "status").stdout
    assert re.findall("^n[1-4] ", said, re.MULTILINE) == ["n1 ", "n2 ", "n3 ", "n4 "]
    assert "one runs already" in local(here / "slurm", "start", status=2).stderr
    local(here / "other", "status", status=1)
    assert not (here / "other").exists()


def test_local_slurm_listens_on_loopback_alone(slurm: str, here: Path) -> None:
    daemons = [int(path.read_text()) for path in (here / "slurm").glob("*.pid")]
    assert len(daemons) == 5
    inodes = {os.readlink(fd) for process in daemons for fd in Path(f"/proc/{process}/fd").iterdir()}
    for table, loopback in (("tcp", "0100007F"), ("tcp6", "0" * 24 + "01000000")):
        rows = [line.split() for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
        heard = [row[1].partition(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes]
        assert set(heard) <= {loopback}
        assert table != "tcp" or len(heard) == 5


def test_local_slurm_starts_over_what_was_killed_and_leaves_nothing(here: Path) -> None:
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


def test_local_slurm_takes_no_folder_of_others(here: Path) -> None:
    (here / "mine").mkdir(exist_ok=True)
    (here / "mine" / "file").touch()
    for what in ("start", "stop"):
        assert "holds other things" in local(here / "mine", what, status=2).stderr
    assert (here / "mine" / "file").exists()
