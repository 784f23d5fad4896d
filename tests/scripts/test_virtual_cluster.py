"""Ranks on hosts that are network namespaces (scripts/virtual_cluster.py): they meet over TCP alone, on cables with rates.

Rounds run uncompiled, as nothing here depends on how fast they are.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.machinery
import importlib.util
import json
import os
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
from support import command
from support.mpi_tests import MUST_HAVE_BOTH
from support.processes import alive, family, seconds_until_gone
from support.study_text import write_study

from mpi_fed.launch import launcher

pytestmark = pytest.mark.slow

SCRIPT = str(Path(__file__).parents[2] / "scripts" / "virtual_cluster.py")
PATIENCE = 120
"""Seconds for what takes seconds, on a machine that has other things to do."""
HEADERS, SEGMENT = 66, 1448
"""Bytes of a full packet's headers (Ethernet's 14, IP's 20, TCP's 32 with time stamps), and of what it carries."""
COMPRESSORS = ("none", 'kind = "quantization"\nlevels = 1')
STUDY = {
    "rounds": 20,
    "clients": 2,
    "problem": {"dimension": 5000, "rotation": "householder"},
    "log": {"iterates": "all"},
}
TELL = """
import json, os, sys, pathlib
def tell(**more):
    facts = {"rank": int(os.environ["PMI_RANK"]), "process": os.getpid(), "net": os.readlink("/proc/self/ns/net")}
    aside = pathlib.Path(f"{facts['rank']}.aside")
    aside.write_text(json.dumps({**facts, **more}))
    aside.rename(f"{facts['rank']}.json")
"""
MEET = f"""{TELL}
from mpi_fed.launch.world import start
world = start()
links, cables = sorted(os.listdir("/sys/class/net")), os.environ["VIRTUAL_CLUSTER_CABLES"]
tell(size=world.comm.allreduce(1), node_size=world.node_size, host=world.host, links=links, cables=cables)
"""
STAY = f"""{TELL}
import signal, time
if "DEAF" in os.environ:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
child = os.fork()
if child:
    tell(child=child)
else:
    os.setsid()
    os.closerange(0, 64)  # who holds a rank's pipes keeps the launcher waiting
time.sleep(1000)
"""
TIME = f"""{TELL}
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
tell(size=world.size, up=clock[1] - clock[0], down=clock[2] - clock[1])
"""


def unavailable() -> str | None:
    """Why there can be no virtual cluster here."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if lacking := [name for name in ("ip", "tc") if shutil.which(name, path=path) is None]:
        return f"no {', '.join(lacking)}: apt-get install iproute2"
    return "making networks needs root" if os.geteuid() else None


PROBE = """ip link add name hub type bridge && ip link add name cable type veth peer name e0 &&
    ip link set cable master hub && tc qdisc add dev cable root tbf rate 1mbit burst 3k latency 50ms"""


@functools.cache
def refused() -> str | None:
    """What the kernel, or the container, says where root may not make such a network: no test can fix that."""
    words = ["unshare", "--net", "--mount", "--uts", "sh", "-c", PROBE]
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    tried = subprocess.run(words, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=PATIENCE)
    return f"no network can be made here: {tried.stderr.strip()}" if tried.returncode else None


