#!/usr/bin/env python3
"""Several hosts on this machine, each with a network of its own, and a command's ranks on them, over real TCP.

    sudo scripts/virtual_cluster.py run --hosts 4 --rate 100mbit -- .venv-mpich/bin/mpi-fed run STUDY.toml
    sudo scripts/virtual_cluster.py run --up 10mbit --down 100mbit --root-rate none -- .venv-mpich/bin/mpi-fed ...

A host is a network namespace with one interface, e0, on a cable to a bridge; rank 0 is on h1. Both ways of a cable may
have a rate, "up" being that from the host to the bridge. There is no delay but what the queues make. Needs root, MPICH,
and of Debian or Ubuntu the packages iproute2 and util-linux. Ranks run as the user who called sudo.

Nothing of this can be seen or reached in the machine's own network, and nothing is left when the command ends, however
it ends: namespaces without names live as long as the processes in them. SIGINT and SIGTERM reach ranks as SIGUSR1, on
which mpi-fed saves what it is at; a second one kills.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import functools
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

MOST_HOSTS, MOST_RANKS = 64, 64
NETWORK = "10.77.0"
"""The first three numbers of all addresses; each cluster has them for itself."""
LEAST_RATE, MOST_RATE = 64 * 10**3, 100 * 10**9
UNITS = {"kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
FRAME = 1514
"""Bytes of a full packet, with Ethernet's header."""
BURST_SECONDS, MOST_BURST = 0.00025, 60_000
"""What a cable makes up for when it was woken late: time at its rate, and bytes. A limited cable cuts what is longer
than this into packets, as network cards do; one without a limit carries up to 64 kB as one, headers counted once."""
QUEUE = 1000 * FRAME
"""Bytes that wait before a limited cable; what comes then is dropped. As long as the kernel's own queues."""
GRACE = 3.0
"""Seconds that processes have to end."""
POLL = 0.02
PACKAGES = {"iproute2": ("ip", "tc"), "util-linux": ("unshare", "nsenter", "setpriv")}
LAUNCHERS = ("mpiexec.hydra", "mpiexec.mpich", "mpiexec", "mpirun")
OWNER = "VIRTUAL_CLUSTER"
"""In the environment of all that runs in a cluster: the process that made it, as `identity` gives it."""
HOLDERS = "VIRTUAL_CLUSTER_HOLDERS"
"""The processes that hold the hosts' namespaces, in the hosts' order."""
CABLES = "VIRTUAL_CLUSTER_CABLES"
"""What `mpi-fed bench` notes of the cables: `cables` as JSON."""
OF_A_LAUNCHER = ("PMI", "PALS_", "HYDRA_", "MPI_LOCAL", "OMPI_COMM_WORLD", "SLURM_", "MPI_FED_RANKS", "MPI_FED_STARTER")
HOLD = 'mount -t sysfs sysfs /sys && echo "$0" > /proc/sys/kernel/hostname && echo ready && exec cat'
PR_SET_PDEATHSIG = 1
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
CHECKPOINTED = 85
"""The exit status with which `mpi-fed run` has saved what it was at."""


class Failure(Exception):
    """What is wrong, in one sentence."""


@dataclass(frozen=True)
class Rates:
    """Bits a second of both ways of a cable; None where nothing limits them."""

    up: int | None
    down: int | None


@dataclass(frozen=True)
class Host:
    """A host, and the process that holds its namespaces."""

    name: str
    address: str
    rates: Rates
    holder: int


@dataclass(frozen=True)
class Cluster:
    """Hosts, and the process that holds the namespaces of the bridge that joins them."""

    hosts: list[Host]
    hub: int


@dataclass(frozen=True)
class Counters:
    """What has gone through a host's interface, headers included, and packets that its cable's queues dropped."""

    sent_bytes: int
    received_bytes: int
    sent_packets: int
    received_packets: int
    dropped_packets: int


