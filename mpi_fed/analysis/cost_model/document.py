"""The JSON document of `mpi-fed model`: each field, in the order in which it is written.

`docs/model.md` explains the model. Times are in seconds, rates in bits a second; None stands for a missing value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Phases = dict[str, float]
"""Seconds by phase; a compressed downlink adds the phases downlink_encode and downlink_decode."""


@dataclass(frozen=True)
class ComputeCost:
    """Fitted seconds of a phase: a + b d + c max(0, d - 131072) + e (bytes of the message).

    Attributes
    ----------
    phase : str
        gradient, encode, decode, update, downlink_encode or downlink_decode.
    compressor : str or None
        Name of the compressor; None for gradient and update, which do not depend on the compressor.
    seconds : float
        a, in seconds.
    per_coordinate : float
        b, in seconds a coordinate.
    per_coordinate_beyond_cache : float
        c, in seconds a coordinate.
    per_byte : float
        e, in seconds a byte; 0 for gradient and update.
    """

    phase: str
    compressor: str | None
    seconds: float
    per_coordinate: float
    per_coordinate_beyond_cache: float
    per_byte: float


@dataclass(frozen=True)
class UplinkCost:
    """Fitted costs of a route's uplink.

    Attributes
    ----------
    medium : {"shared memory", "TCP"}
        Medium over which the times were measured.
    route : str
        Kind of the route; gather includes gatherv, and allgather includes allgatherv.
    alpha_seconds : float
        Seconds of each call.
    copy_seconds_per_byte : float
        Seconds of each byte at the root in software. If all files over links have the same rate, it is 0, and `stretch`
        includes the time of copying.
    stretch : float
        Factor of the time that the bytes need at the rate of the links: about 1 over TCP, 0 in shared memory.
    """

    medium: str
    route: str
    alpha_seconds: float
    copy_seconds_per_byte: float
    stretch: float


@dataclass(frozen=True)
class IterateCost:
    """Fitted costs of a downlink of the iterate, by the bits of a float.

    Attributes
    ----------
    medium : {"shared memory", "TCP"}
        Medium over which the times were measured.
    downlink_bits : int
        Number of bits of a float of the iterate.
    alpha_seconds : float
        Seconds of each call.
    copy_seconds_per_byte : float
        Seconds of each byte at the root in software. If all files over links have the same rate, it is 0, and `stretch`
        includes the time of copying.
    stretch : float
        Factor of the time that the bytes need at the rate of the links: about 1 over TCP, 0 in shared memory.
    """

    medium: str
    downlink_bits: int
    alpha_seconds: float
    copy_seconds_per_byte: float
    stretch: float


@dataclass(frozen=True)
class DirectionCost:
    """Fitted costs of a compressed downlink.

    Attributes
    ----------
    medium : {"shared memory", "TCP"}
        Medium over which the times were measured.
    downlink : str
        "a packed direction", for all compressors together.
    alpha_seconds : float
        Seconds of each call.
    copy_seconds_per_byte : float
        Seconds of each byte at the root in software. If all files over links have the same rate, it is 0, and `stretch`
        includes the time of copying.
    stretch : float
        Factor of the time that the bytes need at the rate of the links: about 1 over TCP, 0 in shared memory.
    """

    medium: str
    downlink: str
    alpha_seconds: float
    copy_seconds_per_byte: float
    stretch: float


@dataclass(frozen=True)
class Fit:
    """All fitted costs.

    Attributes
    ----------
    compute : list of ComputeCost
        Costs of the phases without communication.
    ways : list of UplinkCost, IterateCost or DirectionCost
        Costs of uplinks and downlinks.
    """

    compute: list[ComputeCost]
    ways: list[UplinkCost | IterateCost | DirectionCost]


@dataclass(frozen=True)
class HeldOutRound:
    """A round, measured and predicted by a fit that leaves its dimension out.

    Attributes
    ----------
    compressor : str
        Name of the compressor.
    route : str
        Kind of the route.
    downlink_bits : int or None
        Number of bits of a float of the iterate on the downlink; None if the iterate is not sent.
    downlink : str or None
        Name of the downlink's compressor; None if the downlink is not compressed.
    dimension : int
        Dimension d.
    link : float, "unlimited" or None
        Rate of each host's link in bits a second; None in shared memory.
    measured_seconds : float
        Median time of the round, in seconds.
    predicted_seconds : float
        Predicted time of the round, in seconds.
    """

    compressor: str
    route: str
    downlink_bits: int | None
    downlink: str | None
    dimension: int
    link: float | Literal["unlimited"] | None
    measured_seconds: float
    predicted_seconds: float


@dataclass(frozen=True)
class HeldOutErrors:
    """The absolute relative errors |predicted / measured - 1| of held-out rounds.

    Attributes
    ----------
    count : int
        Number of rounds.
    median : float
        Median error.
    worst : float
        Largest error.
    worst_is : HeldOutRound
        The round with the largest error.
    """

    count: int
    median: float
    worst: float
    worst_is: HeldOutRound


@dataclass(frozen=True)
class HeldOut:
    """The errors at held-out dimensions; None if no round was held out.

    Attributes
    ----------
    between : HeldOutErrors or None
        Errors at dimensions between those of the fit.
    beyond : HeldOutErrors or None
        Errors at dimensions below or above all those of the fit.
    """

    between: HeldOutErrors | None
    beyond: HeldOutErrors | None


@dataclass(frozen=True)
class Rates:
    """An interval of the rates of the clients' links to the root, in bits a second.

    Attributes
    ----------
    above : float or None
        Lower end; None if every lower rate belongs to the interval.
    below : float or None
        Upper end; None if every higher rate belongs to the interval.
    """

    above: float | None
    below: float | None


RateInterval = Rates | Literal["never", "always"] | None
"""The rates of the clients' links at which a row is faster than a baseline; the other rates change in proportion."""


