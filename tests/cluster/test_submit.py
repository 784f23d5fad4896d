"""Batch scripts of `mpi-fed submit`: what is in them, what they do, and what never gets into them. No Slurm needed."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.synthetic_log import write_log

from mpi_fed.cli.main import main
from mpi_fed.cluster import batch_script, speed_estimate, submission, submit
from mpi_fed.cluster.resources import seconds_of
from mpi_fed.cluster.speed_estimate import Speed
from mpi_fed.engine import compile_switch
from mpi_fed.errors import InputError
from mpi_fed.launch import launcher
from mpi_fed.study.load import load_study

STUDY = """
[study]
name = "{name}"
rounds = 1000
repetitions = 2
clients = 2
[problem]
kind = "gaussian"
dimension = [{dimensions}]
[[compressor]]
kind = "none"
"""
HOSTILE = [
    "a b",
    "$(touch pwned)",
    "`touch pwned`",
    "'; touch pwned; '",
    "&& touch pwned #",
    "é %A_%a",
    "-rf",
    "${IFS}touch${IFS}pwned",
]
PATIENCE = 60
LIBRARY, LAUNCHER_OF, CALIBRATE = launcher.find_library, launcher.find_launcher, speed_estimate.calibrate
PROFILE = """
launcher = "{launcher}"
"""
LAUNCHER = """#!{python}
import json, os, signal, sys, time
if os.path.exists("listen"):
    signal.signal(signal.SIGUSR1, lambda *_: sys.exit(85))
with open("calls", "a") as calls:
    calls.write(json.dumps({{"argv": sys.argv[1:], "ranks": os.environ.get("MPI_FED_RANKS")}}) + chr(10))
if os.path.exists("listen"):
    time.sleep(60)
statuses = open("statuses").read().split() if os.path.exists("statuses") else []
number = len(open("calls").readlines()) - 1
sys.exit(int(statuses[number]) if number < len(statuses) else 0)
"""


@pytest.fixture(autouse=True)
def elsewhere(alone, tmp_path, monkeypatch):
    """An empty current folder, Open MPI, no Slurm, and rounds of a millisecond."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compile_switch, "compile_kernels", compile_switch.compile_kernels)
    use_library(monkeypatch, "Open MPI")
    speed = Speed(1e-3, 2, "a moment here")
    monkeypatch.setattr(speed_estimate, "calibrate", lambda configurations, *_: {c.id: speed for c in configurations})
    return tmp_path


def use_library(monkeypatch, vendor):
    monkeypatch.setattr(launcher, "find_library", lambda: launcher.Library(vendor, "1", None))
    monkeypatch.setattr(launcher, "find_launcher", lambda: launcher.Launcher("/mpi/bin/mpiexec", vendor, "1"))


def write_study(path="study.toml", name="test", dimensions="10, 20"):
    Path(path).write_text(STUDY.format(name=name, dimensions=dimensions))
    return path


def scripts(capsys, *options, study=None):
    """What --dry-run prints, which is sound bash, and what it says beside it."""
    assert main(["submit", study or write_study(), "--dry-run", *options]) == 0
    output = capsys.readouterr()
    check = subprocess.run(["bash", "-n"], input=output.out, text=True, capture_output=True)
    assert (check.returncode, check.stderr) == (0, "")
    return output.out, output.err


def directives(script):
    """The #SBATCH lines as sbatch finds them: it stops at the first line of shell."""
    found = []
    for line in script.splitlines():
        if line.strip() and not line.startswith("#"):
            break
        if line.startswith("#SBATCH "):
            found.append(line.removeprefix("#SBATCH "))
    return found


