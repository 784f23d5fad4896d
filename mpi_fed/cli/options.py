"""The arguments of every command. Whatever is wrong with them is an InputError, one sentence."""

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
"""An override, in contrast to a study file's path, where both may stand."""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises InputError."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} ({self.prog} --help tells more)")  # where argparse would print and exit


Commands = dict[str, tuple[Callable[[Parser], None], Callable[[argparse.Namespace], int]]]
"""For each command, the function that adds its arguments and the one that runs it."""


def parse(argv: Sequence[str], commands: Commands) -> argparse.Namespace:
    """The parsed command line, `command` the function to call with it. Raises InputError."""
    parser = _parser(commands)
    arguments, others = parser.parse_known_args(argv)
    if not hasattr(arguments, "command"):
        raise InputError(f"no command is given; give one of {', '.join(commands)} (mpi-fed --help tells more)")
    stray = [text for text in others if text.startswith("-") or not hasattr(arguments, "studies")]
    if stray:
        raise InputError(f"unknown argument {stray[0]} (mpi-fed --help tells more)")
    if hasattr(arguments, "studies"):
        texts = arguments.studies + others
        arguments.studies = [text for text in texts if not OVERRIDE.match(text)]
        arguments.set += [text for text in texts if OVERRIDE.match(text)]
        if not arguments.studies:
            raise InputError("no study file is given (mpi-fed run --help tells more)")
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
    _add_studies(parser)
    parser.add_argument(
        "--ranks", type=positive, metavar="N", help="default: as clients, at most the cores (or a job's share)"
    )
    _add_out(parser)
    parser.add_argument(
        "--jobs", type=positive, default=RunOptions.jobs, metavar="J", help="configurations side by side (default: 1)"
    )
    _add_checkpoint_seconds(parser)
    parser.add_argument("--dry-run", action="store_true", help="print what would run, and start nothing")
    parser.add_argument("--no-analyze", action="store_true", help="no table and no report at the end")


