"""Wrong input gives exit status 2 and one sentence that names the place. Nothing is written, no launcher starts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from support import command

import mpi_fed.study.load  # noqa: F401 - loads the compiler, which some commands do not load
from mpi_fed.cli import main, options
from mpi_fed.engine import compile_switch
from mpi_fed.launch import launcher
from mpi_fed.study import plan

SMALL = """
[study]
name = "small"
rounds = 100
clients = 2

[problem]
kind = "gaussian"
dimension = 20

[[compressor]]
kind = "none"
"""
NUMPY = np.random.Generator(np.random.PCG64(0))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder, made the current one, outside any launcher."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compile_switch, "compile_kernels", compile_switch.compile_kernels)
    monkeypatch.setattr(launcher, "launch", lambda *arguments: pytest.fail("the launcher was started"))
    for name in list(os.environ):
        if name.startswith(("OMPI_", "PMI_", "PMIX_", "SLURM_")):
            monkeypatch.delenv(name)
    return tmp_path


def refusal(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Return the sentence with which a command refuses to run, after checks of its status, output and files."""
    before = contents()
    assert main.main(argv) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("mpi-fed: ")
    assert len(output.err.splitlines()) == 1
    assert contents() == before
    return output.err


def contents() -> list[str]:
    """Return the paths of all files and folders in the current folder."""
    return sorted(str(path) for path in Path().rglob("*"))


def replaced(old: str, new: str) -> str:
    assert old in SMALL
    return SMALL.replace(old, new)


def compressor(text: str) -> str:
    return replaced('kind = "none"', text)


def of_file(keys: str) -> str:
    return replaced('kind = "gaussian"\ndimension = 20', f'kind = "file"\n{keys}')


