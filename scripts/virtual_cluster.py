#!/usr/bin/env python3
"""Run a command's ranks on several virtual hosts on this machine, connected by their own network, over real TCP.

    sudo scripts/virtual_cluster.py run --hosts 4 --rate 100mbit -- .venv-mpich/bin/mpi-fed run STUDY.toml
    sudo scripts/virtual_cluster.py run --up 10mbit --down 100mbit --root-rate none -- .venv-mpich/bin/mpi-fed ...

A host is a network namespace with one interface, e0, on a cable to a bridge; rank 0 is on h1. Each direction of a cable
may have a rate; "up" is the direction from the host to the bridge. The only delays are those of the queues. The script
needs root, MPICH, and on Debian or Ubuntu the packages iproute2 and util-linux. Ranks run as the user who called sudo.

The machine's own network can neither see nor reach the hosts. Nothing is left when the command ends in any way, because
namespaces without names disappear with their last process. SIGINT and SIGTERM reach the ranks as SIGUSR1, on which
mpi-fed saves its state; a second signal kills them.
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
"""First three numbers of all addresses. Clusters that run at the same time use the same addresses."""
LEAST_RATE, MOST_RATE = 64 * 10**3, 100 * 10**9
UNITS = {"kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
FRAME = 1514
"""Bytes of a full packet, with Ethernet's header."""
BURST_SECONDS, MOST_BURST = 0.00025, 60_000
"""Largest burst after a late wake-up: seconds at the cable's rate, and bytes. A cable with a rate cuts longer data into
packets, like a network card; a cable without a rate carries up to 64 kB as one packet, whose headers count once."""
QUEUE = 1000 * FRAME
"""Bytes that wait before a cable with a rate, as many as in the kernel's own queues; more bytes are dropped."""
GRACE = 3.0
"""Seconds within which killed processes have to end."""
POLL = 0.02
"""Seconds between two checks of a process."""
PACKAGES = {"iproute2": ("ip", "tc"), "util-linux": ("unshare", "nsenter", "setpriv")}
LAUNCHERS = ("mpiexec.hydra", "mpiexec.mpich", "mpiexec", "mpirun")
OWNER = "VIRTUAL_CLUSTER"
"""Environment variable of all processes in a cluster: the `identity` of the process that made the cluster."""
HOLDERS = "VIRTUAL_CLUSTER_HOLDERS"
"""Environment variable: the processes that hold the hosts' namespaces, in the order of the hosts."""
CABLES = "VIRTUAL_CLUSTER_CABLES"
"""Environment variable: the result of `cables` as JSON, which `mpi-fed bench` saves."""
OF_A_LAUNCHER = ("PMI", "PALS_", "HYDRA_", "MPI_LOCAL", "OMPI_COMM_WORLD", "SLURM_", "MPI_FED_RANKS", "MPI_FED_STARTER")
HOLD = 'mount -t sysfs sysfs /sys && echo "$0" > /proc/sys/kernel/hostname && echo ready && exec cat'
PR_SET_PDEATHSIG = 1
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
CHECKPOINTED = 85
"""Exit status of `mpi-fed run` after it has saved its state."""


class Failure(Exception):
    """An error that is shown to the user as one sentence."""


@dataclass(frozen=True)
class Rates:
    """Bits per second of both directions of a cable; None without a limit."""

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
    """Traffic of a host's interface, headers included, and the packets that its cable's queues dropped."""

    sent_bytes: int
    received_bytes: int
    sent_packets: int
    received_packets: int
    dropped_packets: int


def main() -> int:
    """Run the command line and return the exit status."""
    if HOLDERS in os.environ and sys.argv[1:2] == ["-x"]:
        enter(sys.argv[1:])
    try:
        return run(parse())
    except Failure as failure:
        print(f"virtual_cluster: {failure}", file=sys.stderr)
        return 2


def parse() -> argparse.Namespace:
    """Return the arguments of the command line; `command` is the part after --."""
    formatter = argparse.RawDescriptionHelpFormatter
    usage = "virtual_cluster run [options] -- COMMAND ..."
    parser = argparse.ArgumentParser("virtual_cluster", usage, __doc__, formatter_class=formatter, allow_abbrev=False)
    parser.add_argument("action", choices=["run"])
    parser.add_argument("--hosts", default="2", metavar="N", help="hosts h1 .. hN (default: 2)")
    parser.add_argument("--ranks-per-host", default="1", metavar="K", help="ranks on each host (default: 1)")
    parser.add_argument(
        "--rate", default="none", metavar="R", help="rate of each cable, both ways: 100mbit, ... (default: none)"
    )
    parser.add_argument("--up", metavar="R", help="rate from a host to the bridge (default: --rate)")
    parser.add_argument("--down", metavar="R", help="rate from the bridge to a host (default: --rate)")
    parser.add_argument("--root-rate", metavar="R", help="rate of h1's cable, both ways (default: as for other cables)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write hosts, rates and counters into a file")
    place = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    arguments = parser.parse_args(sys.argv[1:place])
    arguments.command = sys.argv[place + 1 :]
    if not arguments.command:
        parser.error("give the command of the ranks after --, as in `run --hosts 2 -- mpi-fed run STUDY.toml`")
    return arguments


