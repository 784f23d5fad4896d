"""What theory says of a configuration without running it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..algorithms import Algorithm, Steps
from ..algorithms.control_variates import ControlVariates
from ..algorithms.delayed_sgd import DelayedSgd
from ..algorithms.sgd import Sgd
from ..compressors.none import NoCompression
from ..problems.population import Population
from ..study.configuration import Configuration
from .fixed_step import fixed_step, frozen_fixed_step
from .limit_trace import Estimate, added_by_downlink, limit_trace, memory_limits
from .moments.gradient_moments import laws
from .moments.symmetric_packing import Array
from .recursions.base import Recursion
from .recursions.choose import Setting, exact_recursion, full_recursion, has_exact, reference_recursion
from .recursions.delayed import undelayed
from .recursions.diagonal import DiagonalRecursion
from .recursions.propagate import OutOfReachError
from .recursions.propagate import seconds as propagation_seconds
from .trajectory import exact_evolution, frozen_evolution, risks

POINTS_PER_DECADE = 10
LARGEST_DENSE = 2000
"""Above this dimension the limit is given only where the diagonal suffices."""
TOLERANCE = 5e-3
"""A recursion whose noise is known no better than this, relatively, is called approximate."""
COMMON = "no finite-K prediction for a mask that all clients share"
ROUNDED_BELOW = "no finite-K prediction for {} on the downlink: its noise depends on the law of the mean message"


@dataclass(frozen=True)
class Prediction:
    """The fields of `mpi-fed predict --json`; None where theory says nothing."""

    label: str
    compressor: dict[str, Any]
    downlink: dict[str, Any] | None
    """What compresses the way back, if anything does."""
    algorithm: dict[str, Any]
    problem: dict[str, Any]
    clients: int
    dimension: int
    omega: float
    """What the step size allows for: of both compressions together where the way back is compressed."""
    step_size: float
    """gamma, or gamma_0 where it decreases as (k+1)^-step_exponent."""
    step_exponent: float
    rounds: int
    payload_bits: float
    """Expected bits of a message."""
    payload_bytes_max: int
    downlink_payload_bits: float | None
    """The same of a compressed message to the clients; None where w is broadcast, or the messages themselves."""
    downlink_payload_bytes_max: int | None
    limit_trace: float | None = None
    """Tr(C_ania H^-1): the excess risk of the average tends to limit_trace / (2 rounds) as the step vanishes."""
    limit_trace_error: float | None = None
    """Its standard error where a part is Monte Carlo, else 0."""
    limit_trace_ideal_memory: float | None = None
    """The same for memories that are E g_i at w*; None for algorithms without."""
    limit_weights: list[float] | None = None
    """2 rounds x excess risk of the average tends in law to the sum of these d numbers, each times a chi square of
    one degree of freedom of its own, as the step vanishes; None for a Monte Carlo limit."""
    plateau_trace: float | None = None
    """What 2 rounds x excess risk of the average tends to at this fixed step."""
    stable: bool | None = None
    """Whether the second moments stay bounded at this fixed step."""
    log_rounds: list[int] | None = None
    excess_risk_averaged: list[float | None] | None = None
    """Expected, at log_rounds; None where it is beyond all bounds."""
    excess_risk_last: list[float | None] | None = None
    """The same of the iterate; None, too, where it may have fallen below 1e-7 of its start."""
    prediction_kind: Literal["exact", "approximate"] | None = None
    relative_error: float | None = None
    """Of the risks: the relative standard error of the noise at the last round, 0 where nothing was sampled."""
    note: str | None = None
    """How a prediction is approximate, or why there is none."""

    def to_json(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return asdict(self)


def compute(
    configuration: Configuration, population: Population, log_rounds: Sequence[int] | None = None
) -> Prediction:
    """The prediction; `log_rounds` (default: about 10 a decade) are the rounds at which risks are wanted."""
    prediction, steps = _facts(configuration, population)
    unsupported = _unsupported(configuration)
    if unsupported:
        return replace(prediction, note=unsupported)
    setting = setting_of(configuration, population)
    if _common(configuration):
        return replace(prediction, note=COMMON, **_common_limit(setting))
    if _rounds_below(configuration):
        note = ROUNDED_BELOW.format(setting.downlink.kind if setting.downlink else "")
        return replace(prediction, note=note, **_below(setting, _limit(replace(setting, downlink=None), None)))
    try:
        recursion = exact_recursion(setting)
    except OutOfReachError as error:
        return replace(prediction, note=f"no finite-K prediction: {error}", **_limit(setting, None))
    prediction = replace(prediction, **_limit(setting, undelayed(recursion)))
    wanted = np.unique(np.array(log_rounds or default_rounds(configuration.rounds), dtype=np.int64))
    try:
        return replace(prediction, **_finite(configuration, setting, recursion, steps, wanted))
    except OutOfReachError as error:
        return replace(prediction, note=f"no finite-K prediction: {error}")


def seconds(configuration: Configuration) -> float:
    """About how long the risk after all rounds takes to compute; infinite where there is none."""
    population = configuration.problem.prepare(configuration.clients)
    if _unsupported(configuration) or _common(configuration) or _rounds_below(configuration):
        return math.inf
    setting, steps = setting_of(configuration, population), _facts(configuration, population)[1]
    try:
        recursion = exact_recursion(setting)
        if recursion is None:
            recursion = reference_recursion(setting, *_start(configuration.algorithm, population.optimum))
    except OutOfReachError:
        return math.inf
    return propagation_seconds(recursion, steps, configuration.rounds)


def limit_covariance(configuration: Configuration) -> Array | None:
    """C_ania, (d, d): the covariance at w* of the mean message, of the clients' gradients and of compression.

    sqrt(K) (w_bar_K - w*) tends in law to N(0, H^-1 C_ania H^-1) as the step vanishes. None with memories, and where
    the compressor's covariance has no exact form.
    """
    population = configuration.problem.prepare(configuration.clients)
    if _unsupported(configuration) or _common(configuration) or _rounds_below(configuration):
        return None
    recursion = full_recursion(setting_of(configuration, population))
    if recursion is None:
        return None
    return recursion.noise_covariance(recursion.core_of(np.zeros(population.dimension), 0.0))


def default_rounds(rounds: int) -> list[int]:
    """0, K, and about 10 rounds a decade between."""
    points = np.arange(math.floor(POINTS_PER_DECADE * math.log10(rounds)) + 1)
    return [0, *np.unique(np.rint(10 ** (points / POINTS_PER_DECADE)).astype(np.int64)).tolist(), rounds]


def setting_of(configuration: Configuration, population: Population) -> Setting:
    """What the moments depend on."""
    batch, algorithm = configuration.problem.batch_size, configuration.algorithm
    omega = algorithm.omega_of(configuration.compressor, population.dimension)
    alpha = algorithm.rate(omega) if isinstance(algorithm, ControlVariates) else None
    samples = None if batch == "full" else int(batch)
    return Setting(population, configuration.compressor, samples, alpha, configuration.downlink, algorithm.delayed)


def _facts(configuration: Configuration, population: Population) -> tuple[Prediction, Steps]:
    """All that needs no theory of the noise."""
    algorithm, compressor, d = configuration.algorithm, configuration.compressor, population.dimension
    downlink = configuration.downlink
    omega = algorithm.step_omega(compressor, downlink, d)
    steps = algorithm.steps(omega, population.trace, configuration.rounds)
    prediction = Prediction(
        label=configuration.label,
        compressor=configuration.tables["compressor"],
        downlink=configuration.tables.get("downlink"),
        algorithm=configuration.tables["algorithm"],
        problem=configuration.tables["problem"],
        clients=configuration.clients,
        dimension=d,
        omega=omega,
        step_size=steps.scale,
        step_exponent=steps.exponent,
        rounds=configuration.rounds,
        payload_bits=compressor.payload_bits(d),
        payload_bytes_max=configuration.route.payload_bytes(compressor, d, configuration.clients),
        downlink_payload_bits=None if downlink is None else downlink.payload_bits(d),
        downlink_payload_bytes_max=None if downlink is None else downlink.payload_bytes_max(d),
    )
    return prediction, steps


def _unsupported(configuration: Configuration) -> str | None:
    """Why theory has nothing for it, if so."""
    algorithm, compressor, downlink = configuration.algorithm, configuration.compressor, configuration.downlink
    if configuration.route.joint_messages and configuration.clients > 1:
        return f"no theory for the route {configuration.route.kind} with several clients, who share a scale"
    if algorithm.kind not in (Sgd.kind, DelayedSgd.kind, ControlVariates.kind):
        return f"no theory for the algorithm {algorithm.kind}"
    if compressor.biased:
        return f"no theory for a biased compressor, as {compressor.kind} is"
    if downlink is not None and not downlink.linear and algorithm.kind == ControlVariates.kind:
        return f"no theory for {downlink.kind} on the downlink with memories"
    if algorithm.local_steps > 1:
        return "no theory for local steps"
    if algorithm.ridge:
        return "no theory for ridge > 0, which moves the point that the iterates tend to"
    return None


def _common(configuration: Configuration) -> bool:
    """Several clients' messages go through one map: their errors do not average out."""
    return configuration.compressor.common and configuration.clients > 1