def add_submit(parser: Parser) -> None:
    _add_studies(parser)
    _add_out(parser)
    counts = {
        "--nodes": "nodes of a job (default: 1)",
        "--tasks-per-node": "ranks on each (default: as many as clients, at most 8)",
        "--cpus-per-task": "cores of a rank (default: 1)",
        "--array-limit": "tasks that run at a time",
    }
    for option, help in counts.items():
        parser.add_argument(option, type=positive, metavar="N", help=help)
    for option in ("mem", "time", "partition", "account", "qos", "constraint"):
        parser.add_argument(f"--{option}", metavar=option[0].upper(), help=f"as sbatch's --{option}")
    parser.add_argument(
        "--sbatch", action="append", default=[], metavar="LINE", help="another option, as in --sbatch=--gres=gpu:1"
    )
    _add_checkpoint_seconds(parser)
    parser.add_argument("--profile", metavar="FILE", help="what a site needs (TOML; docs/cluster.md)")
    parser.add_argument(
        "--max-core-hours", type=amount, metavar="H", help="submit nothing where the estimate is above this"
    )
    parser.add_argument(
        "--bundle-minutes",
        type=amount,
        default=10.0,
        metavar="M",
        help="short configurations share a task for as long as it takes less than this by the estimate (default: 10)",
    )
    parser.add_argument(
        "--no-estimate", action="store_true", help="measure nothing: earlier logs alone tell how long it takes"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the scripts, and submit nothing")


def add_status(parser: Parser) -> None:
    parser.add_argument("folder", metavar="DIR", help="runs, or the folder of one study in it")
    _add_json(parser)


def add_predict(parser: Parser) -> None:
    _add_studies(parser)
    _add_json(parser)


def add_certify(parser: Parser) -> None:
    parser.add_argument("--dimension", type=positive, metavar="D", help="one dimension in place of several")
    parser.add_argument("--draws", type=positive, metavar="M", help="messages drawn for each compressor")
    parser.add_argument("--only", metavar="TEXT", help="those compressors alone whose label contains TEXT")
    _add_json(parser)
    _add_plugin(parser)


def add_bench(parser: Parser) -> None:
    parser.add_argument("--ranks", type=positive, metavar="N", help="ranks that are started (default: 2)")
    parser.add_argument("--dimension", type=positive, nargs="+", metavar="D", help="default: 100, 10,000 and 1,000,000")
    parser.add_argument("--route", nargs="+", metavar="KIND", help="default: every one that carries the compressor")
    parser.add_argument(
        "--compressor",
        nargs="+",
        metavar="KIND",
        help='default: every unbiased one; with parameters as in "quantization levels=127"',
    )
    parser.add_argument(
        "--downlink-bits",
        type=int,
        choices=(64, 32, 16),
        nargs="+",
        metavar="B",
        help="of the floats in which the iterate comes back: 64, 32 or 16, or several (default: 64)",
    )
    parser.add_argument(
        "--downlink",
        nargs="+",
        metavar="KIND",
        help="compress the step's direction on its way back in place of that: by this compressor, with parameters as "
        'above, or by the "same" as on the way up',
    )
    parser.add_argument(
        "--repetitions", type=positive, metavar="R", help="timed rounds a launch (default: 20 to 1,000, by dimension)"
    )
    parser.add_argument(
        "--launches", type=positive, metavar="L", help="times that the ranks are started anew (default: 5)"
    )
    parser.add_argument("--out", metavar="FILE", help="save the JSON, for `mpi-fed compare`")
    _add_json(parser)
    _add_plugin(parser)


def add_compare(parser: Parser) -> None:
    parser.add_argument("first", metavar="A.json", help="what `mpi-fed bench --out` saved before")
    parser.add_argument("second", metavar="B.json", help="and what it saved after")
    parser.add_argument(
        "--threshold",
        type=factor,
        default=1.1,
        metavar="T",
        help="slower or faster by less than this factor is told as neither (default: 1.1)",
    )
    _add_json(parser)


def add_model(parser: Parser) -> None:
    parser.add_argument(
        "results",
        nargs="+",
        metavar="FILE[@RATE]",
        help="what `mpi-fed bench --out` saved; @1gbit: each rank was on a host with such a link",
    )
    parser.add_argument("--preset", nargs="+", metavar="NAME", help="machines (default: all that docs/model.md lists)")
    texts = {
        "--bandwidth": ("RATE", "of the links of a machine of your own, or instead of a preset's, as in 100mbit"),
        "--down": ("RATE", "from the root to a client, where it is another"),
        "--root-bandwidth": ("RATE", "of the root's own link (default: as the others)"),
        "--latency": ("TIME", "of one way, as in 20ms"),
    }
    for option, (metavar, help) in texts.items():
        parser.add_argument(option, metavar=metavar, help=help)
    counts = {
        "--clients": "how many (default for a machine of your own: 2)",
        "--participants": "clients drawn for each round (default: all)",
        "--cores": "of a shared memory, whose clients take turns on them",
    }
    for option, help in counts.items():
        parser.add_argument(option, type=positive, metavar="N", help=help)
    parser.add_argument("--dimension", type=positive, nargs="+", metavar="D", help="default: those of the files")
    parser.add_argument("--risk", type=float, default=1e-3, metavar="EPS", help="the target (default: 0.001)")
    parser.add_argument("--study", metavar="STUDY", help="whose problem it is (default: the bench's)")
    _add_json(parser)
    _add_plugin(parser)


def add_analyze(parser: Parser) -> None:
    parser.add_argument("paths", nargs="+", metavar="PATH", help="logs, or folders of logs")
    parser.add_argument("--target", type=float, metavar="RISK", help="default: 1.1 times the worst final mean")
    parser.add_argument("--out", metavar="DIR", help="the report's folder (default: beside the logs)")
    _add_json(parser)
    _add_plugin(parser)


def add_scaling(parser: Parser) -> None:
    parser.add_argument("paths", nargs="+", metavar="PATH", help="logs of several numbers of ranks, or folders of them")
    parser.add_argument("--out", metavar="DIR", help="the folder of table, JSON and picture (default: beside the logs)")
    _add_json(parser)
    _add_plugin(parser)


def add_doctor(parser: Parser) -> None:
    """It takes no arguments."""


def _add_studies(parser: Parser) -> None:
    parser.add_argument("studies", nargs="+", metavar="STUDY", help="study files (TOML)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="TABLE.KEY=VALUE",
        help="override a key, as in --set problem.dimension=50; `compressor` means every compressor",
    )
    parser.add_argument("--variant", metavar="NAME", help="the study files' variant of this name, such as small")
    parser.add_argument("--only", metavar="TEXT", help="those configurations alone whose label contains TEXT")
    _add_plugin(parser)


def _add_checkpoint_seconds(parser: Parser) -> None:
    parser.add_argument(
        "--checkpoint-seconds",
        type=seconds,
        default=RunOptions.checkpoint_seconds,
        metavar="S",
        help="save a repetition in progress this often, so that a killed run loses no more (default: 60)",
    )


def _add_out(parser: Parser) -> None:
    parser.add_argument(
        "--out", default=RunOptions.out, metavar="DIR", help="logs go to DIR/STUDY'S NAME (default: runs)"
    )


def _add_json(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="JSON, alone, on standard output")


def _add_plugin(parser: Parser) -> None:
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="FILE.py",
        help="a file with compressors, problems, algorithms or routes of your own; its code is run",
    )