def refusal(capsys, *options, study=None):
    study = study or write_study()
    before = sorted(Path().rglob("*"))
    assert main(["submit", study, "--dry-run", *options]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert sorted(Path().rglob("*")) == before
    *_, line = output.err.splitlines()
    assert line.startswith("mpi-fed: ")
    return line


def test_an_array_has_a_task_for_each_configuration(capsys):
    script, said = scripts(capsys, "--bundle-minutes=0", "--array-limit=7", "--time=30", "--mem=2G")
    assert {"--array=0-1%7", "--time=30", "--mem=2G", "--requeue", "--open-mode=append"} <= set(directives(script))
    assert {"--nodes=1", "--ntasks-per-node=2", "--signal=B:USR1@120", "--job-name=test"} <= set(directives(script))
    study = load_study("study.toml")
    for number, configuration in enumerate(study.configurations):
        assert f"\n    {number}) logs=({configuration.file_name}) ;;" in script
    assert "2 to submit" in said
    assert "core-hours" in said


def test_a_study_of_one_configuration_is_an_array_too(capsys):
    script, _ = scripts(capsys, "--set=problem.dimension=10")
    assert "--array=0-0" in directives(script)


def test_short_configurations_share_a_task(capsys):
    script, _ = scripts(capsys)  # each 30 s of start-up and 2 s of rounds
    assert "--array=0-0" in directives(script)
    script, _ = scripts(capsys, "--bundle-minutes=1")
    assert "--array=0-1" in directives(script)


def test_bundles_hold_consecutive_configurations_up_to_their_length():
    configurations = load_study(write_study(dimensions="1, 2, 3, 4, 5, 6")).configurations
    seconds = {c.id: s for c, s in zip(configurations, [30, 30, 100, 10, 60], strict=False)}
    tasks = submit._bundles(configurations, seconds, 60)
    assert [[c.position for c in task] for task in tasks] == [[0, 1], [2], [3], [4], [5]]
    assert [len(task) for task in submit._bundles(configurations, {}, 600)] == [1] * 6


def test_long_arrays_are_several(capsys, monkeypatch):
    monkeypatch.setattr(submit, "LONGEST_ARRAY", 2)
    script, _ = scripts(capsys, "--bundle-minutes=0", study=write_study(dimensions="1, 2, 3"))
    assert [line for line in script.splitlines() if "--array" in line] == ["#SBATCH --array=0-1", "#SBATCH --array=0-0"]
    assert script.count("#!/bin/bash") == 2


@pytest.mark.parametrize(
    ("vendor", "nodes", "words"),
    [
        ("Open MPI", 1, "/mpi/bin/mpiexec -n 2"),
        ("MPICH", 1, "srun -K1 --mpi=pmi2"),
        ("MPICH", 2, "/mpi/bin/mpiexec -n 2"),
        ("Intel MPI", 2, "srun -K1 --mpi=pmi2"),
    ],
)
def test_the_launcher_is_that_of_the_mpi(capsys, monkeypatch, vendor, nodes, words):
    use_library(monkeypatch, vendor)
    script, _ = scripts(capsys, f"--nodes={nodes}")
    assert f"\nlaunch=({words})\n" in script


@pytest.mark.parametrize(
    ("clients", "options", "nodes", "tasks"),
    [
        (2, [], 1, 2),
        (100, [], 1, 8),
        (100, ["--nodes=3"], 3, 8),
        (6, ["--nodes=3"], 3, 2),
        (100, ["--tasks-per-node=20"], 1, 20),
        (None, [], 1, 4),
        (None, ["--nodes=2", "--tasks-per-node=3"], 2, 3),
    ],
)
def test_ranks(capsys, clients, options, nodes, tasks):
    if clients is None:
        Path("study.toml").write_text(STUDY.format(name="test", dimensions="10").replace("clients = 2\n", ""))
    else:
        options = [*options, f"--set=study.clients={clients}"]
        write_study()
    script, _ = scripts(capsys, *options, study="study.toml")
    assert {f"--nodes={nodes}", f"--ntasks-per-node={tasks}"} <= set(directives(script))
    assert f"export MPI_FED_RANKS={nodes * tasks} " in script


def test_more_ranks_than_clients_are_refused(capsys):
    assert "clients is 2, fewer than the 4 ranks" in refusal(capsys, "--tasks-per-node=4")


def test_the_warning_comes_early_enough_in_a_short_job(capsys):
    script, _ = scripts(capsys, "--time=2")
    assert "--signal=B:USR1@30" in directives(script)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 5400), ("1:30", 90), ("2:00:01", 7201), ("1-2", 93600), ("1-2:3", 93780), ("1-2:3:4", 93784)],
)
def test_times_are_read_as_slurm_does(text, seconds):
    assert seconds_of(text) == seconds