@pytest.fixture
def mpich(mpi_pythons: list[str], alone: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The Python that has MPICH, in an empty current folder."""
    if reason := unavailable():
        pytest.fail(reason, pytrace=False) if MUST_HAVE_BOTH else pytest.skip(reason)
    if reason := refused():
        pytest.skip(reason)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    return next(one for one in mpi_pythons if launcher.find_library(one).family == "MPICH")


def run(*words: str, status: int = 0, **surroundings: str) -> subprocess.CompletedProcess[str]:
    """`virtual_cluster run WORDS`, to its end."""
    process = start(*words, **surroundings)
    try:
        output, errors = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == status, f"{output}\n{errors}"
    return subprocess.CompletedProcess(process.args, status, output, errors)


def start(*words: str, **surroundings: str) -> subprocess.Popen[str]:
    pipe, own = subprocess.PIPE, {**os.environ, **surroundings}
    return subprocess.Popen([SCRIPT, "run", *words], env=own, stdout=pipe, stderr=pipe, text=True)


def told(ranks: int = 2) -> list[dict[str, Any]]:
    """What each rank has told."""
    return [json.loads(Path(f"{rank}.json").read_text()) for rank in range(ranks)]


def wait(done: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def staying(mpich: str) -> Iterator[subprocess.Popen[str]]:
    """A cluster whose two ranks stay, each with a child that no launcher knows."""
    with stay(mpich) as process:
        yield process


@contextlib.contextmanager
def stay(python: str, **surroundings: str) -> Iterator[subprocess.Popen[str]]:
    process = start("--", python, "-c", STAY, **surroundings)
    try:
        wait(lambda: all(Path(f"{rank}.json").exists() for rank in range(2)))
        yield process
    finally:
        process.kill()
        run("--", python, "-c", "")  # clears away what is left
        process.communicate()


def inhabitants(net: str) -> list[int]:
    """The processes in a network namespace."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(path / "ns" / "net") == net and alive(int(path.name)):
                found.append(int(path.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize(("hosts", "ranks_per_host"), [(3, 1), (2, 2)])
def test_ranks_on_different_hosts_meet(mpich: str, hosts: int, ranks_per_host: int) -> None:
    size = hosts * ranks_per_host
    rates = ("--up=8mbit", "--root-rate=none")
    run(f"--hosts={hosts}", f"--ranks-per-host={ranks_per_host}", *rates, "--", mpich, "-P", "-c", MEET)
    ranks = told(size)
    assert [one["size"] for one in ranks] == [size] * size
    assert [one["node_size"] for one in ranks] == [ranks_per_host] * size
    assert [one["host"] for one in ranks] == [f"h{1 + rank // ranks_per_host}" for rank in range(size)]
    assert len({one["net"] for one in ranks} - {os.readlink("/proc/self/ns/net")}) == hosts
    assert all(one["links"] == ["e0", "lo"] for one in ranks)
    free, burst = {"up": None, "down": None, "burst": None}, 2 * (HEADERS + SEGMENT)
    cables = [free, {"up": 8_000_000, "down": None, "burst": burst}]
    assert all(json.loads(one["cables"])[:2] == cables for one in ranks)


def test_a_run_is_the_same_bit_for_bit_and_its_bytes_go_over_the_cable(mpich: str) -> None:
    """Two runs of different length: what start-up sends is the same, and goes out of the difference.

    Each packet that carries something is answered by at most one that carries nothing; a fiftieth more is for the
    messages' own headers, and for what is sent twice where a busy machine is late.
    """
    write_study("study.toml", *COMPRESSORS, **STUDY)
    mpi_fed = [mpich, "-P", "-m", "mpi_fed", "run", "study.toml", "--no-analyze"]
    command.run(*mpi_fed[4:], "--ranks=2", "--out=loopback", python=mpich)
    said = run("--rate=1gbit", "--json=long.json", "--", *mpi_fed, "--out=cluster").stderr
    run("--rate=1gbit", "--json=short.json", "--", *mpi_fed, "--out=short", "--set=study.rounds=1")
    logs, loopback = command.logs(Path("cluster/test")), command.logs(Path("loopback/test"))
    assert len(logs) == 2
    assert logs.keys() == loopback.keys()
    for name in logs:
        assert "iterate" in logs[name]
        command.assert_same(logs[name], loopback[name])

    def between(dataset: str) -> int:
        """What the rank on h2 sends or gets in the rounds by which the runs differ: half of all ranks' bytes."""
        first = [log[dataset][0, list(log["round"]).index(1)] for log in logs.values()]
        return (sum(log[dataset][0, -1] for log in logs.values()) - sum(first)) // 2

    up, down = between("uplink_transported_bytes"), between("downlink_transported_bytes")
    assert up == 19 * (4 * 5000 + (4 + 2 * 5000 // 8))
    assert down == 2 * 19 * 8 * 5000
    h1, h2 = [
        {name: gone(one, name) - gone(other, name) for name in ("sent_bytes", "received_bytes")}
        for one, other in zip(hosts("long.json"), hosts("short.json"), strict=True)
    ]
    most = 0.02 * (up + down) + (up + down) * HEADERS / SEGMENT
    for measured in (h1["received_bytes"], h2["sent_bytes"]):
        assert up <= measured <= up + most
    for measured in (h1["sent_bytes"], h2["received_bytes"]):
        assert down <= measured <= down + most
    for host in hosts("long.json"):
        assert f"{gone(host, 'sent_bytes'):,}" in said
        assert f"{gone(host, 'received_bytes'):,}" in said


TRANSPORTED = {"uplink_transported_bytes", "downlink_transported_bytes"}
COUNT = '"$@" && cat /proc/net/netstat > "$PMI_RANK.netstat"'
"""A rank's command, and then what TCP has counted on its host."""
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
"""mpi-fed, whose loop does the first round of a repetition in one call and all others in a second: ranks meet between
calls, and else how often depends on how fast rounds are."""


def test_leaders_alone_talk_between_hosts(mpich: str) -> None:
    """Two hosts of two ranks, each of a client: h2 sends one message a round in a tree, and two without.

    A message, also a leader's, fits into one packet; a fifth more is for log points, and for what start-up varies by,
    which is 20,000 bytes at most. Of the ledger's bytes those cross the cable that are h2's: without a tree half of the
    messages, and one w of four; in a tree of the messages, which count twice, a quarter, of six sums one, and one w of
    six. Each packet has headers, and may be answered by one of headers alone; as much again is for MPI's own.
    """
    write_study("study.toml", *COMPRESSORS, **STUDY)
    settings = ("problem.dimension=150", "study.clients=4", "log.points_per_decade=3")
    words = ["study.toml", "--no-analyze", *(f"--set={one}" for one in settings)]
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
        for log, one in zip(logs, loopback, strict=False):
            if kind == "tree-reduce":
                np.testing.assert_allclose(log["iterate"], one["iterate"], atol=1e-4)
            else:
                command.assert_same(log, one, command.TIMED | TRANSPORTED)
        rounds = 300 * len(logs)
        assert messages * rounds <= sent <= (messages + 0.2) * rounds, kind
        for carried, measured in ((up // ups, measured_up), (down // downs, measured_down)):
            assert carried <= measured <= carried + 3 * HEADERS * messages * rounds + 20_000, kind


def traffic(python: str, *options: str) -> np.ndarray:
    """Of a run: packets with data from h2, bytes up and down by the ledger, and bytes from and to h2 on its cable."""
    words = ["sh", "-c", COUNT, "sh", python, "-P", "-c", TWO_CALLS, "run", *options, "--out=runs"]
    shutil.rmtree("runs", ignore_errors=True)
    path = f"{Path(python).parent}:{os.environ['PATH']}"
    run("--ranks-per-host=2", "--json=facts.json", "--", *words, PATH=path)
    logs = command.logs(Path("runs/test")).values()
    ledger = [sum(log[name][0, -1] for log in logs) for name in sorted(TRANSPORTED, reverse=True)]
    h2 = hosts("facts.json")[1]
    return np.array([segments(3), *ledger, gone(h2, "sent_bytes"), gone(h2, "received_bytes")], dtype=int)


def segments(rank: int) -> int:
    """Packets with data that a rank's host has sent, those not counted that were sent again, or only acknowledge."""
    lines = Path(f"{rank}.netstat").read_text().splitlines()
    names, numbers = (line.split() for line in lines if line.startswith("TcpExt:"))
    return int(numbers[names.index("TCPOrigDataSent")])


def hosts(file: str) -> list[dict[str, Any]]:
    return json.loads(Path(file).read_text())["hosts"]


def gone(host: dict[str, Any], name: str) -> int:
    return host["end"][name] - host["start"][name]


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
    """A million bytes one way, then the other; a cable may be ahead of its rate by two packets alone."""
    run(*options, "--json=facts.json", "--", mpich, "-P", "-c", TIME)
    root, _ = told()
    assert root["size"] == 2
    given = [(host["up_bits_per_second"], host["down_bits_per_second"]) for host in hosts("facts.json")]
    assert given == [tuple(rate and rate * 10**6 for rate in cable) for cable in rates]
    (root_up, root_down), (up, down) = rates
    bits = 8 * (1_000_000 - 2 * 1514)
    assert root["up"] >= bits / 10**6 / min(rate for rate in (up, root_down) if rate)
    assert root["down"] >= bits / 10**6 / min(rate for rate in (root_up, down) if rate)


def test_the_exit_status_is_the_commands(mpich: str) -> None:
    run("--json=facts.json", "--", mpich, "-c", "import os; os._exit(7 * int(os.environ['PMI_RANK']))", status=7)
    facts = json.loads(Path("facts.json").read_text())
    assert facts["exit_status"] == 7
    assert [host["name"] for host in facts["hosts"]] == ["h1", "h2"]


def test_ranks_are_of_the_user_who_called_sudo(mpich: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        shutil.copy("/bin/sh", folder)
        path = f"{Path(mpich).parent}:{os.environ['PATH']}"
        words = [f"{folder}/sh", "-c", "echo $(id -u) $LOGNAME"]
        said = run("--json=facts.json", "--", *words, SUDO_UID="65534", PATH=path).stdout
    assert said.split() == ["65534", "nobody"] * 2
    assert os.stat("facts.json").st_uid == 65534


def test_nothing_is_in_the_machines_own_network(staying: subprocess.Popen[str]) -> None:
    own = os.readlink("/proc/self/ns/net")
    others = [process for process in family(staying.pid) if process != staying.pid]
    assert len(others) > 6  # holders, launcher, proxies, ranks
    assert not set(others) & set(inhabitants(own))
    assert not [fd for fd in Path(f"/proc/{staying.pid}/fd").iterdir() if os.readlink(fd).startswith("socket:")]
    ip = str(shutil.which("ip", path=f"{os.environ['PATH']}:/usr/sbin:/sbin"))
    for what in ("address", "route"):
        assert "10.77.0." not in subprocess.run([ip, what], capture_output=True, text=True, check=True).stdout
    assert not {"e0", "h1", "bridge"} & set(os.listdir("/sys/class/net"))


def test_clusters_side_by_side_leave_each_other_alone(staying: subprocess.Popen[str], mpich: str) -> None:
    ranks = told()
    run("--", mpich, "-c", "")
    assert all(alive(one["process"]) and alive(one["child"]) for one in ranks)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda one: one.name)
def test_nothing_is_left_however_it_ends(staying: subprocess.Popen[str], mpich: str, signum: signal.Signals) -> None:
    """Of one that is killed a rank's child may be left, until the next one starts."""
    ranks = told()
    processes = list(family(staying.pid))
    staying.send_signal(signum)
    assert staying.wait(PATIENCE) == (-signum if signum == signal.SIGKILL else 128 + signum)
    children = [one["child"] for one in ranks]
    seconds_until_gone(set(processes) - set(children), PATIENCE)
    if signum == signal.SIGKILL:
        run("--", mpich, "-c", "")
    assert not [process for process in [*processes, *children] if alive(process)]
    assert not [process for one in ranks for process in inhabitants(one["net"])]


def test_a_second_signal_kills(mpich: str) -> None:
    with stay(mpich, DEAF="1") as process:
        ranks = told()
        process.send_signal(signal.SIGINT)
        time.sleep(1)
        assert all(alive(one["process"]) for one in ranks)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 128 + signal.SIGINT
        assert not any(alive(one["process"]) or alive(one["child"]) for one in ranks)


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
        (["--hosts=1", "--", "true"], "--hosts: '1' is no integer from 2 to 64"),
        (["--hosts=65", "--", "true"], "--hosts: '65' is no integer from 2 to 64"),
        (["--ranks-per-host=0", "--", "true"], "--ranks-per-host: '0' is no integer from 1 to 64"),
        (["--rate=100", "--", "true"], "--rate: '100' is no rate from 64kbit to 100gbit"),
        (["--up=1kbit", "--", "true"], "--up: '1kbit' is no rate"),
        (["--root-rate=-1mbit", "--", "true"], "--root-rate: '-1mbit' is no rate"),
        (["--json=.", "--", "true"], "--json: . is no file in a folder that exists"),
        (["--", "no-such-command"], "no-such-command is not found: give its path"),
        ([], "what every rank is to be stands behind --"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)
def test_bad_input_is_refused_in_one_sentence(mpich: str, words: list[str], sentence: str) -> None:
    (line,) = [line for line in run(*words, status=2).stderr.splitlines() if not line.startswith("usage:")]
    assert sentence in line


def test_another_mpi_is_refused(mpich: str, mpi_pythons: list[str]) -> None:
    (other,) = (python for python in mpi_pythons if python != mpich)
    said = run("--", other, "-c", "", status=2).stderr
    assert "MPICH is needed" in said
    assert said.count("\n") == 1


def test_without_root_it_says_so(mpich: str) -> None:
    """In a user namespace of its own nobody is root."""
    words = ["unshare", "--user", sys.executable, SCRIPT, "run", "--", mpich]
    answer = subprocess.run(words, capture_output=True, text=True)
    assert answer.returncode == 2
    assert "needs root" in answer.stderr


def test_programs_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    script = module()
    monkeypatch.setattr(script, "tool", lambda name: None if name == "tc" else name)
    with pytest.raises(script.Failure, match=r"^tc not found: apt-get install --no-install-recommends iproute2$"):
        script.check()


def module() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("virtual_cluster", SCRIPT)
    specification = importlib.util.spec_from_loader(loader.name, loader)
    assert specification
    loaded = importlib.util.module_from_spec(specification)
    sys.modules[loader.name] = loaded  # where its dataclasses look for it
    loader.exec_module(loaded)
    return loaded
