"""The schema of a log: its dimensions, datasets, attributes and limits. Each name is spelled only here.

This file contains only data, so that every module can import it: `layout` gives the datasets their sizes, `writer`
fills them, `reader` reads them. `docs/log-format.md` defines each entry in full, and a test compares the page with
this file. To add a dataset or an attribute, add an entry here, a row on that page, and the line that writes it. The
definition on the page begins with the entry's `meaning`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from ..engine.phases import PHASES

LOG_FORMAT, LOG_FORMAT_VERSION = "mpi-fed log", 1

ITERATES_LIMIT = 100_000_000
"""Largest size in bytes of all iterates for which `log.iterates = "auto"` stores them at every log point."""
CLIENTS_LIMIT = 1000
"""Largest number of clients for which each client's payload bytes are stored at every log point."""
METADATA_LIMIT = 2**18
"""Upper bound on the bytes of a log outside its datasets."""
TEXT_LIMIT = 60_000
"""Largest number of bytes of an attribute's text that is stored with a fixed length."""


class Status(StrEnum):
    """Values of the attribute `status`."""

    RUNNING = "running"
    COMPLETE = "complete"
    INTERRUPTED = "interrupted"
    DIVERGED = "diverged"


class RepetitionStatus(IntEnum):
    """Values of the dataset `repetition_status`."""

    MISSING = 0
    COMPLETE = 1
    DIVERGED = 2


class Kind(StrEnum):
    """Type of a dataset. At log points that are not reached, floats are NaN and counts are -1."""

    FLOAT = "float64"
    COUNT = "int64"
    TEXT = "text"


class AttributeKind(StrEnum):
    """Type of a root attribute."""

    TEXT = "text"
    JSON = "JSON"
    INTEGER = "integer"
    FLOAT = "float"


class Condition(StrEnum):
    """Condition under which a log has a dataset."""

    ALWAYS = ""
    ALL_ITERATES = 'Only with `log.iterates = "all"`.'
    LAST_ITERATES = 'Only with `log.iterates = "last"`.'
    FEW_CLIENTS = f"Up to {CLIENTS_LIMIT:,} clients."
    MANY_CLIENTS = f"Above {CLIENTS_LIMIT:,} clients."