@dataclass(frozen=True)
class Gain:
    """Comparison of a row with a baseline, which sends uncompressed floats up and down by its fastest route.

    Attributes
    ----------
    round : float
        Speed of a round: the baseline's seconds divided by the row's seconds.
    rounds_needed : float or None
        Number of rounds to a risk, divided by the baseline's number: the ratio of the limit traces. None without a
        prediction.
    to_risk : float or None
        Speed to a risk: `round` divided by `rounds_needed`; None without a prediction.
    faster_between : Rates, "never", "always" or None
        Rates at which a round is faster than the baseline's round. None in shared memory, and if the row sends the
        baseline's floats.
    faster_to_risk_between : Rates, "never", "always" or None
        Rates at which the row reaches a risk faster than the baseline. None if `faster_between` is None, and
        without a prediction.
    """

    round: float
    rounds_needed: float | None
    to_risk: float | None
    faster_between: RateInterval = None
    faster_to_risk_between: RateInterval = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """A pair of compressor and downlink, with the fastest route for this pair.

    Attributes
    ----------
    compressor : str
        Name of the compressor.
    route : str
        Kind of the fastest route.
    downlink_bits : int or None
        Number of bits of a float of the iterate on the downlink; None if the iterate is not sent.
    downlink : str or None
        Name of the downlink's compressor; None if the downlink is not compressed.
    dimension : int
        Dimension d.
    round_seconds : float
        Mean time of all rounds in seconds; a round in which no client sends takes 0 seconds.
    phases : dict of float
        Seconds by phase in a round in which at least one client sends: gradient, encode, uplink, decode, update and
        downlink. If the downlink is compressed, also downlink_encode and downlink_decode.
    limit_trace : float or None
        Limit trace Tr(C_ania H^-1) for the clients of a round, in the unit of y^2; None without a prediction.
    limit_trace_error : float or None
        Standard error of `limit_trace`; None without a prediction.
    rounds : float or None
        Number of rounds to the risk eps: limit_trace / (2 eps). None without a prediction.
    seconds_to_risk : float or None
        `rounds` times `round_seconds`, in seconds; None without a prediction.
    float32, float16 : Gain or None
        Comparison with floats of 32 bits, and of 16 bits, up and down; None if such floats were not measured.
    uncompressed : Gain or None
        Comparison with the faster of the two; None if neither was measured.
    """

    compressor: str
    route: str
    downlink_bits: int | None
    downlink: str | None
    dimension: int
    round_seconds: float
    phases: Phases
    limit_trace: float | None
    limit_trace_error: float | None
    rounds: float | None
    seconds_to_risk: float | None
    float32: Gain | None
    float16: Gain | None
    uncompressed: Gain | None


@dataclass(frozen=True, kw_only=True)
class MachineEntry:
    """A machine, and a row for each dimension and compressor.

    Attributes
    ----------
    name : str
        Name of the preset, or "links" for a machine that only options describe.
    clients : int
        Number of clients N.
    up, down : float or None
        Rates of a client's link to the root and from the root, in bits a second; None in shared memory.
    root : float or None
        Rate of the root's link in each direction, in bits a second; None in shared memory.
    latency : float
        Latency of a link one way, in seconds.
    cores : int
        Number of cores in shared memory, which the clients use one after another; not used with links.
    participants : int
        Number of clients in a round.
    homes : bool
        True if clients do not forward messages, and the root is not one of the clients.
    description : str
        The clients, and the links or the cores, in words.
    rows : list of Row
        Rows by dimension, and for each dimension by compressor and downlink.
    """

    name: str
    clients: int
    up: float | None
    down: float | None
    root: float | None
    latency: float
    cores: int
    participants: int
    homes: bool
    description: str
    rows: list[Row]


@dataclass(frozen=True, kw_only=True)
class Model:
    """The document of `mpi-fed model`.

    Attributes
    ----------
    format : str
        "mpi-fed model".
    format_version : int
        1.
    measured_on : list of dict
        For each file: its name `file`, the rate `link` of its links (as in `HeldOutRound`), and the facts about the
        machine from the bench.
    assumptions : list of str
        The assumptions of the model.
    risk : float
        The excess risk eps to reach, in the unit of y^2.
    fit : Fit
        The fitted costs.
    held_out : HeldOut
        Errors of the model at dimensions that were left out of the fit.
    machines : list of MachineEntry
        The machines, with their rows.
    """

    format: str = "mpi-fed model"
    format_version: int = 1
    measured_on: list[dict[str, Any]]
    assumptions: list[str]
    risk: float
    fit: Fit
    held_out: HeldOut
    machines: list[MachineEntry]
