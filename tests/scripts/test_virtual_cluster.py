"""Ranks on hosts that are network namespaces (scripts/virtual_cluster.py), connected only by TCP over limited cables.

Rounds run uncompiled, because no test here depends on their speed.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.machinery
import importlib.util
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support import command
from support.mpi_tests import MUST_HAVE_BOTH
from support.processes import alive, family, seconds_until_gone
from support.study_text import write_study

from mpi_fed.launch import launcher

pytestmark = pytest.mark.slow

SCRIPT = str(Path(__file__).parents[2] / "scripts" / "virtual_cluster.py")
PATIENCE = 120
"""Seconds after which a wait fails; usually it takes some seconds, but the machine may be busy."""
HEADERS, SEGMENT = 66, 1448
"""Bytes of a full packet's headers (Ethernet's 14, IP's 20, TCP's 32 with time stamps), and of its data."""
COMPRESSORS = ("none", 'kind = "quantization"\nlevels = 1')
STUDY: dict[str, Any] = {
    "rounds": 20,
    "clients": 2,
    "problem": {"dimension": 5000, "rotation": "householder"},
    "log": {"iterates": "all"},
}
REPORT = """
import json, os, sys, pathlib
def report(**more):
    facts = {"rank": int(os.environ["PMI_RANK"]), "process": os.getpid(), "net": os.readlink("/proc/self/ns/net")}
    aside = pathlib.Path(f"{facts['rank']}.aside")
    aside.write_text(json.dumps({**facts, **more}))
    aside.rename(f"{facts['rank']}.json")
"""
MEET = f"""{REPORT}
from mpi_fed.launch.world import start
world = start()
links, cables = sorted(os.listdir("/sys/class/net")), os.environ["VIRTUAL_CLUSTER_CABLES"]
report(size=world.comm.allreduce(1), node_size=world.node_size, host=world.host, links=links, cables=cables)
"""
STAY = f"""{REPORT}
import signal, time
if "DEAF" in os.environ:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
child = os.fork()
if child:
    report(child=child)
else:
    os.setsid()
    os.closerange(0, 64)  # the launcher would wait for a process that holds a rank's pipes
time.sleep(1000)
"""
TIME = f"""{REPORT}
import time
import numpy as np
from mpi_fed.launch.world import start
world, little = start(), np.zeros(1, np.uint8)
much = np.zeros(1_000_000, np.uint8)
other = 1 - world.rank
world.comm.Barrier()
clock = [time.monotonic()]
for up in (True, False):
    ask, answer = (little, much) if up else (much, little)
    if world.rank == 0:
        world.comm.Send(ask, other)
        world.comm.Recv(answer, other)
    else:
        world.comm.Recv(ask, other)
        world.comm.Send(answer, other)
    clock.append(time.monotonic())
report(size=world.size, up=clock[1] - clock[0], down=clock[2] - clock[1])
"""


def unavailable() -> str | None:
    """Return the reason why no virtual cluster can run here, or None."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if missing := [name for name in ("ip", "tc") if shutil.which(name, path=path) is None]:
        return f"no {', '.join(missing)}: apt-get install iproute2"
    return "making networks needs root" if os.geteuid() else None


PROBE = """ip link add name hub type bridge && ip link add name cable type veth peer name e0 &&
    ip link set cable master hub && tc qdisc add dev cable root tbf rate 1mbit burst 3k latency 50ms"""


@functools.cache
def refused() -> str | None:
    """Return the error if the kernel or the container does not allow root to make such a network, or None."""
    words = ["unshare", "--net", "--mount", "--uts", "sh", "-c", PROBE]
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    answer = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return f"no network can be made here: {answer.stderr.strip()}" if answer.returncode else None