def test_without_a_time_the_estimate_gives_one(capsys):
    script, said = scripts(capsys)
    assert "--time=14" in directives(script)  # ten minutes and three times 2 (30 s + 2 s)
    assert "no --time is given: 0:14:00" in said
    script, said = scripts(capsys, "--no-estimate")
    assert not [line for line in directives(script) if line.startswith("--time")]
    assert "no estimate: 2 configurations" in said


# What must not get in


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_stay_words(capsys, tmp_path, text):
    """Of the folder, the study, an override, a plugin: the script hands them on as they are, and runs none."""
    Path(text).mkdir()
    study = write_study(f"./{text}/{text}.toml")
    plugin = f"./{text}/plugin.py"
    Path(plugin).touch()
    options = [f"--out=./{text}/runs", f"--set=problem.seed={len(text)}", f"--plugin={plugin}"]
    run_script(scripts(capsys, *options, *launcher(), study=study)[0])
    (call, _) = calls()
    assert call["argv"][4:7] == ["run", str(tmp_path / text / f"{text}.toml"), f"--out={tmp_path / text / 'runs'}"]
    assert f"--plugin={tmp_path / text / 'plugin.py'}" in call["argv"]
    assert call["ranks"] == "2"
    assert not list(Path().rglob("pwned"))


def test_a_line_break_in_a_name_starts_no_line(capsys, tmp_path):
    study = write_study("study\n#SBATCH --job-name=pwned\ntouch pwned\n.toml")
    script, _ = scripts(capsys, *launcher(), study=study)
    assert not [line for line in directives(script) if "pwned" in line]
    run_script(script)
    assert calls()[0]["argv"][5] == str(tmp_path / study)
    assert not Path("pwned").exists()


def test_output_line_is_quoted_as_slurm_reads_it(capsys, tmp_path):
    script, _ = scripts(capsys, "--out=./a b%A '$(x)")
    assert f"--output=\"{tmp_path}/a b%%A '$(x)/test/jobs/%A_%a.out\"" in directives(script)


@pytest.mark.parametrize("out", ['quo"te', "back\\slash", "line\nbreak", "bell\a"])
def test_folders_that_an_sbatch_line_cannot_hold_are_refused(capsys, out):
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
    ("--nodes=0", "no integer of at least 1"),
    ("--array-limit=-1", "array-limit"),
    ("--sbatch=gres=gpu:1", "one option of sbatch"),
    ("--sbatch=--gres=gpu:1 --wrap=x", "one option of sbatch"),
    ("--sbatch=--comment=a\n#SBATCH --wrap=x", "one option of sbatch"),
    ('--sbatch=--comment="a"', "one option of sbatch"),
    ("--sbatch=--array=0-5", "--array is set by mpi-fed submit itself"),
    ("--sbatch=--arr=0-5", "--array is set by mpi-fed submit itself"),
    ("--sbatch=--wrap=x", "--wrap is set by mpi-fed submit itself"),
    ("--sbatch=--ntasks-per-node=3", "has an own key: tasks_per_node"),
    ("--max-core-hours=many", "is no number"),
    ("--profile=nowhere.toml", "nowhere.toml: cannot read the profile"),
]


@pytest.mark.parametrize(("option", "words"), BAD_OPTIONS, ids=[option for option, _ in BAD_OPTIONS])
def test_bad_options_are_refused(capsys, option, words):
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
def test_bad_profiles_are_refused(capsys, text, words):
    Path("site.toml").write_text(text)
    line = refusal(capsys, "--profile=site.toml")
    assert "site.toml" in line
    assert [word for word in words if word not in line] == []


def test_words_of_a_profile_are_quoted(capsys):
    Path("site.toml").write_text(
        """
        launcher = "mpirun; touch pwned $(touch pwned)"
        python = "/a b/$(touch pwned)"
        modules = ["openmpi/4.1"]
        environment = { A = "$(touch pwned)`touch pwned`'" }
        """
    )
    script, _ = scripts(capsys, "--profile=site.toml")
    assert "launch=('mpirun;' touch pwned '$(touch' 'pwned)')" in script
    assert "run=('/a b/$(touch pwned)' -P -m mpi_fed run " in script
    Path("bin").mkdir()
    Path("bin/module").write_text("#!/bin/sh\n")
    Path("bin/module").chmod(0o755)
    run_script(script.replace("launch=(", "launch=(true "))
    assert not Path("pwned").exists()


# What they do


