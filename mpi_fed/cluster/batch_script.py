"""Write batch scripts from their templates. Every text from a user is checked or quoted before it enters a script."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from ..errors import InputError
from ..launch.launcher import CHECKPOINTED
from ..text import plain
from .resources import Resources

WARNING = 120
"""Seconds before the time limit at which Slurm warns a job, so that it can save its state."""
MOST_RESTARTS = 100
"""Number of restarts after which a job is not requeued."""
IDLE_RESTARTS = 2
"""Number of restarts after which a job is not requeued if its last attempt changed no file."""


@dataclass(frozen=True)
class Job:
    """An array job. `tasks` holds, for each task, the names of the logs that it computes one after another."""

    name: str
    about: str
    tasks: Sequence[Sequence[str]]
    folder: Path
    ranks: int
    launch: Sequence[str]
    run: Sequence[str]
    resources: Resources


def script(job: Job) -> str:
    """Return the batch script. Raises InputError if an #SBATCH line cannot hold the folder's name."""
    if job.resources.tasks_per_node is None:
        raise ValueError("tasks_per_node must be set before the script is written")
    return render(
        "job.sh.j2",
        about=plain(job.about),
        directives=directives(job),
        folder=str(job.folder),
        most_restarts=MOST_RESTARTS,
        idle_restarts=IDLE_RESTARTS,
        tasks=job.tasks,
        setup=_setup(job.resources),
        ranks=job.ranks,
        launch=job.launch,
        run=job.run,
    )


def render(template: str, **variables: Any) -> str:
    """Return a template of this folder with these variables. Its filters `quote` and `words` quote text for a shell."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"quote": shlex.quote, "words": shlex.join}
    return environment.get_template(template).render(checkpointed=CHECKPOINTED, **variables)


def directives(job: Job) -> list[str]:
    """Return the options of the #SBATCH lines."""
    resources = job.resources
    limit = f"%{resources.array_limit}" if resources.array_limit else ""
    options = {
        "job-name": job.name,
        "array": f"0-{len(job.tasks) - 1}{limit}",
        "nodes": resources.nodes,
        "ntasks-per-node": resources.tasks_per_node,
        "cpus-per-task": resources.cpus_per_task,
        "mem": resources.mem,
        "time": resources.time,
        "partition": resources.partition,
        "account": resources.account,
        "qos": resources.qos,
        "constraint": resources.constraint,
        "signal": f"B:USR1@{warning(resources.seconds)}",
        "open-mode": "append",
        "output": f'"{_output(job.folder)}"',
    }
    return [
        "--requeue",
        *(f"--{name}={value}" for name, value in options.items() if value is not None),
        *resources.sbatch,
    ]


def warning(limit: int | None) -> int:
    """Return the seconds between the warning of a job and its time limit: at most a quarter of the limit."""
    return WARNING if limit is None else max(1, min(WARNING, limit // 4))


def _output(folder: Path) -> str:
    """Return the path of the job's output as a quoted #SBATCH value, which only Slurm reads; %% stands for %."""
    text = str(folder)
    if not text.isprintable() or set(text) & set('"\\'):
        raise InputError(
            f'--out {plain(text)}: an #SBATCH line cannot hold quotes ("), backslashes or unprintable characters; '
            f"give another folder"
        )
    return text.replace("%", "%%") + "/jobs/%A_%a.out"


def _setup(resources: Resources) -> list[str]:
    """Return the lines of shell that make the program and its MPI available on a node."""
    lines = [f"module load {shlex.quote(name)}" for name in resources.modules] + resources.setup
    return lines + [f"export {name}={shlex.quote(value)}" for name, value in resources.environment.items()]