def main() -> int:
    """Run one command; the exit status."""
    if HOLDERS in os.environ and sys.argv[1:2] == ["-x"]:
        enter(sys.argv[1:])
    try:
        return run(parse())
    except Failure as failure:
        print(f"virtual_cluster: {failure}", file=sys.stderr)
        return 2


def parse() -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    usage = "virtual_cluster run [options] -- COMMAND ..."
    parser = argparse.ArgumentParser("virtual_cluster", usage, __doc__, formatter_class=formatter, allow_abbrev=False)
    parser.add_argument("action", choices=["run"])
    parser.add_argument("--hosts", default="2", metavar="N", help="hosts h1 .. hN (default: 2)")
    parser.add_argument("--ranks-per-host", default="1", metavar="K", help="default: 1")
    parser.add_argument("--rate", default="none", metavar="R", help="of both ways of a cable: none (default), 100mbit")
    parser.add_argument("--up", metavar="R", help="from a host to the bridge (default: --rate)")
    parser.add_argument("--down", metavar="R", help="from the bridge to a host (default: --rate)")
    parser.add_argument("--root-rate", metavar="R", help="of both ways of h1's cable (default: as of the others)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write hosts, rates and counters into a file")
    place = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    given = parser.parse_args(sys.argv[1:place])
    given.command = sys.argv[place + 1 :]
    if not given.command:
        parser.error("what every rank is to be stands behind --, as in `run --hosts 2 -- mpi-fed run STUDY.toml`")
    return given


def run(given: argparse.Namespace) -> int:
    """Make the cluster, run the command on it, say what went over each cable; the command's exit status."""
    hosts = whole("--hosts", given.hosts, 2, MOST_HOSTS)
    ranks_per_host = whole("--ranks-per-host", given.ranks_per_host, 1, MOST_RANKS)
    common = rate("--rate", given.rate)
    up = common if given.up is None else rate("--up", given.up)
    down = common if given.down is None else rate("--down", given.down)
    rates = [Rates(up, down)] * hosts
    if given.root_rate is not None:
        own = rate("--root-rate", given.root_rate)
        rates[0] = Rates(own, own)
    if given.json and (given.json.is_dir() or not given.json.absolute().parent.is_dir()):
        raise Failure(f"--json: {given.json} is no file in a folder that exists")
    check()
    program, mpiexec = find(given.command[0])
    end_marked(is_gone)
    with received() as signals, made(rates) as cluster:
        start, begun = counters(cluster), time.monotonic()
        status = launch(cluster, ranks_per_host, [program, *given.command[1:]], mpiexec, signals)
        seconds, end = time.monotonic() - begun, counters(cluster)
    print(table(cluster, start, end), file=sys.stderr)
    if given.json:
        facts = {"command": given.command, "exit_status": status, "seconds": seconds, "ranks_per_host": ranks_per_host}
        write(given.json, facts | {"hosts": [*map(described, cluster.hosts, start, end)]})
    return status


def whole(option: str, text: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise Failure(f"{option}: {text!r} is no integer from {least} to {most}")
    return int(text)


def rate(option: str, text: str) -> int | None:
    """Bits a second; None for none."""
    if text == "none":
        return None
    parts = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(kbit|mbit|gbit)", text)
    bits = round(float(parts[1]) * UNITS[parts[2]]) if parts else 0
    if not LEAST_RATE <= bits <= MOST_RATE:
        raise Failure(f"{option}: {text!r} is no rate from 64kbit to 100gbit, such as 100mbit or 2.5gbit, nor none")
    return bits


def check() -> None:
    """Refuse a machine on which it cannot work."""
    for package, names in PACKAGES.items():
        if lacking := [name for name in names if tool(name) is None]:
            raise Failure(f"{', '.join(lacking)} not found: apt-get install --no-install-recommends {package}")
    if os.geteuid() != 0:
        raise Failure("needs root, to make networks: run it with sudo, or as root in a container that may (NET_ADMIN)")


def tool(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))


