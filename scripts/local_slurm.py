#!/usr/bin/env python3
"""Run a real Slurm on this machine, all of whose nodes are this machine, to try batch files and for the tests.

    eval "$(sudo scripts/local_slurm.py start --nodes 4)"    sinfo, sbatch and srun then use this Slurm
    scripts/local_slurm.py status
    sudo scripts/local_slurm.py stop                         ends its jobs and daemons, and removes its folder

This Slurm writes into one folder only, and listens only on loopback addresses, on free ports. It needs root, and on
Debian or Ubuntu the packages slurm-wlm and munge. The next start removes files and processes that a killed Slurm left.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PATIENCE = 30.0
"""Seconds after which a start fails if not all nodes are idle."""
GRACE = 3.0
"""Seconds after which a daemon that has not ended is killed."""
PROGRAMS = ("munged", "slurmctld", "slurmd", "sinfo", "squeue", "scancel")

CONFIGURATION = """\
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/log/slurmctld
SlurmdSpoolDir={folder}/spool/%n
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/log/slurmd-%n
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
SlurmctldTimeout=60
SlurmdTimeout=10
MessageTimeout=10
KillWait=5
MinJobAge=300
ReturnToService=2
JobRequeue=1
MpiDefault=none
"""


class Failure(Exception):
    """An error that is shown to the user as one sentence."""


def main() -> int:
    """Run one command and return the exit status."""
    arguments = parse()
    folder = arguments.folder.absolute()
    try:
        if arguments.command == "status":
            return status(folder)
        check(folder)
        if arguments.command == "start":
            start(folder, arguments.nodes, arguments.cpus)
            print(f"export SLURM_CONF={shlex.quote(str(folder / 'slurm.conf'))}")
        else:
            stop(folder)
        return 0
    except Failure as failure:
        print(f"local_slurm: {failure}", file=sys.stderr)
        return 2


def parse() -> argparse.Namespace:
    """Return the arguments of the command line."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="local_slurm", description=__doc__, formatter_class=formatter)
    parser.add_argument("command", choices=["start", "stop", "status"])
    parser.add_argument("--nodes", type=at_least_one, default=4, metavar="N", help="nodes n1 .. nN (default: 4)")
    parser.add_argument("--cpus", type=at_least_one, default=2, metavar="C", help="CPUs of each node (default: 2)")
    default = Path(tempfile.gettempdir(), f"local-slurm-{os.getuid()}")
    parser.add_argument("--folder", type=Path, default=default, metavar="DIR", help=f"its files (default: {default})")
    return parser.parse_args()


def at_least_one(text: str) -> int:
    """Return an integer from 1 to 64."""
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer from 1 to 64")
    return int(text)


def check(folder: Path) -> None:
    """Raise Failure if Slurm cannot run here, before anything is written."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=search_path()) is None]
    if missing:
        raise Failure(f"{', '.join(missing)} not found: apt-get install --no-install-recommends slurm-wlm munge")
    if os.geteuid() != 0:
        raise Failure("Slurm's daemons need root here: run this script with sudo, or as root in a container")
    if folder.exists() and any(folder.iterdir()) and not (folder / "slurm.conf").exists():
        raise Failure(f"{folder} contains files that do not belong to a local Slurm: give another --folder")
    if not all(c.isalnum() or c in "/._-" for c in str(folder)):
        raise Failure(
            f"{folder}: paths in slurm.conf may have letters, digits, '.', '_' and '-': give another --folder"
        )
    if len(str(folder)) > 80:
        raise Failure(
            f"{folder}: the path is longer than 80 characters, too long for a socket: give a shorter --folder"
        )


def start(folder: Path, nodes: int, cpus: int) -> None:
    """Write the configuration, start the daemons and wait until all nodes are idle."""
    if process_of(folder / "slurmctld.pid", folder):
        raise Failure(f"a Slurm already runs in {folder}: stop it first, or give another --folder")
    stop(folder)
    try:
        write(folder, nodes, cpus)
        start_munge(folder)
        daemon(folder, "slurmctld", "-c", "-f", f"{folder}/slurm.conf")
        for number in range(1, nodes + 1):
            daemon(folder, "slurmd", "-N", f"n{number}", "-f", f"{folder}/slurm.conf")
        wait_until_idle(folder, nodes)
    except BaseException:
        stop(folder)
        raise


def write(folder: Path, nodes: int, cpus: int) -> None:
    """Write munge's key and the configuration of Slurm, with free ports for its daemons."""
    for part in ("munge", "state", "log", "spool"):
        (folder / part).mkdir(parents=True)
    for path in (folder, folder / "munge"):
        path.chmod(0o755)  # clients of any user reach the socket
    key = folder / "munge" / "key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    host = socket.gethostname().partition(".")[0]
    port, *ports = free_ports(nodes + 1)
    lines = [CONFIGURATION.format(host=host, port=port, folder=folder).rstrip()]
    for number, node_port in enumerate(ports, start=1):
        (folder / "spool" / f"n{number}").mkdir()
        node = f"NodeName=n{number} NodeHostname={host} NodeAddr=127.0.0.1 Port={node_port}"
        lines.append(f"{node} CPUs={cpus} RealMemory=4000 State=UNKNOWN")
    lines.append(f"PartitionName=main Nodes=n[1-{nodes}] Default=YES MaxTime=INFINITE State=UP")
    (folder / "cgroup.conf").write_text("ConstrainCores=no\nConstrainRAMSpace=no\n")
    (folder / "slurm.conf").write_text("\n".join(lines) + "\n")


