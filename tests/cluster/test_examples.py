"""The batch files in slurm/ are made from their template, and shellcheck finds nothing in them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.mpi_tests import MUST_HAVE_BOTH
from support.submit_command import program, scripts

from mpi_fed.cluster.examples import EXAMPLES, example, main

FOLDER = Path(__file__).parents[2] / "slurm"

PROFILE = """
python = "python"
launcher = "srun -K1 --mpi=pmi2"
modules = ["openmpi/4.1"]
setup = ["ulimit -l unlimited"]
environment = { A = "b c" }
"""
MPI_FED = """
if [ "${*: -1}" = --dry-run ]; then printf 'test: 2 configurations\\n  a  a.h5\\n  b  b.h5\\n'; exit; fi
[ "$1" = doctor ] || { echo "$*" >> calls; exit "$(cat status)"; }
"""


def shellcheck(script: str) -> str:
    """Return the output of shellcheck for a script."""
    if shutil.which("shellcheck") is None:
        reason = "no shellcheck: apt-get install shellcheck"
        pytest.fail(reason) if MUST_HAVE_BOTH else pytest.skip(reason)
    return subprocess.run(["shellcheck", "-"], input=script, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("name", EXAMPLES)
def test_files_are_made_from_the_template(name: str) -> None:
    assert (FOLDER / name).read_text() == example(name), "write it again: python -m mpi_fed.cluster.examples slurm"


def test_the_program_writes_all_files_into_a_folder(tmp_path: Path) -> None:
    main([str(tmp_path)])
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: example(name) for name in EXAMPLES}


def test_the_folder_holds_no_other_batch_files() -> None:
    assert {path.name for path in FOLDER.glob("*.sbatch")} == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_shellcheck_accepts_the_files(name: str) -> None:
    assert shellcheck(example(name)) == ""


@pytest.mark.parametrize("profile", ["", PROFILE], ids=["plain", "profile"])
def test_shellcheck_accepts_a_job(elsewhere: Path, capsys: pytest.CaptureFixture[str], profile: str) -> None:
    Path("site.toml").write_text(profile)
    script, _ = scripts(capsys, "--profile=site.toml", "--bundle-minutes=0", "--array-limit=7")
    assert shellcheck(script) == ""


@pytest.mark.parametrize(("status", "requeued"), [(0, False), (1, False), (85, True)])
@pytest.mark.parametrize(
    ("name", "words", "job"),
    [
        ("single.sbatch", "run study.toml --out runs", "7"),
        ("array.sbatch", "run study.toml --out runs --only b.h5 --no-analyze", "5_1"),
    ],
)
def test_a_file_runs_its_configurations_and_is_requeued_after_saving(
    elsewhere: Path, name: str, words: str, job: str, status: int, requeued: bool
) -> None:
    program("mpi-fed", MPI_FED)
    program("mpirun", 'exec "$@"')
    program("scontrol", 'echo "$*" >> requeued')
    Path("status").write_text(str(status))
    numbers = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "1"}
    path = {"PATH": f"{Path('bin').absolute()}:{os.environ['PATH']}"}
    answer = subprocess.run(["bash", str(FOLDER / name), "study.toml"], env=os.environ | numbers | path, check=False)
    assert Path("calls").read_text() == f"{words}\n"
    assert answer.returncode == (0 if requeued else status)
    assert Path("requeued").exists() == requeued
    assert not requeued or Path("requeued").read_text() == f"requeue {job}\n"