def run(arguments: argparse.Namespace) -> int:
    """Make the cluster, run the command on it, print the traffic of each cable; return the command's exit status."""
    hosts = whole("--hosts", arguments.hosts, 2, MOST_HOSTS)
    ranks_per_host = whole("--ranks-per-host", arguments.ranks_per_host, 1, MOST_RANKS)
    common = rate("--rate", arguments.rate)
    up = common if arguments.up is None else rate("--up", arguments.up)
    down = common if arguments.down is None else rate("--down", arguments.down)
    rates = [Rates(up, down)] * hosts
    if arguments.root_rate is not None:
        root_rate = rate("--root-rate", arguments.root_rate)
        rates[0] = Rates(root_rate, root_rate)
    if arguments.json and (arguments.json.is_dir() or not arguments.json.absolute().parent.is_dir()):
        raise Failure(f"--json: {arguments.json} must be a file in a folder that exists")
    check()
    program, mpiexec = find(arguments.command[0])
    end_marked(is_gone)
    with received() as signals, made(rates) as cluster:
        start, begun = counters(cluster), time.monotonic()
        status = launch(cluster, ranks_per_host, [program, *arguments.command[1:]], mpiexec, signals)
        seconds, end = time.monotonic() - begun, counters(cluster)
    print(table(cluster, start, end), file=sys.stderr)
    if arguments.json:
        command = arguments.command
        facts = {"command": command, "exit_status": status, "seconds": seconds, "ranks_per_host": ranks_per_host}
        write(arguments.json, facts | {"hosts": [*map(described, cluster.hosts, start, end)]})
    return status


def whole(option: str, text: str, least: int, most: int) -> int:
    """Return an integer. Raises Failure if it is not from `least` to `most`."""
    if not text.isdecimal() or not least <= int(text) <= most:
        raise Failure(f"{option}: {text!r} is not an integer from {least} to {most}")
    return int(text)


def rate(option: str, text: str) -> int | None:
    """Return the bits per second of a rate; None for "none"."""
    if text == "none":
        return None
    parts = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(kbit|mbit|gbit)", text)
    bits = round(float(parts[1]) * UNITS[parts[2]]) if parts else 0
    if not LEAST_RATE <= bits <= MOST_RATE:
        raise Failure(f"{option}: {text!r} must be a rate from 64kbit to 100gbit, such as 100mbit or 2.5gbit, or none")
    return bits


def check() -> None:
    """Raise Failure if this machine lacks a program or root."""
    for package, names in PACKAGES.items():
        if missing := [name for name in names if tool(name) is None]:
            raise Failure(f"{', '.join(missing)} not found: apt-get install --no-install-recommends {package}")
    if os.geteuid() != 0:
        raise Failure("making networks needs root: run it with sudo, or as root in a container with NET_ADMIN")


