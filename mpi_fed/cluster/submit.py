"""Check the missing configurations of studies, estimate their cost and submit them to Slurm as array jobs."""

from __future__ import annotations

import shlex
import shutil
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace

from ..errors import InputError
from ..study.load import Study
from ..study.plan import load_studies, make_plan
from ..study.run_options import RunOptions
from ..terminal.console import say
from .array_jobs import launcher_words, make_job, submit_scripts
from .batch_script import script
from .budget import check_budget, with_time_limit
from .missing_work import arrays, find_missing
from .resources import Resources, from_command_line

TASKS = 8
"""Largest number of ranks on a node if --tasks-per-node is not given."""
CLIENTS = 4
"""Ranks on a node if neither --tasks-per-node nor the study's number of clients is given."""


def submit_studies(arguments: Namespace) -> int:
    """Submit the studies, or with --dry-run print the batch scripts. Return the exit status."""
    options = replace(RunOptions.of(arguments), analyze=False, dry_run=False)
    studies, resources = _checked_studies(options, from_command_line(arguments))
    if not arguments.dry_run and shutil.which("sbatch") is None:
        raise InputError("sbatch is not on PATH; submit on a machine with Slurm, or print the script with --dry-run")
    launch = resources.launch or launcher_words(resources)
    complete = load_studies(options.studies, options.overrides, None, resources.ranks, options.variant)
    longest, measure = 60.0 * arguments.bundle_minutes, not arguments.no_estimate
    works = [find_missing(study, options, resources.ranks, longest, measure) for study in studies]
    resources = with_time_limit(resources, works)
    check_budget(works, resources, arguments.max_core_hours)
    for work in works:
        scripts = [script(make_job(options, resources, launch, work, tasks)) for tasks in arrays(work.tasks)]
        if arguments.dry_run:
            print("\n".join(scripts), end="")
        else:
            submit_scripts(work, next(study for study in complete if study.name == work.study.name), scripts)
    if not arguments.dry_run:
        say(f"`mpi-fed status {shlex.quote(options.out)}` shows the progress")
    return 0


def _checked_studies(options: RunOptions, resources: Resources) -> tuple[Sequence[Study], Resources]:
    """Return the studies, checked for the number of ranks, and the resources with the nodes and ranks filled in."""
    nodes, tasks = resources.nodes or 1, resources.tasks_per_node
    if tasks is None:
        studies = load_studies(options.studies, options.overrides, options.only, CLIENTS * nodes, options.variant)
        fewest = min(c.clients for study in studies for c in study.configurations)
        tasks = max(1, min(TASKS, fewest // nodes))
    settled = {"nodes": nodes, "tasks_per_node": tasks, "cpus_per_task": resources.cpus_per_task or 1}
    resources = resources.model_copy(update=settled)
    return make_plan(replace(options, ranks=resources.ranks), ranks_here=0).studies, resources