@pytest.fixture
def mpich(mpi_pythons: list[str], alone: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The Python with MPICH, in an empty current folder."""
    if reason := unavailable():
        pytest.fail(reason, pytrace=False) if MUST_HAVE_BOTH else pytest.skip(reason)
    if reason := refused():
        pytest.skip(reason)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    return next(python for python in mpi_pythons if launcher.find_library(python).family == "MPICH")


def run(*words: str, status: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `virtual_cluster run WORDS` to its end, and check its exit status."""
    process = start(*words, **environment)
    try:
        output, errors = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == status, f"{output}\n{errors}"
    return subprocess.CompletedProcess(process.args, status, output, errors)


def start(*words: str, **environment: str) -> subprocess.Popen[str]:
    """Start `virtual_cluster run WORDS` with these environment variables added."""
    pipe, variables = subprocess.PIPE, {**os.environ, **environment}
    return subprocess.Popen([SCRIPT, "run", *words], env=variables, stdout=pipe, stderr=pipe, text=True)


def reports(ranks: int = 2) -> list[dict[str, Any]]:
    """Return the facts that each rank has reported."""
    return [json.loads(Path(f"{rank}.json").read_text()) for rank in range(ranks)]


def wait(done: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def staying(mpich: str) -> Iterator[subprocess.Popen[str]]:
    """A cluster with two endless ranks, each with a child process that the launcher does not know."""
    with stay(mpich) as process:
        yield process


@contextlib.contextmanager
def stay(python: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = start("--", python, "-c", STAY, **environment)
    try:
        wait(lambda: all(Path(f"{rank}.json").exists() for rank in range(2)))
        yield process
    finally:
        process.kill()
        run("--", python, "-c", "")  # removes the processes that are left
        process.communicate()


def inhabitants(net: str) -> list[int]:
    """Return the processes in a network namespace."""
    processes = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(path / "ns" / "net") == net and alive(int(path.name)):
                processes.append(int(path.name))
        except OSError:
            continue
    return processes


@pytest.mark.parametrize(("hosts", "ranks_per_host"), [(3, 1), (2, 2)])
def test_ranks_on_different_hosts_connect(mpich: str, hosts: int, ranks_per_host: int) -> None:
    size = hosts * ranks_per_host
    rates = ("--up=8mbit", "--root-rate=none")
    run(f"--hosts={hosts}", f"--ranks-per-host={ranks_per_host}", *rates, "--", mpich, "-P", "-c", MEET)
    facts = reports(size)
    assert [each["size"] for each in facts] == [size] * size
    assert [each["node_size"] for each in facts] == [ranks_per_host] * size
    assert [each["host"] for each in facts] == [f"h{1 + rank // ranks_per_host}" for rank in range(size)]
    assert len({each["net"] for each in facts} - {os.readlink("/proc/self/ns/net")}) == hosts
    assert all(each["links"] == ["e0", "lo"] for each in facts)
    free, burst = {"up": None, "down": None, "burst": None}, 2 * (HEADERS + SEGMENT)
    cables = [free, {"up": 8_000_000, "down": None, "burst": burst}]
    assert all(json.loads(each["cables"])[:2] == cables for each in facts)


def test_a_run_has_the_same_bits_and_its_bytes_go_over_the_cable(mpich: str) -> None:
    """Two runs of different length are compared, so that the bytes of the start-up cancel in the difference.

    Each packet with data is answered by at most one packet without data. Two per cent more are allowed for the
    messages' own headers, and for data that is sent twice when a busy machine is late.
    """
    write_study("study.toml", *COMPRESSORS, **STUDY)
    mpi_fed = [mpich, "-P", "-m", "mpi_fed", "run", "study.toml", "--no-analyze"]
    command.run(*mpi_fed[4:], "--ranks=2", "--out=loopback", python=mpich)
    table = run("--rate=1gbit", "--json=long.json", "--", *mpi_fed, "--out=cluster").stderr
    run("--rate=1gbit", "--json=short.json", "--", *mpi_fed, "--out=short", "--set=study.rounds=1")
    logs, loopback = command.logs(Path("cluster/test")), command.logs(Path("loopback/test"))
    assert len(logs) == 2
    assert logs.keys() == loopback.keys()
    for name in logs:
        assert "iterate" in logs[name]
        command.assert_same(logs[name], loopback[name])

    def between(dataset: str) -> int:
        """Return the bytes of the rank on h2, half of all ranks' bytes, in the rounds by which the runs differ."""
        first = [log[dataset][0, list(log["round"]).index(1)] for log in logs.values()]
        return int(sum(log[dataset][0, -1] for log in logs.values()) - sum(first)) // 2

    up, down = between("uplink_transported_bytes"), between("downlink_transported_bytes")
    assert up == 19 * (4 * 5000 + (4 + 2 * 5000 // 8))
    assert down == 2 * 19 * 8 * 5000
    h1, h2 = [
        {name: counted(long, name) - counted(short, name) for name in ("sent_bytes", "received_bytes")}
        for long, short in zip(hosts("long.json"), hosts("short.json"), strict=True)
    ]
    most = 0.02 * (up + down) + (up + down) * HEADERS / SEGMENT
    for measured in (h1["received_bytes"], h2["sent_bytes"]):
        assert up <= measured <= up + most
    for measured in (h1["sent_bytes"], h2["received_bytes"]):
        assert down <= measured <= down + most
    for host in hosts("long.json"):
        assert f"{counted(host, 'sent_bytes'):,}" in table
        assert f"{counted(host, 'received_bytes'):,}" in table


TRANSPORTED = {"uplink_transported_bytes", "downlink_transported_bytes"}
COUNT = '"$@" && cat /proc/net/netstat > "$PMI_RANK.netstat"'
"""Shell code that runs a rank's command, and then saves the TCP counters of its host."""
TWO_CALLS = """
import sys
import mpi_fed.launch.world

begin = mpi_fed.launch.world.start

def start():
    world = begin()
    import mpi_fed.runner.recorder
    mpi_fed.runner.recorder.CALL_SECONDS = 1e9
    return world

mpi_fed.launch.world.start = start
from mpi_fed.cli.main import main
sys.exit(main())
"""
"""A program that runs mpi-fed with two calls of its loop: one for the first round and one for all others. Ranks send
messages between calls, and the usual number of calls depends on the speed of rounds."""


def test_only_leaders_send_between_hosts(mpich: str) -> None:
    """On two hosts with two ranks each and one client for each rank, h2 sends one message a round in a tree, else two.

    Each message, also a leader's, fits into one packet. A fifth more packets and 20,000 more bytes are allowed, for log
    points and for differences between start-ups. The bytes of h2 cross the cable. Without a tree, these are half of the
    ledger's messages and one of four w. In a tree, they are a quarter of the messages, because these count twice (or
    one of six sums), and one of six w. Each packet has headers, and may be answered by a packet that has only headers;
    the same number of bytes is allowed for MPI's own messages.
    """
    write_study("study.toml", *COMPRESSORS, **STUDY)
    settings = ("problem.dimension=150", "study.clients=4", "log.points_per_decade=3")
    words = ["study.toml", "--no-analyze", *(f"--set={setting}" for setting in settings)]
    command.run("run", *words, "--ranks=4", "--out=loopback", "--set=study.rounds=320", python=mpich)
    loopback = list(command.logs(Path("loopback/test")).values())
    for kind, messages, ups, downs in (("gatherv", 2, 2, 4), ("tree", 1, 4, 6), ("tree-reduce", 1, 6, 6)):
        if kind == "tree-reduce":
            write_study("study.toml", "none", **STUDY)
        options = [*words, f"--set=route.kind='{kind}'"]
        short, long = (traffic(mpich, *options, f"--set=study.rounds={rounds}") for rounds in (20, 320))
        sent, up, down, measured_up, measured_down = long - short
        logs = list(command.logs(Path("runs/test")).values())
        assert len(logs) == (1 if kind == "tree-reduce" else 2)
        for log, expected in zip(logs, loopback, strict=False):
            if kind == "tree-reduce":
                np.testing.assert_allclose(log["iterate"], expected["iterate"], atol=1e-4)
            else:
                command.assert_same(log, expected, command.TIMED | TRANSPORTED)
        rounds = 300 * len(logs)
        assert messages * rounds <= sent <= (messages + 0.2) * rounds, kind
        for least, measured in ((up // ups, measured_up), (down // downs, measured_down)):
            assert least <= measured <= least + 3 * HEADERS * messages * rounds + 20_000, kind


def traffic(python: str, *options: str) -> NDArray[np.int64]:
    """Run, and return h2's packets with data, the ledger's bytes up and down, and the cable's bytes from and to h2."""
    words = ["sh", "-c", COUNT, "sh", python, "-P", "-c", TWO_CALLS, "run", *options, "--out=runs"]
    shutil.rmtree("runs", ignore_errors=True)
    path = f"{Path(python).parent}:{os.environ['PATH']}"
    run("--ranks-per-host=2", "--json=facts.json", "--", *words, PATH=path)
    logs = command.logs(Path("runs/test")).values()
    ledger = [sum(log[name][0, -1] for log in logs) for name in sorted(TRANSPORTED, reverse=True)]
    h2 = hosts("facts.json")[1]
    return np.array([segments(3), *ledger, counted(h2, "sent_bytes"), counted(h2, "received_bytes")], dtype=np.int64)


def segments(rank: int) -> int:
    """Return the number of packets with data that a rank's host has sent, without retransmissions."""
    lines = Path(f"{rank}.netstat").read_text().splitlines()
    names, numbers = (line.split() for line in lines if line.startswith("TcpExt:"))
    return int(numbers[names.index("TCPOrigDataSent")])


def hosts(file: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(Path(file).read_text())["hosts"]
    return entries


def counted(host: dict[str, Any], name: str) -> int:
    """Return the increase of a host's counter during the command."""
    return int(host["end"][name] - host["start"][name])


@pytest.mark.parametrize(
    ("options", "rates"),
    [
        (["--up=20mbit", "--down=40mbit", "--root-rate=none"], [(None, None), (20, 40)]),
        (["--root-rate=0.03gbit"], [(30, 30), (None, None)]),
        (["--rate=40000kbit", "--up=50mbit"], [(50, 40), (50, 40)]),
    ],
)
def test_nothing_is_faster_than_its_cable(
    mpich: str, options: list[str], rates: list[tuple[int | None, int | None]]
) -> None:
    """A million bytes are sent in each direction. A cable may be ahead of its rate by at most two packets."""
    run(*options, "--json=facts.json", "--", mpich, "-P", "-c", TIME)
    root, _ = reports()
    assert root["size"] == 2
    cables = [(host["up_bits_per_second"], host["down_bits_per_second"]) for host in hosts("facts.json")]
    assert cables == [tuple(rate and rate * 10**6 for rate in cable) for cable in rates]
    (root_up, root_down), (up, down) = rates
    bits = 8 * (1_000_000 - 2 * 1514)
    assert root["up"] >= bits / 10**6 / min(rate for rate in (up, root_down) if rate)
    assert root["down"] >= bits / 10**6 / min(rate for rate in (root_up, down) if rate)


def test_the_exit_status_is_that_of_the_command(mpich: str) -> None:
    run("--json=facts.json", "--", mpich, "-c", "import os; os._exit(7 * int(os.environ['PMI_RANK']))", status=7)
    facts = json.loads(Path("facts.json").read_text())
    assert facts["exit_status"] == 7
    assert [host["name"] for host in facts["hosts"]] == ["h1", "h2"]


def test_ranks_run_as_the_user_who_called_sudo(mpich: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        shutil.copy("/bin/sh", folder)
        path = f"{Path(mpich).parent}:{os.environ['PATH']}"
        words = [f"{folder}/sh", "-c", "echo $(id -u) $LOGNAME"]
        output = run("--json=facts.json", "--", *words, SUDO_UID="65534", PATH=path).stdout
    assert output.split() == ["65534", pwd.getpwuid(65534).pw_name] * 2
    assert os.stat("facts.json").st_uid == 65534


def test_the_machines_own_network_does_not_change(staying: subprocess.Popen[str]) -> None:
    machine = os.readlink("/proc/self/ns/net")
    others = [process for process in family(staying.pid) if process != staying.pid]
    assert len(others) > 6  # holders, launcher, proxies, ranks
    assert not set(others) & set(inhabitants(machine))
    assert not [fd for fd in Path(f"/proc/{staying.pid}/fd").iterdir() if os.readlink(fd).startswith("socket:")]
    ip = str(shutil.which("ip", path=f"{os.environ['PATH']}:/usr/sbin:/sbin"))
    for kind in ("address", "route"):
        assert "10.77.0." not in subprocess.run([ip, kind], capture_output=True, text=True, check=True).stdout
    assert not {"e0", "h1", "bridge"} & set(os.listdir("/sys/class/net"))


def test_a_second_cluster_does_not_end_the_first(staying: subprocess.Popen[str], mpich: str) -> None:
    facts = reports()
    run("--", mpich, "-c", "")
    assert all(alive(each["process"]) and alive(each["child"]) for each in facts)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda signum: signum.name)
def test_a_signal_leaves_no_process(staying: subprocess.Popen[str], mpich: str, signum: signal.Signals) -> None:
    """After SIGKILL a rank's child may be left until the next cluster starts."""
    facts = reports()
    processes = list(family(staying.pid))
    staying.send_signal(signum)
    assert staying.wait(PATIENCE) == (-signum if signum == signal.SIGKILL else 128 + signum)
    children = [each["child"] for each in facts]
    seconds_until_gone(set(processes) - set(children), PATIENCE)
    if signum == signal.SIGKILL:
        run("--", mpich, "-c", "")
    assert not [process for process in [*processes, *children] if alive(process)]
    assert not [process for each in facts for process in inhabitants(each["net"])]


def test_a_second_signal_kills_the_ranks(mpich: str) -> None:
    with stay(mpich, DEAF="1") as process:
        facts = reports()
        process.send_signal(signal.SIGINT)
        time.sleep(1)
        assert all(alive(each["process"]) for each in facts)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 128 + signal.SIGINT
        assert not any(alive(each["process"]) or alive(each["child"]) for each in facts)


def test_a_run_saves_on_sigterm(mpich: str) -> None:
    endless = {"rounds": 10**9, "problem": {"dimension": 5, "rotation": "householder"}}
    write_study("study.toml", *COMPRESSORS, **(STUDY | endless))
    mpi_fed = [mpich, "-P", "-m", "mpi_fed", "run", "study.toml", "--only=none", "--no-analyze", "--out=runs"]
    with start("--", *mpi_fed, "--checkpoint-seconds=0.2") as process:
        try:
            wait(lambda: list(Path().glob("runs/test/*.checkpoint")))
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == launcher.CHECKPOINTED
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--hosts=1", "--", "true"], "--hosts: '1' is not an integer from 2 to 64"),
        (["--hosts=65", "--", "true"], "--hosts: '65' is not an integer from 2 to 64"),
        (["--ranks-per-host=0", "--", "true"], "--ranks-per-host: '0' is not an integer from 1 to 64"),
        (["--rate=100", "--", "true"], "--rate: '100' must be a rate from 64kbit to 100gbit"),
        (["--up=1kbit", "--", "true"], "--up: '1kbit' must be a rate"),
        (["--root-rate=-1mbit", "--", "true"], "--root-rate: '-1mbit' must be a rate"),
        (["--json=.", "--", "true"], "--json: . must be a file in a folder that exists"),
        (["--", "no-such-command"], "no-such-command is not found: give its full path"),
        ([], "give the command of the ranks after --"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_refused_in_one_sentence(mpich: str, words: list[str], sentence: str) -> None:
    (line,) = [line for line in run(*words, status=2).stderr.splitlines() if not line.startswith("usage:")]
    assert sentence in line


def test_another_mpi_is_refused(mpich: str, mpi_pythons: list[str]) -> None:
    (other,) = (python for python in mpi_pythons if python != mpich)
    errors = run("--", other, "-c", "", status=2).stderr
    assert "MPICH is needed" in errors
    assert errors.count("\n") == 1


def test_a_user_without_root_gets_an_error(mpich: str) -> None:
    """In a new user namespace, no user is root."""
    words = ["unshare", "--user", sys.executable, SCRIPT, "run", "--", mpich]
    answer = subprocess.run(words, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert "needs root" in answer.stderr


def test_programs_that_are_missing_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    script = module()
    monkeypatch.setattr(script, "tool", lambda name: None if name == "tc" else name)
    with pytest.raises(script.Failure, match=r"^tc not found: apt-get install --no-install-recommends iproute2$"):
        script.check()


def module() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("virtual_cluster", SCRIPT)
    specification = importlib.util.spec_from_loader(loader.name, loader)
    assert specification
    loaded = importlib.util.module_from_spec(specification)
    sys.modules[loader.name] = loaded  # its dataclasses look up their module here
    loader.exec_module(loaded)
    return loaded