def _rounds_below(configuration: Configuration) -> bool:
    """What comes back compressed is no linear map of the mean message."""
    return configuration.downlink is not None and not configuration.downlink.linear


def _below(setting: Setting, found: dict[str, Any]) -> dict[str, Any]:
    """The limit with such a downlink: that without, `found`, and what the downlink adds to it."""
    population, downlink = setting.population, setting.downlink
    if "limit_trace" not in found or downlink is None or population.dimension > LARGEST_DENSE:
        return {}
    more = added_by_downlink(laws(population), setting.compressor, setting.batch, population.covariance, downlink)
    if more is None:
        return {}
    error = math.hypot(found["limit_trace_error"], more.standard_error)
    return {"limit_trace": found["limit_trace"] + more.value, "limit_trace_error": error}


def _common_limit(setting: Setting) -> dict[str, Any]:
    """Tr(C_ania H^-1) where all clients share a linear map: that map's second moment at the mean gradient at w*.

    The mean message is C(mean g_i), and mean g_i has mean 0 at w*, whatever the clients' optima: with the covariance
    of a run without compression C_ania is E[C(v)C(v)^T] for v of that law. Without memory, then, optima that differ
    cost nothing in the limit, and with true gradients it is 0."""
    population = setting.population
    if setting.alpha is not None or population.dimension > LARGEST_DENSE:
        return {}
    if setting.batch is None:
        return {"limit_trace": 0.0, "limit_trace_error": 0.0}
    try:
        recursion = full_recursion(replace(setting, compressor=NoCompression(), downlink=None))
    except OutOfReachError:
        recursion = None
    if recursion is None:
        return {}
    plain = recursion.noise_covariance(recursion.core_of(np.zeros(population.dimension), 0.0))
    noise, linear = setting.compressor.second_moment(plain), setting.downlink is None or setting.downlink.linear
    if setting.downlink is not None and linear:
        noise = setting.downlink.second_moment(noise)
    trace = float(np.trace(np.linalg.solve(population.covariance.dense, noise)))
    found = {"limit_trace": trace, "limit_trace_error": 0.0}
    return found if linear else _below(setting, found)