STUDIES = [
    # syntax
    ("[study\nname", ["not valid TOML", "line 1"]),
    ("a = \x01", ["not valid TOML", "line 1"]),
    ("x = " + "[" * 5000, ["not valid TOML", "nested"]),
    ("x = " + "9" * 5000, ["not valid TOML"]),
    # tables
    ("", ["[[compressor]]"]),
    ("[study]\n", ["[[compressor]]"]),
    (SMALL + "[roote]\n", ['"roote"', 'did you mean "route"']),
    ("rounds = 5\n" + SMALL, ['"rounds"', "problem"]),
    ("log = 5\n" + SMALL, ["[log]"]),
    (replaced("[[compressor]]", "[compressor]"), ["[[compressor]]", "two brackets"]),
    (replaced("[problem]", "[[problem]]"), ["problem", "[problem]"]),
    # missing keys
    (replaced('name = "small"\n', ""), ["[study]", "name"]),
    (replaced("rounds = 100\n", ""), ["[study]", "rounds", "an integer"]),
    (replaced("dimension = 20", ""), ["[problem]", "dimension", "an integer, at least 1"]),
    (replaced('kind = "gaussian"', ""), ["[problem]", "kind", '"gaussian"', '"digits"']),
    (replaced('kind = "none"', ""), ["[[compressor]] 1", "kind", '"quantization"']),
    (SMALL.partition("[problem]")[0] + '[[compressor]]\nkind = "none"', ["[problem]", "kind"]),
    # unknown keys and kinds
    (replaced("dimension", "dimensoin"), ["[problem]", '"dimensoin"', 'did you mean "dimension"']),
    (replaced("clients", "client"), ["[study]", '"client"', 'did you mean "clients"']),
    (compressor('kind = "none"\nlevels = 1'), ["[[compressor]] 1", '"levels"', '"value_bits"']),
    (compressor('kind = "quantisation"'), ["[[compressor]] 1", "kind", 'did you mean "quantization"']),
    (SMALL + '[algorithm]\nkind = "adam"', ["[algorithm]", "kind", '"adam"', '"sgd"']),
    (SMALL + '[route]\nkind = "gatherw"', ["[route]", "kind", '"gather']),
    (SMALL + "[route]\nkind = 3", ["[route]", "kind is 3", '"auto"']),
    (SMALL + "[log]\niterate = 3", ["[log]", 'did you mean "iterates"']),
    # wrong types
    (replaced("rounds = 100", 'rounds = "many"'), ["[study]", 'rounds is "many"', "an integer, at least 1"]),
    (replaced("rounds = 100", "rounds = 1.5"), ["[study]", "rounds is 1.5", "an integer"]),
    (replaced("rounds = 100", "rounds = true"), ["[study]", "rounds is true", "an integer"]),
    (replaced("rounds = 100", "rounds = 2024-01-01"), ["[study]", "rounds", "2024-01-01"]),
    (replaced("rounds = 100", "rounds = {a = 1}"), ["[study]", "rounds"]),
    (replaced("dimension = 20", "dimension = [[1, 2]]"), ["[problem]", "dimension is [1, 2]", "an integer"]),
    (replaced("dimension = 20", "dimension = []"), ["[problem]", "dimension", "empty"]),
    (
        replaced("dimension = 20", "dimension = 20\nnoise_variance = nan"),
        ["[problem]", "noise_variance", "nan"],
    ),
    (
        replaced("dimension = 20", "dimension = 20\nnoise_variance = -inf"),
        ["[problem]", "noise_variance", "-inf"],
    ),
    (
        replaced("dimension = 20", "dimension = 9_223_372_036_854_775_808"),
        ["[problem]", "dimension", "64 bits"],
    ),
    (
        replaced("dimension = 20", 'dimension = 20\nrotation = "hat"'),
        ["rotation is", '"householder"', '"haar"'],
    ),
    (
        replaced("dimension = 20", 'dimension = 20\nbatch_size = "all"'),
        ["batch_size is", "an integer", '"full"'],
    ),
    (SMALL + "[algorithm]\nstep_size = true", ["[algorithm]", "step_size is true", '"horizon"', "a number"]),
    (SMALL + '[algorithm]\ninitial = "missing.npy"', ["[algorithm]", "initial", "not a readable .npy file"]),
    (SMALL + '[algorithm]\ninitial = "/dev/null"', ["[algorithm]", "initial", "not a readable .npy file"]),
    (SMALL + '[algorithm]\ninitial = ["a"]', ["[algorithm]", "initial is", "a list of numbers"]),
    (SMALL + '[log]\niterates = "some"', ["[log]", "iterates is", '"all"', '"last"', '"none"']),
    (SMALL + "[log]\npoints_per_decade = [1, 2]", ["[log]", "points_per_decade is [1, 2]", "an integer"]),
    # negative sizes and other wrong values
    (replaced("rounds = 100", "rounds = 0"), ["[study]", "rounds is 0", "at least 1"]),
    (replaced("clients = 2", "clients = -1"), ["[study]", "clients is -1", "at least 1"]),
    (replaced("clients = 2", "repetitions = 0"), ["[study]", "repetitions is 0", "at least 1"]),
    (replaced("clients = 2", "repetitions = []"), ["[study]", "repetitions is []", "a list of integers"]),
    (replaced("clients = 2", "repetitions = [1, -1]"), ["[study]", "repetitions is [1, -1]"]),
    (
        replaced("clients = 2", "repetitions = [1, 1]"),
        ["[study]", "repetitions is [1, 1]", "same seed twice"],
    ),
    (replaced("dimension = 20", "dimension = -20"), ["[problem]", "dimension is -20", "at least 1"]),
    (
        replaced("dimension = 20", "dimension = 20\nbatch_size = 0"),
        ["[problem]", "batch_size is 0", "at least 1"],
    ),
    (
        replaced("dimension = 20", "dimension = 20\nnoise_variance = -1"),
        ["noise_variance is -1", "at least 0"],
    ),
    (replaced("dimension = 20", "dimension = 20\nseed = -1"), ["[problem]", "seed is -1", "at least 0"]),
    (SMALL + "[algorithm]\nstep_size = -0.1", ["[algorithm]", "step_size is -0.1", "above 0"]),
    (SMALL + "[log]\npoints_per_decade = 0", ["[log]", "points_per_decade is 0", "at least 1"]),
    (replaced('"small"', '"../small"'), ["[study]", "name is", "letters"]),
    (replaced('"small"', '".small"'), ["[study]", "name is", "'.'"]),
    (replaced('"small"', '"a..b"'), ["[study]", "name is", "'..'"]),
    (replaced('"small"', '"-small"'), ["[study]", "name is", "'-'"]),
    (replaced('"small"', '"a\\nb"'), ["[study]", "name is"]),
    (replaced('"small"', '""'), ["[study]", "name is"]),
    (replaced('"small"', '["a", "b"]'), ["[study]", "name is"]),
    # compressors
    (compressor('kind = "bernoulli"\np = 0'), ["[[compressor]] 1", "p is 0", "above 0 and at most 1"]),
    (compressor('kind = "bernoulli"\np = 1.5'), ["[[compressor]] 1", "p is 1.5", "above 0 and at most 1"]),
    (compressor('kind = "partial-participation"\np = -1'), ["p is -1", "above 0 and at most 1"]),
    (compressor('kind = "bernoulli"'), ["[[compressor]] 1", "p", "omega"]),
    (compressor('kind = "bernoulli"\np = 0.5\nomega = 1'), ["[[compressor]] 1", "p", "omega"]),
    (compressor('kind = "rand-h"\nh = 21'), ["[[compressor]] 1", "h = 21", "20"]),
    (compressor('kind = "sketch"\nh = 21'), ["[[compressor]] 1", "h = 21", "20"]),
    (compressor('kind = "rand-h"\nh = 0'), ["[[compressor]] 1", "h is 0", "at least 1"]),
    (compressor('kind = "quantization"\nlevels = -1'), ["[[compressor]] 1", "levels is -1", "at least 1"]),
    (compressor('kind = "none"\nvalue_bits = 8'), ["[[compressor]] 1", "value_bits is 8", "16, 32 or 64"]),
    (SMALL + '[[compressor]]\nkind = "rand-h"\nh = 99', ["[[compressor]] 2", "h = 99"]),
    (SMALL + '[[compressor]]\nkind = "none"', ["[[compressor]] 2", "[[compressor]] 1"]),
    (replaced("dimension = 20", "dimension = [20, 20]"), ["none", "twice"]),
    (
        compressor('kind = "bernoulli"\np = 0.5') + '[route]\nkind = "gather"',
        ["[route]", "gather", "bernoulli"],
    ),
    # problems
    (
        replaced("dimension = 20", 'dimension = 10_001\nrotation = "haar"'),
        ["[problem]", "haar", "10001", "10000"],
    ),
    (replaced("dimension = 20", f"dimension = {list(range(1, 11000))}"), ["[problem]", "10,999", "10,000"]),
    (of_file(""), ["[problem]", "path", "text"]),
    (of_file('path = "gone.csv"'), ["[problem]", "path", "gone.csv", "does not exist"]),
    (of_file('path = "."'), ["[problem]", "path"]),
    (of_file('path = "no-data.csv"'), ["[problem]", "path", "no-data.csv"]),
    (of_file('path = "no-data.npz"'), ["[problem]", "path", "no-data.npz"]),
    (of_file('path = "no-data.h5"'), ["[problem]", "path", "no-data.h5"]),
    (of_file('path = "no-data.svm"'), ["[problem]", "path", "no-data.svm"]),
    (of_file('path = "no-data.csv.gz"'), ["[problem]", "path", "no-data.csv.gz"]),
    (of_file('path = "no-data.doc"'), ["[problem]", "path", "no-data.doc", ".npz"]),
    (of_file('path = "nan.npz"'), ["[problem]", "nan.npz", "nan", "column 2"]),
    (of_file('path = "inf.npz"'), ["[problem]", "inf.npz", "inf", "column 2"]),
    (of_file('path = "nan.csv"'), ["[problem]", "nan.csv"]),
    (of_file('path = "deficient.npz"'), ["[problem]", "deficient.npz", "rank-deficient", '"pca"']),
    (of_file('path = "constant.npz"'), ["[problem]", "constant.npz", "constant"]),
    (of_file('path = "uneven.npz"'), ["[problem]", "uneven.npz", "(3, 1)", "(2,)"]),
    (
        of_file('path = "small.npz"').replace("clients = 2", "clients = 31"),
        ["[problem]", "clients = 31", "30"],
    ),
    (
        of_file('path = "arrays.npz"').replace('"file"', '"arrays"'),
        ["[problem]", "arrays.npz", "clients = 2", "3"],
    ),
]