def find(word: str) -> tuple[str, str]:
    """The command's program, and the mpiexec beside it, or else the first on the path, which must be MPICH's."""
    program = shutil.which(word)
    if program is None:
        raise Failure(f"{word} is not found: give its path, as sudo has a search path of its own")
    program = os.path.abspath(program)
    for folder in [os.path.dirname(program), *os.environ.get("PATH", "").split(os.pathsep)]:
        found = [path for name in LAUNCHERS if (path := shutil.which(name, path=folder))]
        for path in found:
            answer = subprocess.run([path, "--version"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
            if "HYDRA" in answer.stdout:
                return program, os.path.abspath(path)
        if found:
            raise Failure(f"MPICH is needed, but {found[0]} is another's: mpi-fed[mpich] in an environment brings it")
    raise Failure(f"no mpiexec beside {program} or on the path: MPICH is needed, which mpi-fed[mpich] brings")


@contextlib.contextmanager
def made(rates: Sequence[Rates]) -> Iterator[Cluster]:
    """A cluster, which is gone when the block is left."""
    with contextlib.ExitStack() as until_its_end:
        hub = until_its_end.enter_context(namespaces("hub"))
        hosts = []
        for number, own in enumerate(rates, start=1):
            holder = until_its_end.enter_context(namespaces(f"h{number}"))
            hosts.append(Host(f"h{number}", f"{NETWORK}.{number}", own, holder))
        until_its_end.callback(end_marked, lambda owner: owner == identity(os.getpid()))
        cables = [
            f"link add {host.name} type veth peer name e0 netns {host.holder}\n"
            f"link set {host.name} master bridge addrgenmode none up\n"
            for host in hosts
        ]
        bridge = f"link add bridge type bridge mcast_snooping 0\naddr add {NETWORK}.254/24 dev bridge\n"
        inside(hub, "ip", text=f"{bridge}link set bridge addrgenmode none up\n{''.join(cables)}")
        for host in hosts:
            e0 = f"addr add {host.address}/24 dev e0\nlink set e0 addrgenmode none up\n"
            inside(host.holder, "ip", text=f"link set lo up\n{e0}")
            inside(host.holder, "tc", text=limited("e0", host.rates.up))
        inside(hub, "tc", text="".join(limited(host.name, host.rates.down) for host in hosts))
        yield Cluster(hosts, hub)


@contextlib.contextmanager
def namespaces(name: str) -> Iterator[int]:
    """New namespaces, for a process that holds them until this one ends, however it does."""
    words = ["unshare", "--net", "--mount", "--uts", "--propagation", "slave", "sh", "-c", HOLD, name]
    own = os.environ | {OWNER: identity(os.getpid())}
    pipe, both = subprocess.PIPE, subprocess.STDOUT
    with subprocess.Popen(words, env=own, stdin=pipe, stdout=pipe, stderr=both, text=True, process_group=0) as holder:
        said = holder.stdout.readline() if holder.stdout else ""
        if said != "ready\n":
            raise Failure(f"no network of its own is to be had here: {said.strip()}")
        yield holder.pid


def inside(holder: int, program: str, *arguments: str, text: str = "") -> str:
    """What `ip` or `tc` says in the namespaces that a process holds; commands in `text` it takes line by line."""
    words = [*into(holder), str(tool(program)), *(arguments or ["-batch", "-"])]
    answer = subprocess.run(words, input=text, capture_output=True, text=True, process_group=0)
    if answer.returncode:
        raise Failure(f"{program} says: {' '.join(answer.stderr.split())}")
    return answer.stdout


def into(holder: int | str) -> list[str]:
    return ["nsenter", f"--target={holder}", "--net", "--mount", "--uts"]


def limited(interface: str, bits: int | None) -> str:
    """The command for tc that limits what leaves an interface. A burst is short, so that a message takes its time."""
    if bits is None:
        return ""
    return f"qdisc add dev {interface} root tbf rate {bits}bit burst {burst(bits)} limit {QUEUE}\n"


def burst(bits: int) -> int:
    """Bytes that a cable of this rate lets through at once after a rest."""
    return min(max(2 * FRAME, round(bits / 8 * BURST_SECONDS)), MOST_BURST)


def launch(cluster: Cluster, ranks_per_host: int, words: Sequence[str], mpiexec: str, signals: list[int]) -> int:
    """Run a command's ranks; its exit status. Signals that come meanwhile are in `signals`."""
    ranks = len(cluster.hosts) * ranks_per_host
    addresses = ",".join(host.address for host in cluster.hosts)
    where = ["-hosts", addresses, "-ppn", str(ranks_per_host), "-n", str(ranks), "-wdir", os.getcwd()]
    how = ["-iface", "bridge", "-launcher", "ssh", "-launcher-exec", os.path.abspath(__file__)]
    rank = [str(tool("setpriv")), "--pdeathsig=KILL", *as_caller(), "--", *words]
    process = subprocess.Popen(
        [*into(cluster.hub), mpiexec, *how, *where, *rank],
        env=surroundings(cluster, ranks),
        stdin=subprocess.DEVNULL,
        process_group=0,
        preexec_fn=functools.partial(die_with_parent, os.getpid()),
    )
    stopped = 0
    while (status := process.poll()) is None:
        time.sleep(POLL)
        while signals:
            signum = signals.pop(0)
            process.send_signal(signal.SIGKILL if stopped else signal.SIGUSR1)
            stopped = stopped or (signum if signum != signal.SIGUSR1 else 0)
    if stopped and status not in (0, CHECKPOINTED):
        return 128 + stopped
    return status if status >= 0 else 128 - status


def surroundings(cluster: Cluster, ranks: int) -> dict[str, str]:
    """What ranks find: no other launcher's variables, TCP over e0 alone, and no spinning on cores that are shared."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OF_A_LAUNCHER)}
    if ranks > len(os.sched_getaffinity(0)):
        kept.setdefault("MPIR_CVAR_DEVICE_COLLECTIVES", "none")
    if caller := called_by():
        kept |= {"HOME": caller.pw_dir, "USER": caller.pw_name, "LOGNAME": caller.pw_name}
    tcp = {"UCX_TLS": "tcp,self", "UCX_NET_DEVICES": "e0", "FI_PROVIDER": "tcp", "FI_TCP_IFACE": "e0"}
    holders = " ".join(str(host.holder) for host in cluster.hosts)
    return kept | tcp | {OWNER: identity(os.getpid()), HOLDERS: holders, CABLES: json.dumps(cables(cluster))}


def cables(cluster: Cluster) -> list[dict[str, int | None]]:
    """Of each host: bits a second from it and to it, and bytes that go at once after a rest; null without a limit."""
    rests = [min(map(burst, filter(None, astuple(host.rates))), default=None) for host in cluster.hosts]
    return [asdict(host.rates) | {"burst": rest} for host, rest in zip(cluster.hosts, rests, strict=True)]


def enter(words: list[str]) -> NoReturn:
    """Be what the launcher takes for ssh: `-x ADDRESS COMMAND ...` runs the command on that host."""
    _, address, *command = words
    holder = os.environ[HOLDERS].split()[int(address.rpartition(".")[2]) - 1]
    die_with_parent(os.getppid())
    os.execvp("nsenter", [*into(holder), "sh", "-c", f"exec {' '.join(command)}"])


def called_by() -> pwd.struct_passwd | None:
    """The user who called sudo, whose files are to be."""
    caller = os.environ.get("SUDO_UID", "0")
    with contextlib.suppress(KeyError, ValueError):
        return pwd.getpwuid(int(caller)) if int(caller) else None
    return None


def as_caller() -> list[str]:
    """Options of setpriv by which a rank runs as that user."""
    caller = called_by()
    return [f"--reuid={caller.pw_uid}", f"--regid={caller.pw_gid}", "--init-groups"] if caller else []


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process, or what it becomes, when its parent ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


@contextlib.contextmanager
def received() -> Iterator[list[int]]:
    """The signals that arrive within, in order, in place of what they would have done."""
    signals: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        signals.append(signum)

    before = {signum: signal.signal(signum, note) for signum in SIGNALS}
    try:
        yield signals
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def counters(cluster: Cluster) -> list[Counters]:
    """Of each host, as the kernel has them."""
    dropped = {one["dev"]: one["drops"] for one in json.loads(inside(cluster.hub, "tc", "-s", "-j", "qdisc"))}
    found = []
    for host in cluster.hosts:
        (e0,) = json.loads(inside(host.holder, "ip", "-s", "-j", "link", "show", "e0"))
        (queue,) = json.loads(inside(host.holder, "tc", "-s", "-j", "qdisc", "show", "dev", "e0"))
        sent, got = e0["stats64"]["tx"], e0["stats64"]["rx"]
        lost = queue["drops"] + dropped.get(host.name, 0)
        found.append(Counters(sent["bytes"], got["bytes"], sent["packets"], got["packets"], lost))
    return found


def table(cluster: Cluster, start: Sequence[Counters], end: Sequence[Counters]) -> str:
    """What went through each host's interface, a line a host."""
    rows = [["host", "address", "up", "down", "bytes sent", "received", "packets sent", "received", "dropped"]]
    for host, before, after in zip(cluster.hosts, start, end, strict=True):
        rates = [named(host.rates.up), named(host.rates.down)]
        gone = [f"{last - first:,}" for first, last in zip(astuple(before), astuple(after), strict=True)]
        rows.append([host.name, host.address, *rates, *gone])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.rjust, row, widths)) for row in rows)