def _limit(setting: Setting, recursion: Recursion | None) -> dict[str, Any]:
    """Tr(C_ania H^-1): from the exact recursion where there is one."""
    population = setting.population
    if setting.alpha is not None and population.dimension > LARGEST_DENSE:
        return {}
    if setting.alpha is not None:
        settled, ideal = memory_limits(setting)
        found = {"limit_trace_error": 0.0, "limit_trace_ideal_memory": _sum(ideal)}
        return found if settled is None else found | {"limit_trace": _sum(settled), **_weights(settled)}
    weights: dict[str, Any] = {}
    if recursion is not None:
        star = recursion.core_of(np.zeros(population.dimension), 0.0)
        estimate = Estimate(recursion.noise_trace(star), recursion.noise_standard_error(star))
        weights = _limit_weights(setting, recursion, star)
    elif population.dimension <= LARGEST_DENSE:
        members = laws(population)
        estimate = limit_trace(members, setting.compressor, setting.batch, population.covariance, setting.downlink)
    else:
        return {}
    return {"limit_trace": estimate.value, "limit_trace_error": estimate.standard_error, **weights}


def _limit_weights(setting: Setting, recursion: Recursion, star: Array) -> dict[str, Any]:
    """Of the noise at w*, whose covariance has more than a diagonal where the clients' optima differ."""
    if not isinstance(recursion, DiagonalRecursion) or not recursion.law.shifted:
        return _weights(recursion.noise_weights(star))
    try:
        full = full_recursion(setting)
    except OutOfReachError:
        return {}
    return {} if full is None else _weights(full.noise_weights(full.core_of(np.zeros(len(full.eigenvalues)), 0.0)))


