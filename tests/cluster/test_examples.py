"""The batch files in slurm/ are made from their template, and no script has anything that shellcheck finds."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from support.mpi_tests import MUST_HAVE_BOTH
from support.submit_command import scripts

from mpi_fed.cluster.examples import EXAMPLES, FOLDER, example

PROFILE = """
python = "python"
launcher = "srun -K1 --mpi=pmi2"
modules = ["openmpi/4.1"]
setup = ["ulimit -l unlimited"]
environment = { A = "b c" }
"""


def shellcheck(script: str) -> str:
    """What the linter of shell finds in a script."""
    if shutil.which("shellcheck") is None:
        reason = "no shellcheck: apt-get install shellcheck"
        pytest.fail(reason) if MUST_HAVE_BOTH else pytest.skip(reason)
    return subprocess.run(["shellcheck", "-"], input=script, capture_output=True, text=True).stdout


@pytest.mark.parametrize("name", EXAMPLES)
def test_files_are_made_from_the_template(name):
    assert (FOLDER / name).read_text() == example(name), "write it again: python -m mpi_fed.cluster.examples"


def test_there_are_no_other_files():
    assert {path.name for path in FOLDER.glob("*.sbatch")} == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_files_are_sound_shell(name):
    assert shellcheck(example(name)) == ""


@pytest.mark.parametrize("profile", ["", PROFILE], ids=["plain", "profile"])
def test_a_job_is_sound_shell(elsewhere, capsys, profile):
    Path("site.toml").write_text(profile)
    script, _ = scripts(capsys, "--profile=site.toml", "--bundle-minutes=0", "--array-limit=7")
    assert shellcheck(script) == ""
