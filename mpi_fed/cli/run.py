"""`mpi-fed run`: make the plan, start the ranks or act as one of them, and write the report."""

from __future__ import annotations

import os
from argparse import Namespace
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import WorldError
from ..launch import environment
from ..study.run_options import RunOptions
from ..terminal.console import say
from ..text import count

if TYPE_CHECKING:
    from ..study.plan import Plan


def run(arguments: Namespace) -> int:
    """Run the studies, or print the plan with --dry-run. Return the exit status."""
    options = RunOptions.of(arguments)
    is_rank = environment.is_rank(os.environ, options.ranks)
    if is_rank and not options.dry_run:
        return _run_as_rank(options)
    from .uncompiled import load_plugins

    load_plugins(options.plugins)
    from ..study.plan import make_plan

    plan = make_plan(replace(options, ranks=environment.launched_size(os.environ)) if is_rank else options)
    if options.dry_run:
        if environment.launched_rank(os.environ) == 0:
            print("\n".join(plan.lines()))
        return 0
    return _start_ranks(options, plan)


def _run_as_rank(options: RunOptions) -> int:
    """Act as one rank of a run. MPI is started first, so that any later failure ends the whole job."""
    from ..launch import stop_signals, world

    stop_signals.watch()
    here = world.start()
    with world.guard(here):
        if options.ranks not in (None, here.size):
            started = f"the launcher started {count(here.size, 'rank')}"
            raise WorldError(f"--ranks {options.ranks}: {started}; leave --ranks out or give {here.size}")
        from .. import plugins

        plugins.load(options.plugins)
        from ..runner import repetitions
        from ..study.plan import make_plan

        plan = make_plan(replace(options, ranks=here.size), ranks_here=here.node_size)
        status = repetitions.run(plan, here, options.checkpoint_seconds)
        return _report(plan) if status == 0 and options.analyze and here.is_root else status


def _start_ranks(options: RunOptions, plan: Plan) -> int:
    """Start the launcher, once for all configurations or once for each. Return the exit status."""
    from ..launch.launcher import launch, launch_all, overall_status

    of_rank = replace(options, ranks=None, jobs=1)
    if options.jobs == 1:
        return _say_if_interrupted(launch(plan.ranks, of_rank.to_argv()))
    jobs = [
        replace(of_rank, studies=(str(study.path),), only=configuration.file_name, analyze=False).to_argv()
        for study in plan.studies
        for configuration in study.configurations
    ]
    status = overall_status(launch_all(plan.ranks, jobs, options.jobs))
    return _report(plan) if status == 0 and options.analyze else _say_if_interrupted(status)


def _report(plan: Plan) -> int:
    """Print and write the report of each study. Return the exit status."""
    from ..analysis import report

    return max(report(folder) for folder in plan.folders)


def _say_if_interrupted(status: int) -> int:
    """Return the launcher's exit status, and report an interruption, because launchers lose the ranks' last output."""
    from ..launch.launcher import CHECKPOINTED

    if status == CHECKPOINTED:
        say("interrupted, with nothing lost; run the same command again to continue")
    return status