def _weights(eigenvalues: Array) -> dict[str, Any]:
    return {"limit_weights": np.sort(np.maximum(eigenvalues, 0.0))[::-1].tolist()}


def _sum(eigenvalues: Array) -> float:
    return max(0.0, float(eigenvalues.sum()))


def _finite(
    configuration: Configuration,
    setting: Setting,
    recursion: Recursion | None,
    steps: Steps,
    wanted: NDArray[np.int64],
) -> dict[str, Any]:
    """Plateau, stability and risks: of the exact recursion, or of one with a frozen shape of the noise."""
    algorithm, population = configuration.algorithm, setting.population
    mean, variance = _start(algorithm, population.optimum)
    last, averaging_start = int(wanted[-1]), algorithm.averaging_start(configuration.rounds)
    held = None
    if recursion is not None:
        evolve = exact_evolution(recursion, steps)
        found = fixed_step(recursion, steps)
    else:
        recursion = reference_recursion(setting, mean, variance)
        evolve, held = frozen_evolution(setting, recursion, steps, last)
        found = frozen_fixed_step(setting, recursion, steps)
    try:
        result = risks(recursion, evolve, recursion.core_of(mean, variance), averaging_start, wanted)
    except OutOfReachError as reason:
        known = {} if held else found  # a plateau that is approximate needs a kind beside it
        return {**known, "note": f"no finite-K prediction: {reason}"}
    error = _relative_error(recursion, result.core)
    return {
        **found,
        "log_rounds": wanted.tolist(),
        "excess_risk_averaged": _listed(result.averaged),
        "excess_risk_last": _listed(result.last),
        "relative_error": error,
        **_kind(configuration, setting, error, held),
    }


def _kind(configuration: Configuration, setting: Setting, error: float | None, held: str | None) -> dict[str, Any]:
    """`prediction_kind`, and as `note` all that makes it approximate; `held`: where the noise has its shape from."""
    reasons = []
    if not has_exact(setting):
        what = "gradient is" if setting.alpha is None else "gradient's difference to its memory is"
        reasons.append(f"the {what} taken for Gaussian, with the shape of the compressor's noise {held}")
    if error is not None and error > TOLERANCE:
        reasons.append("the compressor's covariance is known by Monte Carlo alone")
    if getattr(configuration.problem, "sampling", "with-replacement") == "epochs":
        reasons.append("rows are taken as drawn with replacement")
    if configuration.compressor.value_bits == 16:
        reasons.append("the rounding to float16 is left out")
    if configuration.route.downlink_bits == 16:
        reasons.append("the rounding of the downlink to float16 is left out")
    if configuration.downlink is not None and configuration.downlink.value_bits == 16:
        reasons.append("the rounding of the downlink to float16 is left out")
    if not reasons:
        return {"prediction_kind": "exact"}
    return {"prediction_kind": "approximate", "note": f"approximate: {'; '.join(reasons)}"}


def _start(algorithm: Algorithm, optimum: Array) -> tuple[Array, float]:
    """E eta_0 and the variance of its coordinates, for eta_0 = w_0 - w*; a random w_0 is standard normal."""
    given = algorithm.start_vector(len(optimum))
    return (-optimum, 1.0) if given is None else (given - optimum, 0.0)


def _relative_error(recursion: Recursion, core: Array) -> float | None:
    with np.errstate(over="ignore", invalid="ignore"):
        trace, error = recursion.noise_trace(core), recursion.noise_standard_error(core)
        relative = error / trace if error else 0.0
    return relative if np.isfinite([trace, relative]).all() else None


def _listed(values: Array) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