def write_data() -> None:
    """Write data files, each with an error."""
    for suffix in ("csv", "npz", "h5", "svm", "csv.gz", "doc"):
        with open(f"no-data.{suffix}", "wb") as file:
            file.write(b"\x00\xffthis is, no data at all\n\n\x80")
    x, y = NUMPY.standard_normal((30, 3)), NUMPY.standard_normal(30)
    for name, value in (("nan", np.nan), ("inf", np.inf)):
        bad = x.copy()
        bad[7, 1] = value
        np.savez(f"{name}.npz", features=bad, targets=y)
    np.savetxt("nan.csv", np.column_stack([np.where(x == x[7, 1], np.nan, x), y]), delimiter=",")
    np.savez("deficient.npz", features=np.column_stack([x, x[:, 0] - x[:, 1]]), targets=y)
    np.savez("constant.npz", features=np.ones((30, 3)), targets=y)
    np.savez("uneven.npz", features=x[:3, :1], targets=y[:2])
    np.savez("small.npz", features=x, targets=y)
    np.savez("arrays.npz", covariances=np.stack([np.eye(2)] * 3), optima=np.ones((3, 2)), noise_variance=1.0)


@pytest.mark.parametrize(("text", "named"), STUDIES, ids=[" ".join(named) for _, named in STUDIES])
def test_a_wrong_study_is_refused(
    text: str, named: list[str], capsys: pytest.CaptureFixture[str], elsewhere: Path
) -> None:
    if "path" in text:
        write_data()
    (elsewhere / "bad.toml").write_text(text)
    sentence = refusal(capsys, "run", "bad.toml", "--ranks", "1")
    for words in ["bad.toml", *named]:
        assert words in sentence


