"""The text of a batch script. Whatever comes from a user is checked, or quoted, before it enters one."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..launch.launcher import CHECKPOINTED
from ..text import plain
from .resources import Resources

WARNING = 120
"""Seconds before the time limit at which a job is told, so that it can save its state."""
MOST_RESTARTS = 100
"""Restarts after which a job is not put back into the queue any more."""
IDLE_RESTARTS = 2
"""The same for a job of which this attempt changed no file: it does not even get to its first rounds."""

FUNCTIONS = r"""
asked= cancelled= noted= launcher= status=0 worst=0

# Slurm warns this script alone, which passes the warning on to the ranks: they save their state and exit with 85.
trap 'asked=1 noted=1; warn' USR1
trap 'cancelled=1 noted=1' TERM  # Slurm ends the steps by itself; a cancelled job must not be put back

warn() {
    [ -z "$launcher" ] || kill -USR1 "$launcher" 2> /dev/null
}

run_one() {  # run_one LOG: the configuration of this log; its exit status in $status
    "${launch[@]}" "${run[@]}" "--only=$1" &
    launcher=$!
    [ -z "$asked" ] || warn
    while :; do
        noted=
        wait "$launcher"
        status=$?
        [ -n "$noted" ] || break  # a signal ends `wait`, but not what it waits for
    done
    launcher=
}

record() {  # record STATUS LOG: for `mpi-fed status`
    mkdir -p "$folder"
    echo "$1 ${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID ${SLURMD_NODENAME:-unknown}" > "$folder/.$2.exit"
    echo "mpi-fed: $2 ended with exit status $1 on ${SLURMD_NODENAME:-this node}" >&2
}

record_all() {
    for log in "${logs[@]}"; do record "$1" "$log"; done
}

files() {  # logs and checkpoints of this task, with sizes and times; all bear the id that ends a log's name
    local log id
    for log in "${logs[@]}"; do
        id=${log##*-}
        find "$folder" -maxdepth 1 -name "*${id%.h5}*" ! -name '*.exit' ! -name '*.lock' -printf '%p %s %T@\n'
    done 2> /dev/null
}

requeue() {
    local restarts=${SLURM_RESTART_COUNT:-0}
    if [ "$restarts" -ge "$most_restarts" ]; then
        echo "mpi-fed: saved after $restarts restarts, which is the limit; submit again to go on" >&2
    elif [ "$restarts" -ge "$idle_restarts" ] && [ "$(files)" = "$before" ]; then
        echo "mpi-fed: nothing was done since the last restart; ask for more time, then submit again" >&2
    else
        # With the task's number: a task's own job id may be that of the whole array.
        echo "mpi-fed: saved; back into the queue" >&2
        scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID" && exit 0
    fi
}

for log in "${logs[@]}"; do rm -f "$folder/.$log.exit"; done
before=$(files)
"""

MAIN = r"""
for log in "${logs[@]}"; do
    if [ -n "$asked" ]; then worst=85; fi
    if [ -n "$asked$cancelled" ]; then break; fi
    run_one "$log"
    # By a signal: warned before the ranks could listen, or `srun -K1` saw one rank's end before another's.
    if [ "$status" = 85 ] || { [ -n "$asked" ] && [ "$status" -gt 128 ]; }; then worst=85; break; fi
    if [ "$status" != 0 ]; then
        worst=$status
        sleep 1  # Slurm may be about to end this job, because a node is lost, and to run it again
        [ -n "$cancelled" ] || record "$status" "$log"
    fi
done
if [ "$worst" = 85 ] && [ -z "$cancelled" ]; then requeue; fi
exit "$worst"
"""


@dataclass(frozen=True)
class Job:
    """An array job: what each of its tasks runs, as names of logs, one after the other."""

    name: str
    about: str
    tasks: Sequence[Sequence[str]]
    folder: Path
    ranks: int
    launch: Sequence[str]
    run: Sequence[str]
    resources: Resources


def script(job: Job) -> str:
    """The batch script. Raises InputError where the folder's name cannot stand in it."""
    if job.resources.tasks_per_node is None:
        raise ValueError("the number of tasks on a node is to be settled before")
    assert CHECKPOINTED == 85  # which the texts above say
    lines = [
        "#!/bin/bash",
        f"# {plain(job.about)}",
        *directives(job),
        "",
        f"folder={shlex.quote(str(job.folder))}",
        f"most_restarts={MOST_RESTARTS} idle_restarts={IDLE_RESTARTS}",
        "case $SLURM_ARRAY_TASK_ID in",
        *(f"    {number}) logs=({shlex.join(logs)}) ;;" for number, logs in enumerate(job.tasks)),
        '    *) echo "mpi-fed: this array has no task $SLURM_ARRAY_TASK_ID" >&2; exit 2 ;;',
        "esac",
        FUNCTIONS,
        *_site(job.resources),
        f"export MPI_FED_RANKS={job.ranks}  # a world of another size ends with exit status 3",
        "export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1} SLURM_EXPORT_ENV=ALL  # which srun does not inherit",
        f"launch=({shlex.join(job.launch)})",
        f"run=({shlex.join(job.run)})",
    ]
    return "\n".join(lines) + "\n" + MAIN


def directives(job: Job) -> list[str]:
    """The #SBATCH lines."""
    asked = job.resources
    limit = f"%{asked.array_limit}" if asked.array_limit else ""
    options = {
        "job-name": job.name,
        "array": f"0-{len(job.tasks) - 1}{limit}",
        "nodes": asked.nodes,
        "ntasks-per-node": asked.tasks_per_node,
        "cpus-per-task": asked.cpus_per_task,
        "mem": asked.mem,
        "time": asked.time,
        "partition": asked.partition,
        "account": asked.account,
        "qos": asked.qos,
        "constraint": asked.constraint,
        "signal": f"B:USR1@{warning(asked.seconds)}",
        "open-mode": "append",
        "output": f'"{_output(job.folder)}"',
    }
    lines = [f"--{name}={value}" for name, value in options.items() if value is not None]
    return [f"#SBATCH {line}" for line in ["--requeue", *lines, *asked.sbatch]]


def warning(limit: int | None) -> int:
    """Seconds before the time limit at which the job is told: a quarter of a short one."""
    return WARNING if limit is None else max(1, min(WARNING, limit // 4))


def _output(folder: Path) -> str:
    """The place of the job's output, for a quoted #SBATCH value: no shell sees it, and Slurm reads % its own way."""
    text = str(folder)
    if not text.isprintable() or set(text) & set('"\\'):
        raise InputError(
            f'--out {plain(text)}: an #SBATCH line cannot hold quotes ("), backslashes and unprintable characters; '
            f"give another folder"
        )
    return text.replace("%", "%%") + "/jobs/%A_%a.out"


def _site(asked: Resources) -> list[str]:
    """What makes the program and its MPI available on a node."""
    lines = [f"module load {shlex.quote(name)}" for name in asked.modules] + asked.setup
    lines += [f"export {name}={shlex.quote(value)}" for name, value in asked.environment.items()]
    return ["trap 'record_all $?' EXIT", "set -e", *lines, "set +e", "trap - EXIT", ""] if lines else []
