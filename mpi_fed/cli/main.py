"""The command line and its commands. A command imports its modules when it runs, so that --help is fast."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence

from ..errors import InputError, WorldError
from . import options


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. Print a user's mistake as one line on standard error."""
    try:
        arguments = options.parse(sys.argv[1:] if argv is None else argv, COMMANDS)
        status: int = arguments.command(arguments)
        sys.stdout.flush()
        return status
    except (InputError, WorldError) as error:
        _print_error(error)
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of the pipe is gone: write nothing more, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _print_error(error: Exception) -> None:
    """Print one line, on the first rank only."""
    from ..launch import environment
    from ..terminal.console import say

    if environment.launched_rank(os.environ) == 0:
        say(" ".join(str(error).split()))


def _load_plugins(arguments: Namespace) -> None:
    from .uncompiled import load_plugins

    load_plugins(arguments.plugin)


def _run(arguments: Namespace) -> int:
    """Run studies on MPI ranks, started by this command, mpiexec or srun."""
    from .run import run

    return run(arguments)


def _submit(arguments: Namespace) -> int:
    """Submit the unfinished configurations of studies as Slurm array jobs."""
    _load_plugins(arguments)
    from ..cluster.command import submit

    return submit(arguments)


def _status(arguments: Namespace) -> int:
    """Show which configurations are done, running, queued, interrupted, failed or missing."""
    from ..cluster.command import status

    return status(arguments.folder, json=arguments.json)


def _predict(arguments: Namespace) -> int:
    """Predict excess risk and limit trace of each configuration from theory, without a run."""
    _load_plugins(arguments)
    from ..study.plan import load_studies
    from ..theory.command import predict_studies

    studies = load_studies(arguments.studies, arguments.set, arguments.only, variant=arguments.variant)
    return predict_studies(studies, json=arguments.json)


def _certify(arguments: Namespace) -> int:
    """Test the messages of each compressor against its definition."""
    from ..certification.command import certify

    return certify(arguments.dimension, arguments.draws, arguments.only, json=arguments.json, plugins=arguments.plugin)


def _bench(arguments: Namespace) -> int:
    """Measure the time of a round for every route and compressor, and of the bare MPI collectives."""
    from ..launch import environment

    if not environment.is_rank(os.environ, arguments.ranks):
        _load_plugins(arguments)
        from ..benchmark.command import bench

        return bench(arguments)
    from ..launch import world

    with world.guard(world.start()):
        from .. import plugins

        plugins.load(arguments.plugin)
        from ..benchmark.command import bench_here

        return bench_here(arguments)


def _compare(arguments: Namespace) -> int:
    """Compare two results of `mpi-fed bench`: show which cases became slower or faster."""
    from ..benchmark.command import compare

    return compare(arguments.first, arguments.second, threshold=arguments.threshold, json=arguments.json)


def _model(arguments: Namespace) -> int:
    """Predict from bench results on which machines and links compression pays."""
    _load_plugins(arguments)
    from ..analysis.cost_model.command import model

    return model(arguments)


def _analyze(arguments: Namespace) -> int:
    """Turn logs into tables, pictures and a report."""
    _load_plugins(arguments)
    from ..analysis import analyze

    return analyze(arguments.paths, json=arguments.json, target=arguments.target, out=arguments.out)


def _scaling(arguments: Namespace) -> int:
    """Show speed-up, efficiency and the time of each phase of a round, by number of ranks."""
    _load_plugins(arguments)
    from ..analysis.scaling.command import scaling

    return scaling(arguments.paths, json=arguments.json, out=arguments.out)


def _doctor(arguments: Namespace) -> int:
    """Check MPI, its launcher and this machine, and show how to fix what is wrong."""
    from ..doctor.command import doctor

    return doctor()


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
"""For each command, the function that adds its arguments and the function that runs it, whose docstring is the help."""