@dataclass(frozen=True, eq=False)
class Dimension:
    """An axis, and the dataset of the same name with its coordinate. `length` is a symbol or a number."""

    name: str
    length: str
    kind: Kind
    meaning: str


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset that is not a coordinate. `units` is its attribute `units`, or None if it does not have one."""

    name: str
    dimensions: tuple[Dimension, ...]
    kind: Kind
    units: str | None
    meaning: str
    condition: Condition = Condition.ALWAYS


@dataclass(frozen=True, eq=False)
class Attribute:
    """An attribute of the root group. `always` is True if this version writes it into every log."""

    name: str
    kind: AttributeKind
    meaning: str
    always: bool = True


STATISTICS = ("min", "mean", "max")


def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


REPETITION = Dimension("repetition", "R", Kind.COUNT, "The seed of each repetition")
ROUND = Dimension("round", "P", Kind.COUNT, "Rounds done at each log point")
COORDINATE = Dimension("coordinate", "d", Kind.COUNT, "0, 1, ..., d - 1")
CLIENT = Dimension("client", "N", Kind.COUNT, "0, 1, ..., N - 1")
SIZE = Dimension("size", "S", Kind.COUNT, "The same as `message_size`")
PHASE = Dimension("phase", str(len(PHASES)), Kind.TEXT, _quoted(PHASES))
STATISTIC = Dimension("statistic", str(len(STATISTICS)), Kind.TEXT, _quoted(STATISTICS))

DIMENSIONS = (REPETITION, ROUND, COORDINATE, CLIENT, SIZE, PHASE, STATISTIC)
"""Dimensions, in the order of the file."""

_AT_LOG_POINTS = (REPETITION, ROUND)

MESSAGE_SIZE = Dataset("message_size", (SIZE,), Kind.COUNT, "byte", "The smallest payload of each bin")
OPTIMUM = Dataset("optimum", (COORDINATE,), Kind.FLOAT, None, "w*")

REPETITION_STATUS = Dataset(
    "repetition_status", (REPETITION,), Kind.COUNT, "1", "0: not done, or not to the end. 1: complete. 2: ended"
)
EXCESS_RISK = Dataset("excess_risk", _AT_LOG_POINTS, Kind.FLOAT, "1", "F(w_k) - F(w*)")
EXCESS_RISK_AVERAGED = Dataset("excess_risk_averaged", _AT_LOG_POINTS, Kind.FLOAT, "1", "F(w_bar_k) - F(w*)")
WALL_SECONDS = Dataset("wall_seconds", _AT_LOG_POINTS, Kind.FLOAT, "s", "The root's monotonic clock")

UPLINK_INFORMATION_BITS = Dataset(
    "uplink_information_bits", _AT_LOG_POINTS, Kind.COUNT, "bit", "The messages' lengths in this wire format"
)
UPLINK_PAYLOAD_BYTES = Dataset(
    "uplink_payload_bytes", _AT_LOG_POINTS, Kind.COUNT, "byte", "The payloads that the compressor packed"
)
UPLINK_TRANSPORTED_BYTES = Dataset(
    "uplink_transported_bytes", _AT_LOG_POINTS, Kind.COUNT, "byte", "The send buffers that the ranks handed to MPI"
)
DOWNLINK_TRANSPORTED_BYTES = Dataset(
    "downlink_transported_bytes", _AT_LOG_POINTS, Kind.COUNT, "byte", "The bytes that the ranks received"
)
CLIENT_UPLINK_PAYLOAD_BYTES = Dataset(
    "client_uplink_payload_bytes",
    (*_AT_LOG_POINTS, CLIENT),
    Kind.COUNT,
    "byte",
    "`uplink_payload_bytes` of each client",
    condition=Condition.FEW_CLIENTS,
)
CLIENT_UPLINK_PAYLOAD_BYTES_TOTAL = Dataset(
    "client_uplink_payload_bytes_total",
    (REPETITION, CLIENT),
    Kind.COUNT,
    "byte",
    "`uplink_payload_bytes` of each client at the end of the repetition",
    condition=Condition.MANY_CLIENTS,
)
MESSAGE_COUNT = Dataset("message_count", (REPETITION, SIZE), Kind.COUNT, "1", "Uplink messages of the whole repetition")
PHASE_SECONDS = Dataset(
    "phase_seconds", (REPETITION, PHASE, STATISTIC), Kind.FLOAT, "s", "The mean time of each phase in a round"
)

ITERATE = Dataset("iterate", (*_AT_LOG_POINTS, COORDINATE), Kind.FLOAT, "1", "w_k", condition=Condition.ALL_ITERATES)
ITERATE_AVERAGED = Dataset(
    "iterate_averaged", (*_AT_LOG_POINTS, COORDINATE), Kind.FLOAT, "1", "w_bar_k", condition=Condition.ALL_ITERATES
)
LAST_ITERATE = Dataset(
    "last_iterate", (REPETITION, COORDINATE), Kind.FLOAT, "1", "w_K", condition=Condition.LAST_ITERATES
)
LAST_ITERATE_AVERAGED = Dataset(
    "last_iterate_averaged", (REPETITION, COORDINATE), Kind.FLOAT, "1", "w_bar_K", condition=Condition.LAST_ITERATES
)

COUNTS = (
    UPLINK_INFORMATION_BITS,
    UPLINK_PAYLOAD_BYTES,
    UPLINK_TRANSPORTED_BYTES,
    DOWNLINK_TRANSPORTED_BYTES,
)
"""Datasets of the ledger: cumulative, summed over all clients."""
CURVES = (EXCESS_RISK, EXCESS_RISK_AVERAGED, WALL_SECONDS, *COUNTS)
"""Datasets with one number for each repetition and log point. The reader refuses a log that lacks one of them."""
RESULTS = (
    REPETITION_STATUS,
    *CURVES,
    CLIENT_UPLINK_PAYLOAD_BYTES,
    CLIENT_UPLINK_PAYLOAD_BYTES_TOTAL,
    MESSAGE_COUNT,
    PHASE_SECONDS,
    ITERATE,
    ITERATE_AVERAGED,
    LAST_ITERATE,
    LAST_ITERATE_AVERAGED,
)
"""Datasets that repetitions fill, each with `repetition` as its first axis."""
DATASETS = (MESSAGE_SIZE, OPTIMUM, *RESULTS)
"""Datasets in the order of the file, where they follow the coordinates."""
LAST_OF = {ITERATE: LAST_ITERATE, ITERATE_AVERAGED: LAST_ITERATE_AVERAGED}
"""For each dataset of iterates, the dataset that holds only the last iterate."""

VIEW, SIGNAL = "convergence", EXCESS_RISK_AVERAGED
"""Group that viewers open first, and the dataset that they show."""

_TEXT, _JSON, _INTEGER, _FLOAT = AttributeKind

CONVENTIONS = Attribute("Conventions", _TEXT, "`CF-1.10`")
FORMAT = Attribute("format", _TEXT, f"`{LOG_FORMAT}`")
FORMAT_VERSION = Attribute("format_version", _INTEGER, f"{LOG_FORMAT_VERSION}")
STATUS = Attribute("status", _TEXT, "`running`")
RESTARTS = Attribute("restarts", _INTEGER, "The number of runs that continued this log")
CONFIGURATION = Attribute("configuration", _JSON, "The study's tables")
CONFIGURATION_ID = Attribute("configuration_id", _TEXT, "The first 12 hexadecimal digits of the SHA-256")
LABEL = Attribute("label", _TEXT, "A short name, unique within the study")
POSITION = Attribute("position", _INTEGER, "The configuration's place in the study's grid, from 0")
OMEGA = Attribute("omega", _FLOAT, "The omega that the step size was computed from")
STEP_SCALE = Attribute("step_scale", _FLOAT, "The step size of round k")
STEP_EXPONENT = Attribute("step_exponent", _FLOAT, "The step size of round k")
R2 = Attribute("R2", _FLOAT, "R^2, the mean over clients of Tr H_i")
NX_CLASS = Attribute("NX_class", _TEXT, "NeXus")
DEFAULT = Attribute("default", _TEXT, "NeXus")

DATASET_DIGEST = Attribute("dataset_digest", _TEXT, "The SHA-256 of the data", always=False)
INITIAL_DIGEST = Attribute("initial_digest", _TEXT, "The SHA-256 of the file", always=False)
PLUGIN_MODULES = Attribute("plugin_modules", _TEXT, "The plugins", always=False)
DATASET_NOTES = Attribute("dataset_notes", _TEXT, "The preprocessing of the data", always=False)

COMMAND_LINE = Attribute("command_line", _TEXT, "The command of rank 0")
PYTHON_VERSION = Attribute("python_version", _TEXT, "Python's version")
PACKAGE_VERSION = Attribute("package_version", _TEXT, "The version of mpi-fed")
DEPENDENCY_VERSIONS = Attribute("dependency_versions", _JSON, "Package -> version")
GIT_COMMIT = Attribute("git_commit", _TEXT, "The commit of the checkout")
MPI_LIBRARY = Attribute("mpi_library", _TEXT, "MPI's name and version")
MPI_THREAD_LEVEL = Attribute("mpi_thread_level", _TEXT, "The thread level that MPI provides")
RANKS = Attribute("ranks", _TEXT, "The number of ranks")
HOST_NAMES = Attribute("host_names", _JSON, "The hosts of the ranks")
RANK_CORES = Attribute("rank_cores", _JSON, "Host -> cores -> the ranks")
CPU = Attribute("cpu", _JSON, "The processors' names")
LAUNCHER = Attribute("launcher", _TEXT, "The command line of the process that started rank 0")
SLURM = Attribute("slurm", _JSON, "Slurm's variables")
START_TIME = Attribute("start_time", _TEXT, "When the run began")

PROVENANCE = (
    COMMAND_LINE,
    PYTHON_VERSION,
    PACKAGE_VERSION,
    DEPENDENCY_VERSIONS,
    GIT_COMMIT,
    MPI_LIBRARY,
    MPI_THREAD_LEVEL,
    RANKS,
    HOST_NAMES,
    RANK_CORES,
    CPU,
    LAUNCHER,
    SLURM,
    START_TIME,
)
"""Attributes that describe where and how the log was made."""
ATTRIBUTES = (
    CONVENTIONS,
    FORMAT,
    FORMAT_VERSION,
    STATUS,
    RESTARTS,
    CONFIGURATION,
    CONFIGURATION_ID,
    LABEL,
    *PROVENANCE,
    POSITION,
    DATASET_DIGEST,
    DATASET_NOTES,
    PLUGIN_MODULES,
    INITIAL_DIGEST,
    OMEGA,
    STEP_SCALE,
    STEP_EXPONENT,
    R2,
    NX_CLASS,
    DEFAULT,
)
"""Attributes in the order of a new file. A plugin's problem may add others."""