def launcher():
    """Options with which the script starts a program that notes how it was called."""
    path = Path("launcher").absolute()
    path.write_text(LAUNCHER.format(python=sys.executable))
    path.chmod(0o755)
    Path("launcher.toml").write_text(PROFILE.format(launcher=shlex.quote(str(path))))
    return ["--profile=launcher.toml"]


def calls():
    return [json.loads(line) for line in Path("calls").read_text().splitlines()]


def program(name, text):
    """A program on the path of scripts."""
    Path("bin").mkdir(exist_ok=True)
    path = Path("bin", name)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


def start_script(script, task=0, **variables):
    program("scontrol", 'echo "$*" >> requeued')
    Path("script").write_text(script)
    path = f"{Path('bin').absolute()}:{os.environ['PATH']}"
    numbers = {"SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": str(task), "SLURM_JOB_ID": "15"}
    own = {**os.environ, "PATH": path, **numbers, "SLURMD_NODENAME": "n1", **variables}
    return subprocess.Popen(["bash", "script"], env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run_script(script, status=0, **variables):
    with start_script(script, **variables) as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == status, errors
    return errors


def requeued():
    return Path("requeued").read_text().splitlines() if Path("requeued").exists() else []


def test_a_task_runs_its_configurations_one_after_the_other(capsys):
    run_script(scripts(capsys, *launcher())[0])
    names = [c.file_name for c in load_study("study.toml").configurations]
    assert [call["argv"][-1] for call in calls()] == [f"--only={name}" for name in names]
    assert requeued() == []


def test_saved_goes_back_into_the_queue_by_the_tasks_own_name(capsys):
    Path("statuses").write_text("85")
    run_script(scripts(capsys, *launcher())[0])
    assert requeued() == ["requeue 12_0"]
    assert len(calls()) == 1


@pytest.mark.parametrize(
    ("restarts", "words"), [(batch_script.MOST_RESTARTS, "the limit"), (batch_script.IDLE_RESTARTS, "nothing was done")]
)
def test_what_makes_no_progress_does_not(capsys, restarts, words):
    Path("statuses").write_text("85")
    said = run_script(scripts(capsys, *launcher())[0], status=85, SLURM_RESTART_COUNT=str(restarts))
    assert words in said
    assert requeued() == []


def test_what_makes_progress_is_restarted_more_often(capsys):
    options = launcher()
    name = load_study(write_study()).configurations[0].file_name
    path = Path("launcher")
    save = f"open('runs/test/{name[:-3]}.checkpoint', 'w').write('x')"
    path.write_text(path.read_text().replace("import json", f"{save}\nimport json"))
    Path("runs/test").mkdir(parents=True)
    Path("statuses").write_text("85")
    run_script(scripts(capsys, *options)[0], SLURM_RESTART_COUNT=str(batch_script.IDLE_RESTARTS + 1))
    assert requeued() == ["requeue 12_0"]


def test_a_failure_is_noted_and_the_others_go_on(capsys):
    Path("statuses").write_text("3")
    said = run_script(scripts(capsys, *launcher())[0], status=3)
    first = load_study("study.toml").configurations[0].file_name
    assert Path(f"runs/test/.{first}.exit").read_text() == "3 12_0 n1\n"
    assert f"mpi-fed: {first} ended with exit status 3 on n1" in said
    assert len(calls()) == 2
    Path("calls").unlink()
    Path("statuses").unlink()
    run_script(Path("script").read_text())
    assert not Path(f"runs/test/.{first}.exit").exists()


def test_a_setup_that_fails_is_noted_for_each_configuration(capsys):
    launcher()
    with open("launcher.toml", "a") as profile:
        profile.write('modules = ["missing"]\n')
    program("module", "exit 7")
    said = run_script(scripts(capsys, "--profile=launcher.toml")[0], status=7)
    assert said.count("exit status 7") == 2
    assert len(list(Path("runs/test").glob(".*.exit"))) == 2
    assert not Path("calls").exists()


@pytest.mark.parametrize(("signum", "back"), [(signal.SIGUSR1, ["requeue 12_0"]), (signal.SIGTERM, [])])
def test_signals(capsys, signum, back):
    """A warning is passed on, and the job comes back; a cancelled job does not."""
    Path("listen").touch()
    with start_script(scripts(capsys, *launcher())[0]) as process:
        end = time.monotonic() + PATIENCE
        while not (Path("calls").exists() and Path("calls").read_text()):
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(signum)
        if signum == signal.SIGTERM:  # Slurm sends it to the launcher, too
            for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
                os.kill(int(child), signal.SIGUSR1)
        process.communicate(timeout=PATIENCE)
    assert requeued() == back
    assert process.returncode == (0 if back else 85)


def test_unknown_task_says_so(capsys):
    script, _ = scripts(capsys)
    with start_script(script, task=9) as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert "this array has no task 9" in errors


# What it costs


def test_budget(capsys):
    assert "the estimate is 0.0356; raise it" in refusal(capsys, "--max-core-hours=0.01")
    scripts(capsys, "--max-core-hours=0.04")
    assert "leave --no-estimate out" in refusal(capsys, "--max-core-hours=1000", "--no-estimate")


def test_budget_counts_all_cores_of_all_repetitions(capsys):
    options = ["--cpus-per-task=3", "--tasks-per-node=4", "--nodes=2"]
    options += ["--set=study.repetitions=4", "--set=study.clients=8", "--set=study.rounds=1_000_000"]
    _, said = scripts(capsys, *options)
    # 2 configurations of 30 s + 4 times 1000 s, on 24 cores; 8 ranks in place of 2 may be 4 times as fast
    assert f"{2 * 1030 * 24 / 3600:.3g} to {2 * 4030 * 24 / 3600:.3g} core-hours on 24 cores a task" in said


def test_earlier_logs_tell_how_long_a_round_takes(monkeypatch, capsys):
    monkeypatch.setattr(speed_estimate, "calibrate", lambda configurations, *_: {})
    study = load_study(write_study())
    shorter = json.loads(json.dumps(study.configurations[0].tables))
    shorter["study"]["rounds"] = 100
    log = write_log(Path("runs/test/earlier.h5"), shorter)
    found = speed_estimate.speeds(study.configurations, Path("runs/test"), 2, [])
    (speed,) = found.values()
    assert speed == Speed(pytest.approx(log["wall_seconds"][0, -1] / 100), 2, "earlier logs")
    assert list(found) == [study.configurations[0].id]


def test_a_log_that_is_none_is_passed_over():
    Path("runs/test").mkdir(parents=True)
    Path("runs/test/x.h5").write_text("no log")
    assert speed_estimate.speeds(load_study(write_study()).configurations, Path("runs/test"), 2, [], measure=False) == {}


@pytest.fixture
def real(monkeypatch):
    """The MPI of this environment, and rounds that are measured, uncompiled."""
    with monkeypatch.context() as own:
        own.setattr(launcher, "find_library", LIBRARY)
        own.setattr(launcher, "find_launcher", LAUNCHER_OF)
        own.setenv("NUMBA_DISABLE_JIT", "1")
        yield


@pytest.mark.slow
def test_a_calibration_measures_each_configuration(real):
    configurations = load_study(write_study()).configurations
    found = CALIBRATE(configurations, 2, [])
    assert list(found) == [c.id for c in configurations]
    assert all(0 < speed.seconds < 1 and speed.ranks == min(2, launcher.cores()) for speed in found.values())


@pytest.mark.slow
def test_a_calibration_that_fails_says_why(real):
    configurations = load_study(write_study()).configurations
    with pytest.raises(InputError, match=r"no round can be measured here: exit status 2, saying: .*--no-estimate"):
        CALIBRATE(configurations, 1, ["nowhere.py"])


# Again


@pytest.fixture
def slurm(monkeypatch):
    """An sbatch that keeps what it gets, and a squeue that shows what is written into `queue`."""
    program("sbatch", 'n=$(ls | grep -c "^submitted"); cat > submitted$n; echo "$((100 + n));cluster"')
    program("squeue", 'echo "$@" > asked; cat queue; exit "$(cat squeue-status 2> /dev/null || echo 0)"')
    Path("queue").touch()
    monkeypatch.setenv("PATH", f"{Path('bin').absolute()}:{os.environ['PATH']}")


def submitted():
    return [Path(f"submitted{n}").read_text() for n in range(len(list(Path().glob("submitted*"))))]


def do_submit(*options):
    return main(["submit", write_study(), "--bundle-minutes=0", *options])


def test_a_submission_is_remembered(slurm, capsys):
    assert do_submit() == 0
    (script,) = submitted()
    held = json.loads(Path("runs/test/submission.json").read_text())
    study = load_study("study.toml")
    assert held["study"] == "test"
    assert [entry["job"] for entry in held["configurations"]] == ["100_0", "100_1"]
    assert [entry["id"] for entry in held["configurations"]] == [c.id for c in study.configurations]
    assert [entry["file_name"] for entry in held["configurations"]] == [c.file_name for c in study.configurations]
    assert held["configurations"][0]["seeds"] == [0, 1]
    assert Path("runs/test/jobs").is_dir()
    assert "array job 100" in capsys.readouterr().out
    assert [path.name for path in Path("runs/test").glob(".*.part")] == []
    capsys.readouterr()
    assert scripts(capsys, "--bundle-minutes=0")[0] == script


def test_what_is_queued_or_running_is_not_submitted_again(slurm, capsys):
    do_submit()
    Path("queue").write_text("100_0|PENDING\n100_1|RUNNING\n")
    do_submit()
    assert len(submitted()) == 1
    assert "--jobs=100" in Path("asked").read_text()
    assert "0 done, 2 queued or running, 0 to submit" in capsys.readouterr().err
    Path("queue").write_text("100_0|RUNNING\n")
    do_submit()
    assert len(submitted()) == 2
    names = [c.file_name for c in load_study("study.toml").configurations]
    assert names[1] in submitted()[1]
    assert names[0] not in submitted()[1]
    assert [entry.job for entry in submission.load(Path("runs/test")).entries] == ["100_0", "101_0"]


def test_what_is_done_is_not_submitted_again(slurm):
    done = load_study(write_study()).configurations[0]
    write_log(Path("runs/test") / done.file_name, done.tables, configuration_id=done.id, label=done.label)
    do_submit()
    assert done.file_name not in submitted()[0]
    assert [entry.job for entry in submission.load(Path("runs/test")).entries] == [None, "100_0"]


def test_only_some_are_submitted_and_all_are_remembered(slurm):
    do_submit("--only=dimension=20")
    assert [entry.job for entry in submission.load(Path("runs/test")).entries] == [None, "100_0"]


def test_nothing_missing_submits_nothing(slurm, capsys):
    for c in load_study(write_study()).configurations:
        write_log(Path("runs/test") / c.file_name, c.tables, configuration_id=c.id, label=c.label)
    assert do_submit() == 0
    assert submitted() == []
    assert "2 done, 0 queued or running, 0 to submit" in capsys.readouterr().err


def test_squeue_that_fails_stops_a_submission(slurm, capsys):
    do_submit()
    Path("squeue-status").write_text("1")
    assert do_submit() == 2
    assert "squeue cannot tell which jobs are there" in capsys.readouterr().err
    program("squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")  # all are over
    assert do_submit() == 0
    assert len(submitted()) == 2


def test_sbatch_that_refuses_is_quoted(slurm, capsys):
    program("sbatch", "echo 'sbatch: error: invalid partition specified: x' >&2; exit 1")
    assert do_submit("--partition=x") == 2
    assert "sbatch does not take the job, saying: sbatch: error: invalid partition" in capsys.readouterr().err
    assert submission.load(Path("runs/test")) is None


def test_without_sbatch_a_dry_run_is_offered(capsys, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert do_submit() == 2
    assert "with --dry-run" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_two_submissions_at_once_are_one(slurm, capsys):
    with submission.alone(Path("runs/test")):
        assert do_submit() == 2
    assert "is being submitted by another command" in capsys.readouterr().err
    assert submitted() == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "mpi-fed submission", "format_version": 2}'])
def test_a_submission_that_cannot_be_read_stops_another(slurm, capsys, text):
    Path("runs/test").mkdir(parents=True)
    Path("runs/test/submission.json").write_text(text)
    assert do_submit() == 2
    assert "submission.json: cannot be read" in capsys.readouterr().err


def test_a_submission_names_no_other_files(slurm, capsys):
    do_submit()
    path = Path("runs/test/submission.json")
    path.write_text(re.sub(r'"file_name": "[^"]*"', '"file_name": "../../x.h5"', path.read_text()))
    assert do_submit() == 2
    assert "a file_name is none of a log" in capsys.readouterr().err