def named(bits: int | None) -> str:
    """A rate as it is given."""
    if bits is None:
        return "none"
    unit = max((unit for unit in UNITS if bits >= UNITS[unit]), key=lambda unit: UNITS[unit])
    return f"{bits / UNITS[unit]:g}{unit}"


def described(host: Host, start: Counters, end: Counters) -> dict[str, Any]:
    """A host in the file of --json."""
    rates = {"up_bits_per_second": host.rates.up, "down_bits_per_second": host.rates.down}
    return {"name": host.name, "address": host.address, **rates, "start": asdict(start), "end": asdict(end)}


def write(path: Path, facts: dict[str, Any]) -> None:
    path.write_text(json.dumps(facts, indent=2) + "\n")
    if caller := called_by():
        os.chown(path, caller.pw_uid, caller.pw_gid)


def identity(process: int) -> str:
    """A running process of this machine, told apart from any that later gets its number; empty for one that has ended.

    "namespace number-start".
    """
    try:
        state, *numbers = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else f"{os.readlink('/proc/self/ns/pid')} {process}-{numbers[18]}"


def is_gone(owner: str) -> bool:
    """Whether a process is known to have ended, which cannot be said of another container's."""
    namespace, _, number = owner.partition(" ")
    return namespace == os.readlink("/proc/self/ns/pid") and identity(int(number.partition("-")[0])) != owner


def end_marked(chosen: Callable[[str], bool]) -> None:
    """Kill what runs in clusters of the chosen owners. Ranks of a killed one end by themselves, children may not."""
    processes = [process for process, owner in marked() if chosen(owner)]
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    end = time.monotonic() + GRACE
    while any(map(identity, processes)) and time.monotonic() < end:
        time.sleep(POLL)


def marked() -> Iterator[tuple[int, str]]:
    """Processes in clusters, with the owner of each."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            names = path.read_bytes().decode(errors="replace").split("\0")
            owners = [name.partition("=")[2] for name in names if name.startswith(f"{OWNER}=")]
            if owners and int(path.parent.name) != os.getpid():
                yield int(path.parent.name), owners[0]


if __name__ == "__main__":
    sys.exit(main())
