"""Resources of a job from options and profiles, and values that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.submit_command import refusal

from mpi_fed.cluster.resources import seconds_of

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 5400), ("1:30", 90), ("2:00:01", 7201), ("1-2", 93600), ("1-2:3", 93780), ("1-2:3:4", 93784)],
)
def test_times_are_read_in_the_forms_of_slurm(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("out", ['quo"te', "back\\slash", "line\nbreak", "bell\a"])
def test_folders_that_an_sbatch_line_cannot_hold_are_refused(capsys: pytest.CaptureFixture[str], out: str) -> None:
    assert "an #SBATCH line cannot hold" in refusal(capsys, f"--out={out}")


BAD_OPTIONS = [
    ("--partition=a b", "partition is"),
    ("--partition=a\n#SBATCH --wrap=x", "partition is"),
    ("--account=$(x)", "account is"),
    ("--qos=`x`", "qos is"),
    ("--constraint=a;b", "constraint is"),
    ("--mem=lots", 'mem is "lots", but must be like 4G'),
    ("--mem=4G\n", "mem is"),
    ("--time=tomorrow", "time is"),
    ("--time=1:2:3:4", "time is"),
    ("--nodes=0", "not an integer of at least 1"),
    ("--array-limit=-1", "array-limit"),
    ("--sbatch=gres=gpu:1", "one option of sbatch"),
    ("--sbatch=--gres=gpu:1 --wrap=x", "one option of sbatch"),
    ("--sbatch=--comment=a\n#SBATCH --wrap=x", "one option of sbatch"),
    ('--sbatch=--comment="a"', "one option of sbatch"),
    ("--sbatch=--array=0-5", "--array is set by mpi-fed submit"),
    ("--sbatch=--arr=0-5", "--array is set by mpi-fed submit"),
    ("--sbatch=--wrap=x", "--wrap is set by mpi-fed submit"),
    ("--sbatch=--ntasks-per-node=3", "has its own key: tasks_per_node"),
    ("--max-core-hours=many", "is not a number"),
    ("--profile=nowhere.toml", "nowhere.toml: cannot read the profile"),
]


@pytest.mark.parametrize(("option", "words"), BAD_OPTIONS, ids=[option for option, _ in BAD_OPTIONS])
def test_bad_options_are_refused(capsys: pytest.CaptureFixture[str], option: str, words: str) -> None:
    assert words in refusal(capsys, option)


BAD_PROFILES = [
    ('partitoin = "a"', ['no key "partitoin"; did you mean "partition"?']),
    ("nodes = 0", ["nodes is 0", "at least 1"]),
    ('nodes = "2"', ["nodes is"]),
    ('partition = "a; touch pwned"', ["partition is"]),
    ('launcher = "mpirun \'"', ["launcher is", "each quote closed"]),
    ('launcher = ""', ["launcher is"]),
    ('modules = ["a; touch pwned"]', ["modules is", "a module's name"]),
    ('modules = ["$(touch pwned)"]', ["modules is"]),
    ('setup = ["a\\nb"]', ["setup is", "one line of shell"]),
    ('environment = { "A;B" = "c" }', ["environment is"]),
    ('environment = { A = "b\\nc" }', ["environment is"]),
    ("environment = 3", ["environment is"]),
    ('sbatch = ["--wrap=x"]', ["--wrap is set by"]),
    ("x = ", ["not valid TOML"]),
]


@pytest.mark.parametrize(("text", "words"), BAD_PROFILES, ids=[text for text, _ in BAD_PROFILES])
def test_bad_profiles_are_refused(capsys: pytest.CaptureFixture[str], text: str, words: list[str]) -> None:
    Path("site.toml").write_text(text)
    line = refusal(capsys, "--profile=site.toml")
    assert "site.toml" in line
    assert [word for word in words if word not in line] == []
