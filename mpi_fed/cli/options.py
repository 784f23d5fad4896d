"""The arguments of every command. A wrong argument raises InputError with one sentence."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import NoReturn

from ..errors import InputError
from ..study.run_options import RunOptions
from ..study.toml_tables import TABLES
from .numbers import amount, factor, positive, seconds

OVERRIDE = re.compile(rf"({'|'.join(TABLES)})\.[^=/]*=")
"""Pattern of an override. It distinguishes an override from the path of a study file."""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises InputError."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help)")  # argparse itself would print and exit


Commands = dict[str, tuple[Callable[[Parser], None], Callable[[argparse.Namespace], int]]]
"""For each command, the function that adds its arguments and the function that runs it."""


def parse(argv: Sequence[str], commands: Commands) -> argparse.Namespace:
    """Return the parsed command line. Its `command` is the function to call with it. Raises InputError."""
    parser = _parser(commands)
    arguments, others = parser.parse_known_args(argv)
    if not hasattr(arguments, "command"):
        raise InputError(f"no command is given; give one of {', '.join(commands)} (see mpi-fed --help)")
    stray = [text for text in others if text.startswith("-") or not hasattr(arguments, "studies")]
    if stray:
        raise InputError(f"unknown argument {stray[0]} (see mpi-fed --help)")
    if hasattr(arguments, "studies"):
        texts = arguments.studies + others
        arguments.studies = [text for text in texts if not OVERRIDE.match(text)]
        arguments.set += [text for text in texts if OVERRIDE.match(text)]
        if not arguments.studies:
            raise InputError("no study file is given (see mpi-fed run --help)")
    return arguments


def command_parsers(commands: Commands) -> dict[str, Parser]:
    """Return the parser of each command, by its name."""
    (action,) = (each for each in _parser(commands)._actions if isinstance(each, argparse._SubParsersAction))
    return dict(action.choices)


def _parser(commands: Commands) -> Parser:
    from ..version import __version__

    parser = Parser(prog="mpi-fed", description="Compressed federated least-squares regression over MPI.")
    parser.add_argument("--version", action="version", version=f"mpi-fed {__version__}")
    children = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, (add_arguments, command) in commands.items():
        help = (command.__doc__ or "").split("\n")[0]
        child = children.add_parser(name, help=help, description=help, allow_abbrev=False)
        child.set_defaults(command=command)
        add_arguments(child)
    return parser


def add_run(parser: Parser) -> None:
    """Add the arguments of `mpi-fed run`."""
    _add_studies(parser)
    parser.add_argument(
        "--ranks",
        type=positive,
        metavar="N",
        help="number of MPI ranks (default: as many as clients, but at most the number of cores divided by J)",
    )
    _add_out(parser)
    parser.add_argument(
        "--jobs",
        type=positive,
        default=RunOptions.jobs,
        metavar="J",
        help="run J configurations at the same time (default: 1)",
    )
    _add_checkpoint_seconds(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="print the configurations and check them, but start nothing"
    )
    parser.add_argument("--no-analyze", action="store_true", help="print no table and write no report at the end")


def add_submit(parser: Parser) -> None:
    """Add the arguments of `mpi-fed submit`."""
    _add_studies(parser)
    _add_out(parser)
    counts = {
        "--nodes": "number of nodes of an array task (default: 1)",
        "--tasks-per-node": "ranks on each node (default: as many as clients, at most 8)",
        "--cpus-per-task": "cores for each rank (default: 1)",
        "--array-limit": "let at most N array tasks run at the same time",
    }
    for option, help in counts.items():
        parser.add_argument(option, type=positive, metavar="N", help=help)
    for option in ("mem", "time", "partition", "account", "qos", "constraint"):
        parser.add_argument(f"--{option}", metavar=option[0].upper(), help=f"passed on to sbatch as --{option}")
    parser.add_argument(
        "--sbatch",
        action="append",
        default=[],
        metavar="LINE",
        help="pass on another option to sbatch, as in --sbatch=--gres=gpu:1",
    )
    _add_checkpoint_seconds(parser)
    parser.add_argument(
        "--profile", metavar="FILE", help="TOML file with the settings of your cluster (see docs/cluster.md)"
    )
    parser.add_argument(
        "--max-core-hours", type=amount, metavar="H", help="submit nothing if the estimate is above H core hours"
    )
    parser.add_argument(
        "--bundle-minutes",
        type=amount,
        default=10.0,
        metavar="M",
        help="group short configurations into one array task of up to M minutes by the estimate (default: 10)",
    )
    parser.add_argument(
        "--no-estimate", action="store_true", help="measure no rounds; estimate the time from earlier logs only"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the batch scripts, but submit nothing")


def add_status(parser: Parser) -> None:
    """Add the arguments of `mpi-fed status`."""
    parser.add_argument(
        "folder", metavar="DIR", help="folder of all logs, such as runs, or of one study, such as runs/quickstart"
    )
    _add_json(parser)


def add_predict(parser: Parser) -> None:
    """Add the arguments of `mpi-fed predict`."""
    _add_studies(parser)
    _add_json(parser)


def add_certify(parser: Parser) -> None:
    """Add the arguments of `mpi-fed certify`."""
    parser.add_argument(
        "--dimension", type=positive, metavar="D", help="test in this dimension only (default: several)"
    )
    parser.add_argument("--draws", type=positive, metavar="M", help="draw M messages for each compressor")
    parser.add_argument("--only", metavar="TEXT", help="test only compressors whose label contains TEXT")
    _add_json(parser)
    _add_plugin(parser)


def add_bench(parser: Parser) -> None:
    """Add the arguments of `mpi-fed bench`."""
    parser.add_argument("--ranks", type=positive, metavar="N", help="start N ranks (default: 2)")
    parser.add_argument(
        "--dimension",
        type=positive,
        nargs="+",
        metavar="D",
        help="measure in these dimensions (default: 100, 10,000 and 1,000,000)",
    )
    parser.add_argument(
        "--route", nargs="+", metavar="KIND", help="measure these routes (default: all that can carry the compressor)"
    )
    parser.add_argument(
        "--compressor",
        nargs="+",
        metavar="KIND",
        help='measure these compressors, with parameters if needed, as in "quantization levels=127" '
        "(default: all unbiased ones)",
    )
    parser.add_argument(
        "--downlink-bits",
        type=int,
        choices=(64, 32, 16),
        nargs="+",
        metavar="B",
        help="broadcast the iterate in floats of B bits: 64, 32 or 16, or several of them (default: 64)",
    )
    parser.add_argument(
        "--downlink",
        nargs="+",
        metavar="KIND",
        help="broadcast the compressed direction of the step in place of the iterate; KIND is a compressor as above, "
        'or "same" for the compressor of the uplink',
    )
    parser.add_argument(
        "--repetitions",
        type=positive,
        metavar="R",
        help="time R rounds in each launch (default: 20 to 1,000, by dimension)",
    )
    parser.add_argument("--launches", type=positive, metavar="L", help="start the ranks L times (default: 5)")
    parser.add_argument(
        "--out", metavar="FILE", help="save the result as JSON, for `mpi-fed compare` and `mpi-fed model`"
    )
    _add_json(parser)
    _add_plugin(parser)


def add_compare(parser: Parser) -> None:
    """Add the arguments of `mpi-fed compare`."""
    parser.add_argument("first", metavar="A.json", help="earlier result, saved by `mpi-fed bench --out`")
    parser.add_argument("second", metavar="B.json", help="later result")
    parser.add_argument(
        "--threshold",
        type=factor,
        default=1.1,
        metavar="T",
        help="call a case slower or faster only if its time changed by a factor of at least T (default: 1.1)",
    )
    _add_json(parser)


def add_model(parser: Parser) -> None:
    """Add the arguments of `mpi-fed model`."""
    parser.add_argument(
        "results",
        nargs="+",
        metavar="FILE[@RATE]",
        help="result saved by `mpi-fed bench --out`; add @1gbit if each rank ran on a host of its own with such a link",
    )
    parser.add_argument(
        "--preset", nargs="+", metavar="NAME", help="predict for these machines (default: all in docs/model.md)"
    )
    texts = {
        "--bandwidth": (
            "RATE",
            "bandwidth of the links, as in 100mbit; without --preset it describes a machine of your own",
        ),
        "--down": ("RATE", "bandwidth from the root to a client, if it differs"),
        "--root-bandwidth": ("RATE", "bandwidth of the root's own link (default: the bandwidth of the other links)"),
        "--latency": ("TIME", "latency of one way, as in 20ms"),
    }
    for option, (metavar, help) in texts.items():
        parser.add_argument(option, metavar=metavar, help=help)
    counts = {
        "--clients": "number of clients (default for a machine of your own: 2)",
        "--participants": "number of clients drawn for each round (default: all)",
        "--cores": "number of cores of a machine with shared memory, where clients take turns",
    }
    for option, help in counts.items():
        parser.add_argument(option, type=positive, metavar="N", help=help)
    parser.add_argument(
        "--dimension",
        type=positive,
        nargs="+",
        metavar="D",
        help="predict for these dimensions (default: the dimensions in the files)",
    )
    parser.add_argument("--risk", type=float, default=1e-3, metavar="EPS", help="excess risk to reach (default: 0.001)")
    parser.add_argument(
        "--study", metavar="STUDY", help="study whose problem is used (default: the problem of the bench)"
    )
    _add_json(parser)
    _add_plugin(parser)


def add_analyze(parser: Parser) -> None:
    """Add the arguments of `mpi-fed analyze`."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="logs, or folders of logs")
    parser.add_argument(
        "--target", type=float, metavar="RISK", help="excess risk to reach (default: 1.1 times the worst final mean)"
    )
    parser.add_argument("--out", metavar="DIR", help="folder of the report (default: the folder of the logs)")
    _add_json(parser)
    _add_plugin(parser)