def tool(name: str) -> str | None:
    """Return the path of a program, also from the folders of system programs."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))


def find(word: str) -> tuple[str, str]:
    """Return the command's program, and the mpiexec next to it or else the first on the path.

    Raises Failure if the mpiexec is not MPICH's.
    """
    program = shutil.which(word)
    if program is None:
        raise Failure(f"{word} is not found: give its full path, because sudo has its own search path")
    program = os.path.abspath(program)
    for folder in [os.path.dirname(program), *os.environ.get("PATH", "").split(os.pathsep)]:
        launchers = [path for name in LAUNCHERS if (path := shutil.which(name, path=folder))]
        for path in launchers:
            answer = subprocess.run(
                [path, "--version"], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
            )
            if "HYDRA" in answer.stdout:
                return program, os.path.abspath(path)
        if launchers:
            raise Failure(f"MPICH is needed, but {launchers[0]} belongs to another MPI: install mpi-fed[mpich]")
    raise Failure(f"no mpiexec next to {program} or on the path: MPICH is needed, install mpi-fed[mpich]")


@contextlib.contextmanager
def made(rates: Sequence[Rates]) -> Iterator[Cluster]:
    """Make a cluster; it is removed at the end of the `with` block."""
    with contextlib.ExitStack() as at_the_end:
        hub = at_the_end.enter_context(namespaces("hub"))
        hosts = []
        for number, host_rates in enumerate(rates, start=1):
            holder = at_the_end.enter_context(namespaces(f"h{number}"))
            hosts.append(Host(f"h{number}", f"{NETWORK}.{number}", host_rates, holder))
        at_the_end.callback(end_marked, lambda owner: owner == identity(os.getpid()))
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
    """Make namespaces and yield the process that holds them. That process ends when this process ends or is killed."""
    words = ["unshare", "--net", "--mount", "--uts", "--propagation", "slave", "sh", "-c", HOLD, name]
    marked_environment = os.environ | {OWNER: identity(os.getpid())}
    pipe, both = subprocess.PIPE, subprocess.STDOUT
    with subprocess.Popen(
        words, env=marked_environment, stdin=pipe, stdout=pipe, stderr=both, text=True, process_group=0
    ) as holder:
        line = holder.stdout.readline() if holder.stdout else ""
        if line != "ready\n":
            raise Failure(f"no network namespace can be made here: {line.strip()}")
        yield holder.pid


def inside(holder: int, program: str, *arguments: str, text: str = "") -> str:
    """Run `ip` or `tc` in the namespaces of a holder and return its output. `text` holds one command in each line."""
    words = [*into(holder), str(tool(program)), *(arguments or ["-batch", "-"])]
    answer = subprocess.run(words, input=text, capture_output=True, text=True, process_group=0, check=False)
    if answer.returncode:
        raise Failure(f"{program} failed: {' '.join(answer.stderr.split())}")
    return answer.stdout


def into(holder: int | str) -> list[str]:
    """Return the words before a command that runs in the namespaces of a holder."""
    return ["nsenter", f"--target={holder}", "--net", "--mount", "--uts"]


def limited(interface: str, bits: int | None) -> str:
    """Return tc's command that limits an interface's outgoing rate. Bursts are short, so that messages take time."""
    if bits is None:
        return ""
    return f"qdisc add dev {interface} root tbf rate {bits}bit burst {burst(bits)} limit {QUEUE}\n"


def burst(bits: int) -> int:
    """Return the bytes that a cable of this rate passes at once after a pause."""
    return min(max(2 * FRAME, round(bits / 8 * BURST_SECONDS)), MOST_BURST)


def launch(cluster: Cluster, ranks_per_host: int, words: Sequence[str], mpiexec: str, signals: list[int]) -> int:
    """Run a command's ranks and return its exit status. Signals that come during the run are in `signals`."""
    ranks = len(cluster.hosts) * ranks_per_host
    addresses = ",".join(host.address for host in cluster.hosts)
    where = ["-hosts", addresses, "-ppn", str(ranks_per_host), "-n", str(ranks), "-wdir", os.getcwd()]
    how = ["-iface", "bridge", "-launcher", "ssh", "-launcher-exec", os.path.abspath(__file__)]
    rank = [str(tool("setpriv")), "--pdeathsig=KILL", *as_caller(), "--", *words]
    process = subprocess.Popen(
        [*into(cluster.hub), mpiexec, *how, *where, *rank],
        env=environment(cluster, ranks),
        stdin=subprocess.DEVNULL,
        process_group=0,
        preexec_fn=functools.partial(die_with_parent, os.getpid()),  # noqa: PLW1509  # it only calls prctl
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


def environment(cluster: Cluster, ranks: int) -> dict[str, str]:
    """Return the ranks' environment: no variables of other launchers, only TCP over e0, no polling on shared cores."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OF_A_LAUNCHER)}
    if ranks > len(os.sched_getaffinity(0)):
        kept.setdefault("MPIR_CVAR_DEVICE_COLLECTIVES", "none")
    if caller := called_by():
        kept |= {"HOME": caller.pw_dir, "USER": caller.pw_name, "LOGNAME": caller.pw_name}
    tcp = {"UCX_TLS": "tcp,self", "UCX_NET_DEVICES": "e0", "FI_PROVIDER": "tcp", "FI_TCP_IFACE": "e0"}
    holders = " ".join(str(host.holder) for host in cluster.hosts)
    return kept | tcp | {OWNER: identity(os.getpid()), HOLDERS: holders, CABLES: json.dumps(cables(cluster))}


def cables(cluster: Cluster) -> list[dict[str, int | None]]:
    """Return, for each host, bits per second up and down, and the bytes of a burst; None without a limit."""
    rests = [min(map(burst, filter(None, astuple(host.rates))), default=None) for host in cluster.hosts]
    return [asdict(host.rates) | {"burst": rest} for host, rest in zip(cluster.hosts, rests, strict=True)]


def enter(words: list[str]) -> NoReturn:
    """Act as the launcher's ssh: `-x ADDRESS COMMAND ...` runs the command on that host."""
    _, address, *command = words
    holder = os.environ[HOLDERS].split()[int(address.rpartition(".")[2]) - 1]
    die_with_parent(os.getppid())
    os.execvp("nsenter", [*into(holder), "sh", "-c", f"exec {' '.join(command)}"])


def called_by() -> pwd.struct_passwd | None:
    """Return the user who called sudo, to whom written files will belong; None without sudo."""
    caller = os.environ.get("SUDO_UID", "0")
    with contextlib.suppress(KeyError, ValueError):
        return pwd.getpwuid(int(caller)) if int(caller) else None
    return None


def as_caller() -> list[str]:
    """Return the options of setpriv with which a rank runs as the user who called sudo."""
    caller = called_by()
    return [f"--reuid={caller.pw_uid}", f"--regid={caller.pw_gid}", "--init-groups"] if caller else []


def die_with_parent(parent: int) -> None:
    """Make the kernel kill this process when its parent ends, even after an exec."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


@contextlib.contextmanager
def received() -> Iterator[list[int]]:
    """Collect signals in a list, in order, until the end of the `with` block; they have no other effect there."""
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
    """Return the kernel's counters of each host."""
    queues = json.loads(inside(cluster.hub, "tc", "-s", "-j", "qdisc"))
    dropped = {queue["dev"]: queue["drops"] for queue in queues}
    counts = []
    for host in cluster.hosts:
        (e0,) = json.loads(inside(host.holder, "ip", "-s", "-j", "link", "show", "e0"))
        (queue,) = json.loads(inside(host.holder, "tc", "-s", "-j", "qdisc", "show", "dev", "e0"))
        sent, received = e0["stats64"]["tx"], e0["stats64"]["rx"]
        lost = queue["drops"] + dropped.get(host.name, 0)
        counts.append(Counters(sent["bytes"], received["bytes"], sent["packets"], received["packets"], lost))
    return counts


def table(cluster: Cluster, start: Sequence[Counters], end: Sequence[Counters]) -> str:
    """Return a table of the traffic through each host's interface, with one line for each host."""
    rows = [["host", "address", "up", "down", "bytes sent", "received", "packets sent", "received", "dropped"]]
    for host, before, after in zip(cluster.hosts, start, end, strict=True):
        rates = [named(host.rates.up), named(host.rates.down)]
        traffic = [f"{last - first:,}" for first, last in zip(astuple(before), astuple(after), strict=True)]
        rows.append([host.name, host.address, *rates, *traffic])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.rjust, row, widths)) for row in rows)