def free_ports(count: int) -> list[int]:
    """Return ports that no process uses at this moment."""
    with contextlib.ExitStack() as open_sockets:
        sockets = [open_sockets.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def start_munge(folder: Path) -> None:
    """Start a separate munged; the system's munged, if there is one, is not changed."""
    munge = folder / "munge"
    files = [("socket", "socket"), ("key-file", "key"), ("pid-file", "pid"), ("log-file", "log"), ("seed-file", "seed")]
    daemon(folder, "munged", "--num-threads=2", *(f"--{option}={munge / name}" for option, name in files))


def daemon(folder: Path, program: str, *arguments: str) -> None:
    """Start a program that puts itself into the background. Raises Failure if it does not start."""
    path = shutil.which(program, path=search_path())
    answer = subprocess.run(
        [str(path), *arguments],
        env=environment(folder),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if answer.returncode:
        message = " ".join((answer.stderr or answer.stdout).split()[-40:])
        raise Failure(f"{program} does not start: {message}")


def wait_until_idle(folder: Path, nodes: int) -> None:
    """Wait until all nodes are idle. Raises Failure after PATIENCE seconds."""
    end = time.monotonic() + PATIENCE
    while (states := ask(folder, "sinfo", "-h", "-N", "-o", "%T").split()) != ["idle"] * nodes:
        if time.monotonic() > end:
            raise Failure(f"the nodes are {' '.join(states) or 'unknown'} after {PATIENCE:.0f} s: see {folder}/log")
        time.sleep(0.1)


def status(folder: Path) -> int:
    """Print the nodes of the Slurm in the folder; return exit status 1 if no Slurm runs there."""
    if not process_of(folder / "slurmctld.pid", folder):
        print(f"no Slurm runs in {folder}")
        return 1
    print(f"SLURM_CONF={folder / 'slurm.conf'}")
    print(ask(folder, "sinfo", "-N", "-o", "%8N %10T %4c"), end="")
    return 0


def stop(folder: Path) -> None:
    """End the jobs and daemons of the folder's Slurm, each by its process id, and remove the folder."""
    if process_of(folder / "slurmctld.pid", folder):
        ask(folder, "scancel", "--quiet", *ask(folder, "squeue", "-h", "-o", "%A").split())
        end = time.monotonic() + GRACE
        while ask(folder, "squeue", "-h", "-o", "%A").strip() and time.monotonic() < end:
            time.sleep(0.1)
    pids = [folder / "slurmctld.pid", *sorted(folder.glob("slurmd-*.pid")), folder / "munge" / "pid"]
    terminate([process for path in pids if (process := process_of(path, folder))])
    terminate(list(left_over(folder)))
    shutil.rmtree(folder, ignore_errors=True)


def process_of(file: Path, folder: Path) -> int | None:
    """Return the running process whose id the file holds; None if another process has this id now."""
    try:
        process = int(file.read_text())
        words = Path(f"/proc/{process}/cmdline").read_text()
    except (OSError, ValueError):
        return None
    return process if str(folder) in words else None


def left_over(folder: Path) -> Iterator[int]:
    """Yield the daemons of this folder's Slurm and the processes of its jobs, by their environment."""
    configuration = f"SLURM_CONF={folder / 'slurm.conf'}"
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            names = (path / "environ").read_bytes().decode(errors="replace").split("\0")
            started_here = f"LOCAL_SLURM={folder}" in names or any(n.startswith("SLURM_JOB_ID=") for n in names)
            if configuration in names and started_here and int(path.name) != os.getpid():
                yield int(path.name)


def terminate(processes: list[int]) -> None:
    """Send SIGTERM and, to processes that have not ended after GRACE seconds, SIGKILL."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signum)
        end = time.monotonic() + GRACE
        while (processes := [each for each in processes if runs(each)]) and time.monotonic() < end:
            time.sleep(0.02)


def runs(process: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def ask(folder: Path, program: str, *arguments: str) -> str:
    """Return the output of one of Slurm's commands; it is empty if the command fails."""
    path = shutil.which(program, path=search_path())
    answer = subprocess.run(
        [str(path), *arguments],
        env=environment(folder),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return answer.stdout


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of this Slurm's programs, without the variables of another Slurm."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH"))}
    return kept | {"SLURM_CONF": str(folder / "slurm.conf"), "LOCAL_SLURM": str(folder)}


def search_path() -> str:
    """Return the search path for programs, with the folders of system programs."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/local/sbin"])


if __name__ == "__main__":
    sys.exit(main())
