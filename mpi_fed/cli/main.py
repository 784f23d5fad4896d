"""The command line: which command runs what. Each imports what it needs when it is run, so that --help is quick."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence

from ..errors import InputError, WorldError
from . import options


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status. A user's mistake is one line on standard error."""
    try:
        arguments = options.parse(sys.argv[1:] if argv is None else argv, COMMANDS)
        status = arguments.command(arguments)
        sys.stdout.flush()
        return status
    except (InputError, WorldError) as error:
        _print_error(error)
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of a pipe is gone; nothing more is written, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _print_error(error: Exception) -> None:
    """Print one line, on the first rank alone."""
    from ..launch import environment
    from ..terminal.console import say

    if environment.launched_rank(os.environ) == 0:
        say(" ".join(str(error).split()))


def _load_plugins(arguments: Namespace) -> None:
    from .uncompiled import load_plugins

    load_plugins(arguments.plugin)


def _run(arguments: Namespace) -> int:
    """Run studies: start the launcher, or inside one be a rank."""
    from .run import run

    return run(arguments)


def _submit(arguments: Namespace) -> int:
    """Submit what studies lack as Slurm array jobs."""
    _load_plugins(arguments)
    from ..cluster.command import submit

    return submit(arguments)


def _status(arguments: Namespace) -> int:
    """Say what is done, running, queued, interrupted, failed and missing."""
    from ..cluster.command import status

    return status(arguments.folder, json=arguments.json)


def _predict(arguments: Namespace) -> int:
    """Theory alone: what each configuration should converge to."""
    _load_plugins(arguments)
    from ..study.plan import load_studies
    from ..theory.command import predict_studies

    studies = load_studies(arguments.studies, arguments.set, arguments.only, variant=arguments.variant)
    return predict_studies(studies, json=arguments.json)


def _certify(arguments: Namespace) -> int:
    """Test each compressor, through the wire, against its definition."""
    from ..certification.command import certify

    return certify(arguments.dimension, arguments.draws, arguments.only, json=arguments.json, plugins=arguments.plugin)


def _bench(arguments: Namespace) -> int:
    """Time rounds of every route and compressor, beside the bare collectives."""
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
    """Say what is slower or faster in one bench result than in another."""
    from ..benchmark.command import compare

    return compare(arguments.first, arguments.second, threshold=arguments.threshold, json=arguments.json)


def _model(arguments: Namespace) -> int:
    """Say where compression pays, from bench results, on machines that nobody has here."""
    _load_plugins(arguments)
    from ..analysis.cost_model.command import model

    return model(arguments)


def _analyze(arguments: Namespace) -> int:
    """Turn logs into tables, pictures and a report."""
    _load_plugins(arguments)
    from ..analysis import analyze

    return analyze(arguments.paths, json=arguments.json, target=arguments.target, out=arguments.out)


def _scaling(arguments: Namespace) -> int:
    """Say what more ranks bring: speed-up, efficiency, and where a round's time goes."""
    _load_plugins(arguments)
    from ..analysis.scaling.command import scaling

    return scaling(arguments.paths, json=arguments.json, out=arguments.out)


def _doctor(arguments: Namespace) -> int:
    """Say what MPI and which launcher there are, what is wrong, and how to fix it."""
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
"""For each command, the function that adds its arguments and the one that runs it. Its docstring is the help."""