def add_scaling(parser: Parser) -> None:
    """Add the arguments of `mpi-fed scaling`."""
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="logs of runs on different numbers of ranks, or folders of such logs"
    )
    parser.add_argument(
        "--out", metavar="DIR", help="folder of the table, JSON and picture (default: the folder of the logs)"
    )
    _add_json(parser)
    _add_plugin(parser)


def add_doctor(parser: Parser) -> None:
    """Add nothing: `mpi-fed doctor` takes no arguments."""


def _add_studies(parser: Parser) -> None:
    parser.add_argument("studies", nargs="+", metavar="STUDY", help="study file (TOML; see docs/study-file.md)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="TABLE.KEY=VALUE",
        help="set a key of the study, as in --set problem.dimension=50; compressor.KEY sets it in every compressor",
    )
    parser.add_argument("--variant", metavar="NAME", help="use this variant of the study, such as small")
    parser.add_argument(
        "--only", metavar="TEXT", help="take only configurations whose label or file name contains TEXT"
    )
    _add_plugin(parser)


def _add_checkpoint_seconds(parser: Parser) -> None:
    parser.add_argument(
        "--checkpoint-seconds",
        type=seconds,
        default=RunOptions.checkpoint_seconds,
        metavar="S",
        help="save the state every S seconds; a killed run loses at most this much work (default: 60)",
    )


def _add_out(parser: Parser) -> None:
    parser.add_argument(
        "--out",
        default=RunOptions.out,
        metavar="DIR",
        help="write the logs to DIR/NAME, where NAME is the name of the study (default: runs)",
    )


def _add_json(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, and nothing else, on standard output")


def _add_plugin(parser: Parser) -> None:
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="FILE.py",
        help="Python file with your own compressors, problems, algorithms or routes; its code is run",
    )