PLUGINS = {
    "fails.py": ("x = 1\n\n1 / 0\n", ["line 3", "ZeroDivisionError"]),
    "syntax.py": ("def\n", ["SyntaxError", "line 1"]),
    "exits.py": ("import sys\nsys.exit('no')\n", ["line 2", "SystemExit"]),
    "imports.py": ("import no_such_module_anywhere\n", ["line 1", "no_such_module_anywhere"]),
}


@pytest.mark.parametrize("name", PLUGINS)
def test_a_failing_plugin_is_reported_in_one_sentence(
    name: str, capsys: pytest.CaptureFixture[str], elsewhere: Path
) -> None:
    text, named = PLUGINS[name]
    (elsewhere / "study.toml").write_text(SMALL)
    (elsewhere / name).write_text(text)
    sentence = refusal(capsys, "run", "study.toml", "--plugin", name)
    for words in ["--plugin", name, *named]:
        assert words in sentence


NOT_COMPILABLE = """
from typing import NamedTuple

from mpi_fed.compressors import compressors
from mpi_fed.compressors.none import NoCompression
from mpi_fed.engine.compilation import kernel


class Kernel(NamedTuple):
    n: int


@kernel
def part(x):
    return x[2:4]


@compressors.register
class Own(NoCompression):
    kind = "own"
    Kernel = Kernel

    def kernel(self, dimension):
        return Kernel(dimension)

    @staticmethod
    def encode(kernel, x, payload, message):
        return LINE

    @staticmethod
    def decode(kernel, payload, weight, out, message):
        return
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("len(2.0 * x)", "compiled code cannot create arrays; create them once, in kernel(), as scratch space"),
        ("len(part(x))", "a compiled function cannot return a slice of an array"),
        ("x + 'a'", "no function has the arguments of the call add(array(float64, 1d, C), Literal[str](a))"),
        ("x.length", "Unknown attribute 'length'"),
    ],
)
def test_plugin_code_that_cannot_be_compiled_is_reported_in_one_sentence(
    line: str, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "study.toml").write_text(SMALL.replace('kind = "none"', 'kind = "own"'))
    (tmp_path / "own.py").write_text(NOT_COMPILABLE.replace("LINE", line))
    ended = command.run("run", "study.toml", "--ranks", 1, "--plugin", "own.py", folder=tmp_path, status=2)
    sentences = [text for text in ended.stderr.splitlines() if text.startswith("mpi-fed: ")]
    assert len(sentences) == 1
    assert "own.py: line 28" in sentences[0] or "part" in line
    assert ": this line cannot be compiled: " in sentences[0]
    assert reason in sentences[0]
    assert "Traceback" not in ended.stderr


COMMANDS = [
    ([], ["run", "predict", "certify", "analyze", "doctor"]),
    (["walk"], ["'walk'", "'run'"]),
    (["run"], ["STUDY"]),
    (["predict", "--json"], ["STUDY"]),
    (["run", "problem.dimension=5"], ["study file"]),
    (["run", "study.toml", "--rank", "3"], ["--rank"]),
    (["run", "study.toml", "-x"], ["-x"]),
    (["run", "study.toml", "--ranks"], ["--ranks"]),
    (["run", "study.toml", "--ranks", "0"], ["--ranks", "'0'", "at least 1"]),
    (["run", "study.toml", "--ranks", "-2"], ["--ranks"]),
    (["run", "study.toml", "--ranks", "two"], ["--ranks", "'two'", "at least 1"]),
    (
        ["run", "study.toml", "--ranks", "3"],
        ["study.toml", "[study]", "clients is 2", "3 ranks", "--ranks 2"],
    ),
    (["run", "gone.toml"], ["gone.toml", "No such file"]),
    (["run", "."], [".", "directory"]),
    (["run", "binary.toml"], ["binary.toml", "UTF-8"]),
    (["run", "study.toml", "copy.toml"], ["copy.toml", "study.toml", "name"]),
    (["run", "study.toml", "--set", "dimension=5"], ["--set dimension=5", "TABLE.KEY=VALUE"]),
    (["run", "study.toml", "--set", "problem.dimension"], ["--set problem.dimension", "TABLE.KEY=VALUE"]),
    (["run", "study.toml", "--set", "problems.dimension=5"], ["--set problems.dimension=5", "problem"]),
    (["run", "study.toml", "--set", "downlink.value_bits=16"], ["--set downlink.value_bits=16", "no [[downlink]]"]),
    (["run", "study.toml", "downlink.value_bits=16"], ["--set downlink.value_bits=16", "no [[downlink]]"]),
    (["run", "study.toml", "--set", "problem.a.b=5"], ["--set problem.a.b=5", "TABLE.KEY=VALUE"]),
    (
        ["run", "study.toml", "--set", "problem.dimension=-5"],
        ["study.toml --set problem.dimension=-5", "is -5"],
    ),
    (["run", "study.toml", "--set", "problem.dimension=1\n2"], ["problem.dimension=1\\n2", "unprintable"]),
    (["run", "study.toml", "--only", "rand-h"], ["--only rand-h", "none"]),
    (["run", "study.toml", "--out", "study.toml"], ["--out study.toml", "Not a directory"]),
    (["run", "study.toml", "--out", "study.toml/below"], ["--out study.toml/below", "Not a directory"]),
    (["run", "study.toml", "--out", "taken"], ["--out taken", "taken/small"]),
    (["run", "study.toml", "--out", "/proc/none"], ["--out /proc/none"]),
    (["run", "study.toml", "--plugin", "gone.py"], ["--plugin gone.py", "No such file"]),
    (["predict", "study.toml", "--set", "problem.dimension=0"], ["study.toml", "dimension is 0"]),
    (["predict", "study.toml", "--ranks", "2"], ["--ranks"]),
    (["certify", "--dimension", "0"], ["--dimension", "'0'"]),
    (["certify", "--draws", "1.5"], ["--draws", "'1.5'"]),
    (["analyze"], ["PATH"]),
    (["analyze", "runs", "--target", "small"], ["--target", "small"]),
    (["doctor", "please"], ["please"]),
]


@pytest.mark.parametrize(("argv", "named"), COMMANDS, ids=[" ".join(argv) for argv, _ in COMMANDS])
def test_a_wrong_command_is_refused(
    argv: list[str], named: list[str], capsys: pytest.CaptureFixture[str], elsewhere: Path
) -> None:
    (elsewhere / "study.toml").write_text(SMALL)
    (elsewhere / "copy.toml").write_text(SMALL)
    (elsewhere / "binary.toml").write_bytes(b"\x89HDF\r\n\x1a\n\xff")
    (elsewhere / "taken").mkdir()
    (elsewhere / "taken" / "small").write_text("")
    sentence = refusal(capsys, *argv)
    for words in named:
        assert words in sentence


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_is_refused(capsys: pytest.CaptureFixture[str], elsewhere: Path) -> None:
    (elsewhere / "study.toml").write_text(SMALL)
    (elsewhere / "closed").mkdir(mode=0o555)
    assert "--out closed" in refusal(capsys, "run", "study.toml", "--out", "closed")


def test_a_dry_run_prints_every_configuration_and_starts_nothing(
    capsys: pytest.CaptureFixture[str], elsewhere: Path
) -> None:
    (elsewhere / "study.toml").write_text(SMALL.replace('"none"', '"bernoulli"\np = [0.5, 0.25]'))
    before = contents()
    assert main.main(["run", "--set", "study.rounds=7000", "study.toml", "--dry-run", "--only", "0.25"]) == 0
    output = capsys.readouterr()
    assert "bernoulli p=0.25" in output.out
    assert "7,000 rounds" in output.out
    assert "p=0.5" not in output.out
    assert output.err == ""
    assert contents() == before


@pytest.mark.parametrize(
    "argv",
    [
        ["--set", "problem.dimension=5", "study.rounds=9", "study.toml"],
        ["study.toml", "--set", "problem.dimension=5", "study.rounds=9"],
        ["study.toml", "--set", "problem.dimension=5", "--set", "study.rounds=9"],
    ],
)
def test_overrides_may_stand_anywhere_in_the_command(
    argv: list[str], capsys: pytest.CaptureFixture[str], elsewhere: Path
) -> None:
    (elsewhere / "study.toml").write_text(SMALL.replace("dimension = 20", ""))
    assert main.main(["run", *argv, "--dry-run"]) == 0
    assert " 9 rounds" in capsys.readouterr().out


def test_there_are_as_many_ranks_as_clients_but_no_more_than_cores(
    capsys: pytest.CaptureFixture[str], elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (elsewhere / "study.toml").write_text(SMALL)
    (elsewhere / "two.toml").write_text(SMALL + '\n[[compressor]]\nkind = "quantization"\n')
    for cores, ranks in ((1, "1 rank,"), (2, "2 ranks,"), (8, "2 ranks,")):
        monkeypatch.setattr(os, "sched_getaffinity", lambda process, cores=cores: set(range(cores)))
        assert main.main(["run", "study.toml", "--dry-run"]) == 0
        assert ranks in capsys.readouterr().out
        assert main.main(["run", "study.toml", "--dry-run", "--jobs", "4"]) == 0
        assert ranks in capsys.readouterr().out, "one configuration is one job"
        assert main.main(["run", "two.toml", "--dry-run", "--jobs", "4"]) == 0
        assert ("2 ranks," if cores == 8 else "1 rank,") in capsys.readouterr().out


def test_ranks_are_started_with_the_options_of_the_command(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def launch(ranks: int, argv: list[str]) -> int:
        started.append((ranks, argv))
        return 0

    monkeypatch.setattr(launcher, "launch", launch)
    (elsewhere / "study.toml").write_text(SMALL)
    (elsewhere / "empty.py").write_text("")
    argv = ["run", "study.toml", "--out=-o", "--set", "problem.seed=3", "--plugin=empty.py", "--only=none"]
    assert main.main([*argv, "--ranks", "2", "--no-analyze"]) == 0
    ((ranks, of_rank),) = started
    assert ranks == 2
    expected = options.parse([*argv, "--no-analyze"], main.COMMANDS)
    assert options.parse(of_rank, main.COMMANDS) == expected


def test_a_job_runs_one_configuration(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def launch_all(ranks: int, jobs: Sequence[list[str]], side_by_side: int) -> list[int]:
        started.append((ranks, jobs, side_by_side))
        return [0, 85, 1]

    monkeypatch.setattr(launcher, "launch_all", launch_all)
    (elsewhere / "study.toml").write_text(SMALL.replace('"none"', '"bernoulli"\np = [0.5, 0.25, 0.1]'))
    assert main.main(["run", "study.toml", "--ranks", "1", "--jobs", "2"]) == 1
    ((ranks, jobs, side_by_side),) = started
    assert (ranks, side_by_side, len(jobs)) == (1, 2, 3)
    for probability, job in zip((0.5, 0.25, 0.1), jobs, strict=True):
        arguments = options.parse(job, main.COMMANDS)
        (study,) = plan.load_studies(arguments.studies, arguments.set, arguments.only, default_clients=1)
        assert [c.tables["compressor"]["p"] for c in study.configurations] == [probability]
        assert arguments.no_analyze


@pytest.mark.parametrize(
    ("statuses", "status"),
    [([0, 0], 0), ([0, 85, 143], 85), ([143, 85, 2], 2), ([143, 0], 143), ([130, 85], 85), ([-9, 85], -9)],
)
def test_the_status_of_a_failure_precedes_that_of_an_interruption(statuses: list[int], status: int) -> None:
    assert launcher.overall_status(statuses) == status


def test_help_loads_no_heavy_module() -> None:
    code = "import sys\nfrom mpi_fed.cli.main import main\ntry: main(['run', '--help'])\nexcept SystemExit: pass\n"
    code += "sys.exit(int(any(name in sys.modules for name in ('numpy', 'pydantic', 'mpi4py', 'numba'))))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0
    assert "--dry-run" in result.stdout


def test_a_closed_pipe_prints_no_traceback(elsewhere: Path) -> None:
    (elsewhere / "study.toml").write_text(SMALL)
    command = f"{sys.executable} -m mpi_fed run study.toml --dry-run | true"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.stderr == ""
