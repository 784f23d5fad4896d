"""The command line. A command imports what it needs when it is run, so that --help answers at once."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import InputError, WorldError
from . import options

if TYPE_CHECKING:
    from ..study.plan import Plan


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status. The user's mistakes are one line on standard error."""
    try:
        given = options.parse(sys.argv[1:] if argv is None else argv, COMMANDS)
        status = given.command(given)
        sys.stdout.flush()
        return status
    except (InputError, WorldError) as error:
        _complain(error)
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of a pipe is gone; nothing more is written, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _complain(error: Exception) -> None:
    """One line, by the first rank alone."""
    from ..launch import environment
    from ..text import plain

    if environment.launched_rank(os.environ) == 0:
        print(f"mpi-fed: {plain(' '.join(str(error).split()))}", file=sys.stderr)


def _run(given: Namespace) -> int:
    """Run studies: start the launcher, or inside one be a rank."""
    from ..launch import environment

    inside = environment.is_rank(os.environ, given.ranks)
    if inside and not given.dry_run:
        return _run_rank(given)
    _load_plugins(given)
    from ..study.plan import make_plan

    ranks = environment.launched_size(os.environ) if inside else given.ranks
    plan = make_plan(given.studies, given.out, given.set, given.only, ranks, given.variant, given.jobs)
    if given.dry_run:
        if environment.launched_rank(os.environ) == 0:
            print("\n".join(plan.lines()))
        return 0
    return _launch(given, plan)


def _run_rank(given: Namespace) -> int:
    """Be one rank of a run: MPI first, so that whatever fails from here on ends the whole job."""
    from ..launch import stop_signals, world

    stop_signals.listen()
    here = world.start()
    with world.guard(here):
        if given.ranks not in (None, here.size):
            raise WorldError(f"--ranks {given.ranks} was asked for, and the launcher started {here.size}")
        from .. import plugins

        plugins.load(given.plugin)
        from ..runner.repetitions import run

        options = {"analyze": not given.no_analyze, "checkpoint_seconds": given.checkpoint_seconds}
        return run(given.studies, given.out, given.set, given.only, given.variant, **options)


def _load_plugins(given: Namespace) -> None:
    """Load the plugins of a process that runs no rounds, and so needs no compiler."""
    from .. import plugins
    from ..engine import compile_switch

    compile_switch.compile_kernels = False
    plugins.load(given.plugin)


def _launch(given: Namespace, plan: Plan) -> int:
    """Start the launcher, once or once for each configuration; the exit status."""
    from ..launch.launcher import launch, launch_all, overall

    if given.jobs == 1:
        only = [] if given.only is None else [f"--only={given.only}"]
        return _told(launch(plan.ranks, [*_arguments_of_rank(given, given.studies, given.no_analyze), *only]))
    jobs = [
        [*_arguments_of_rank(given, [str(study.path)], True), f"--only={configuration.file_name}"]
        for study in plan.studies
        for configuration in study.configurations
    ]
    status = overall(launch_all(plan.ranks, jobs, given.jobs))
    if status == 0 and not given.no_analyze:
        from ..analysis import report

        return max(report(plan.out / study.name) for study in plan.studies)
    return _told(status)


def _told(status: int) -> int:
    """The launcher's exit status, where it means something said by the command itself: launchers lose last words."""
    from ..launch.launcher import CHECKPOINTED

    if status == CHECKPOINTED:
        print("mpi-fed: interrupted, with nothing lost; the same command goes on from there", file=sys.stderr)
    return status


def _arguments_of_rank(given: Namespace, studies: Sequence[str], no_analyze: bool) -> list[str]:
    """The command line with which each rank is started, but for --only."""
    texts = ["run", *studies, f"--out={given.out}"]
    texts += [f"--set={override}" for override in given.set]
    texts += [f"--variant={given.variant}"] if given.variant else []
    texts += [f"--plugin={plugin}" for plugin in given.plugin]
    texts += [f"--checkpoint-seconds={given.checkpoint_seconds:g}"]
    return texts + (["--no-analyze"] if no_analyze else [])


def _submit(given: Namespace) -> int:
    """Submit what studies lack as Slurm array jobs."""
    _load_plugins(given)
    from ..cluster import submit

    return submit.main(given)


def _status(given: Namespace) -> int:
    """Say what is done, running, queued, interrupted, failed and missing."""
    from ..cluster import status

    return status.main(given.folder, json=given.json)


def _predict(given: Namespace) -> int:
    """Theory alone: what each configuration should converge to."""
    _load_plugins(given)
    from ..study.plan import check_problems, load_studies

    studies = load_studies(given.studies, given.set, given.only, variant=given.variant)
    check_problems(studies)
    from ..theory import command

    return command.main(studies, json=given.json)


def _certify(given: Namespace) -> int:
    """Test each compressor, through the wire, against its definition."""
    from ..certification.command import certify

    return certify(given.dimension, given.draws, given.only, json=given.json, plugins=given.plugin)


def _bench(given: Namespace) -> int:
    """Time rounds of every route and compressor, beside the bare collectives."""
    from ..launch import environment

    if not environment.is_rank(os.environ, given.ranks):
        _load_plugins(given)
        from ..benchmark.command import bench

        return bench(given)
    from ..launch import world

    with world.guard(world.start()):
        from .. import plugins

        plugins.load(given.plugin)
        from ..benchmark.command import bench_here

        return bench_here(given)


def _compare(given: Namespace) -> int:
    """Say what is slower or faster in one bench result than in another."""
    from ..benchmark.command import compare

    return compare(given.first, given.second, threshold=given.threshold, json=given.json)


def _model(given: Namespace) -> int:
    """Say where compression pays, from bench results, on machines that nobody has here."""
    _load_plugins(given)
    from ..analysis.cost_model.command import model

    return model(given)


def _analyze(given: Namespace) -> int:
    """Turn logs into tables, pictures and a report."""
    _load_plugins(given)
    from ..analysis import analyze

    return analyze(given.paths, json=given.json, target=given.target, out=given.out)


def _scaling(given: Namespace) -> int:
    """Say what more ranks bring: speed-up, efficiency, and where a round's time goes."""
    _load_plugins(given)
    from ..analysis.scaling.command import scaling

    return scaling(given.paths, json=given.json, out=given.out)


def _doctor(given: Namespace) -> int:
    """Say what MPI and which launcher there are, what is wrong, and how to mend it."""
    from ..launch import doctor

    return doctor.main()


COMMANDS: options.Commands = {
    "run": (options.add_run, _run),
    "submit": (options.add_submit, _submit),
    "status": (options.add_status, _status),
    "predict": (options.add_predict, _predict),
    "certify": (options.add_certify, _certify),
    "bench": (options.add_bench, _bench),
    "compare": (options.add_compare, _compare),
    "model": (options.add_model, _model),
    "analyze": (options.add_analyze, _analyze),
    "scaling": (options.add_scaling, _scaling),
    "doctor": (options.add_doctor, _doctor),
}