def named(bits: int | None) -> str:
    """Return a rate in the form of the options."""
    if bits is None:
        return "none"
    unit = max((unit for unit in UNITS if bits >= UNITS[unit]), key=lambda unit: UNITS[unit])
    return f"{bits / UNITS[unit]:g}{unit}"


def described(host: Host, start: Counters, end: Counters) -> dict[str, Any]:
    """Return the entry of a host in the file of --json."""
    rates = {"up_bits_per_second": host.rates.up, "down_bits_per_second": host.rates.down}
    return {"name": host.name, "address": host.address, **rates, "start": asdict(start), "end": asdict(end)}


def write(path: Path, facts: dict[str, Any]) -> None:
    """Write a JSON file that belongs to the user who called sudo."""
    path.write_text(json.dumps(facts, indent=2) + "\n")
    if caller := called_by():
        os.chown(path, caller.pw_uid, caller.pw_gid)


def identity(process: int) -> str:
    """Return "namespace number-start", which no later process with the same number has; "" for an ended process."""
    try:
        state, *numbers = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else f"{os.readlink('/proc/self/ns/pid')} {process}-{numbers[18]}"


def is_gone(owner: str) -> bool:
    """Return whether a process is known to have ended. This cannot be known for processes of other containers."""
    namespace, _, number = owner.partition(" ")
    return namespace == os.readlink("/proc/self/ns/pid") and identity(int(number.partition("-")[0])) != owner


def end_marked(chosen: Callable[[str], bool]) -> None:
    """Kill all processes in clusters of the chosen owners: the children of a killed cluster's ranks may still run."""
    processes = [process for process, owner in marked() if chosen(owner)]
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    end = time.monotonic() + GRACE
    while any(map(identity, processes)) and time.monotonic() < end:
        time.sleep(POLL)


def marked() -> Iterator[tuple[int, str]]:
    """Yield each process in a cluster, with its owner."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            names = path.read_bytes().decode(errors="replace").split("\0")
            owners = [name.partition("=")[2] for name in names if name.startswith(f"{OWNER}=")]
            if owners and int(path.parent.name) != os.getpid():
                yield int(path.parent.name), owners[0]


if __name__ == "__main__":
    sys.exit(main())
