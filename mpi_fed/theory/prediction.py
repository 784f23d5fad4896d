"""The prediction for a configuration, assembled from the limit, the plateau and the risks at finitely many rounds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..algorithms import Steps
from ..problems.population import Population
from ..study.configuration import Configuration
from .coverage import reason_for_limit_alone, reason_for_nothing
from .document import FiniteRounds, Prediction, Setup
from .finite_rounds import finite_rounds, no_finite_rounds, start_moments
from .limits.choose import limit
from .limits.choose import limit_covariance as model_covariance
from .moments.symmetric_packing import Array
from .recursions.choose import exact_recursion, reference_recursion
from .recursions.delayed_gradients import undelayed
from .recursions.propagate import OutOfReachError, propagation_seconds
from .run_model import RunModel, run_model

POINTS_PER_DECADE = 10


def compute(
    configuration: Configuration, population: Population, log_rounds: Sequence[int] | None = None
) -> Prediction:
    """Compute the prediction, without the cache.

    `population` is `configuration.problem.prepare(configuration.clients)`. `log_rounds` are the rounds of the risks, by
    default about 10 a decade.
    """
    steps = _steps(configuration, population)
    prediction = Prediction.of(_setup(configuration, population, steps))
    reason = reason_for_nothing(configuration)
    if reason:
        return prediction.including(FiniteRounds(note=reason))
    model = run_model(configuration, population)
    reason = reason_for_limit_alone(model)
    if reason:
        return prediction.including(FiniteRounds(note=reason), limit(model, None))
    try:
        recursion = exact_recursion(model)
    except OutOfReachError as error:
        return prediction.including(no_finite_rounds(error), limit(model, None))
    prediction = prediction.including(limit(model, undelayed(recursion)))
    rounds = np.unique(np.array(log_rounds or default_rounds(configuration.rounds), dtype=np.int64))
    try:
        return prediction.including(*finite_rounds(configuration, model, recursion, steps, rounds))
    except OutOfReachError as error:
        return prediction.including(no_finite_rounds(error))


def prediction_seconds(configuration: Configuration) -> float:
    """Return an estimate of the time that it takes to compute the risk after all rounds.

    Parameters
    ----------
    configuration : Configuration
        A configuration of a study.

    Returns
    -------
    float
        Seconds, to an order of magnitude; infinite if there is no risk at a finite number of rounds.

    Raises
    ------
    ValueError
        If the problem cannot be prepared for the number of clients.

    See Also
    --------
    mpi_fed.theory.predict : The prediction itself.

    Notes
    -----
    The estimate is the least of the estimates for three methods: single steps, powers of two of the recursion's matrix,
    and the resolvent. Each is a number of floating-point operations divided by a fixed rate
    (`recursions/propagate.py`). Nothing is measured on the machine.

    Examples
    --------
    >>> from mpi_fed import load_study
    >>> from mpi_fed.theory import prediction_seconds
    >>> study = load_study({
    ...     "study": {"name": "example", "rounds": 1000},
    ...     "problem": {"kind": "gaussian", "dimension": 4},
    ...     "compressor": [{"kind": "rand-h", "h": 1}],
    ... })
    >>> configuration = study.configurations[0]
    >>> prediction_seconds(configuration) < 1
    True
    """
    population = configuration.problem.prepare(configuration.clients)
    model = _model_of_all_rounds(configuration, population)
    if model is None:
        return math.inf
    try:
        recursion = exact_recursion(model)
        if recursion is None:
            recursion = reference_recursion(model, *start_moments(configuration.algorithm, population.optimum))
    except OutOfReachError:
        return math.inf
    return propagation_seconds(recursion, _steps(configuration, population), configuration.rounds)


def limit_covariance(configuration: Configuration) -> Array | None:
    """Return C_ania (d, d), the covariance of the mean message at w*.

    It includes the sampling of the clients' gradients and the compression.

    Parameters
    ----------
    configuration : Configuration
        A configuration of a study.

    Returns
    -------
    ndarray of shape (d, d) or None
        C_ania, in the unit of a squared gradient. It is None with memories, if the compressor's covariance has no exact
        form, or if there is at most a limit trace.

    Raises
    ------
    ValueError
        If the problem cannot be prepared for the number of clients.
    OutOfReachError
        If the dimension exceeds 300, or the fourth moments of the clients' data take too long or too much memory.

    See Also
    --------
    mpi_fed.theory.predict : `limit_trace` is Tr(C_ania H^-1).

    Notes
    -----
    Let m_i be the mean and Theta_i the covariance of client i's gradient at w*, and c(M) = E[C(g) C(g)^T] for
    E[g g^T] = M. Then

        C_ania = (1/N^2) sum_i [c(Theta_i + m_i m_i^T) - m_i m_i^T]

    As K grows and the step size vanishes, sqrt(K) (w_bar_K - w*) tends in distribution to N(0, H^-1 C_ania H^-1). With
    a compressed downlink C_ania = c_down(S_up), where S_up is the sum above with the c of the uplink.

    References
    ----------
    C. Philippenko and A. Dieuleveut, "Compressed and distributed least-squares regression: convergence rates with
    applications to Federated Learning", arXiv 2308.01358, 2023: the covariance of the additive noise induced by the
    algorithm.

    Examples
    --------
    Without compression C_ania = (sigma^2/N) H:

    >>> import numpy as np
    >>> from mpi_fed import load_study
    >>> from mpi_fed.theory import limit_covariance
    >>> study = load_study({
    ...     "study": {"name": "example", "rounds": 1000},
    ...     "problem": {"kind": "gaussian", "dimension": 3, "noise_variance": 2.0},
    ...     "compressor": [{"kind": "none"}],
    ... })
    >>> configuration = study.configurations[0]
    >>> population = configuration.problem.prepare(configuration.clients)
    >>> np.allclose(limit_covariance(configuration), 2 * population.covariance.dense)
    True
    """
    model = _model_of_all_rounds(configuration, configuration.problem.prepare(configuration.clients))
    return None if model is None else model_covariance(model)


def default_rounds(rounds: int) -> list[int]:
    """Return 0, K, and about 10 numbers of rounds a decade between them."""
    points = np.arange(math.floor(POINTS_PER_DECADE * math.log10(rounds)) + 1)
    return [0, *np.unique(np.rint(10 ** (points / POINTS_PER_DECADE)).astype(np.int64)).tolist(), rounds]


def _model_of_all_rounds(configuration: Configuration, population: Population) -> RunModel | None:
    """Return the model, or None if there are no risks at finite numbers of rounds for it."""
    if reason_for_nothing(configuration):
        return None
    model = run_model(configuration, population)
    return None if reason_for_limit_alone(model) else model


def _steps(configuration: Configuration, population: Population) -> Steps:
    algorithm = configuration.algorithm
    omega = algorithm.step_omega(configuration.compressor, configuration.downlink, population.dimension)
    return algorithm.steps(omega, population.trace, configuration.rounds)


def _setup(configuration: Configuration, population: Population, steps: Steps) -> Setup:
    compressor, downlink, d = configuration.compressor, configuration.downlink, population.dimension
    return Setup(
        label=configuration.label,
        compressor=configuration.tables["compressor"],
        downlink=configuration.tables.get("downlink"),
        algorithm=configuration.tables["algorithm"],
        problem=configuration.tables["problem"],
        clients=configuration.clients,
        dimension=d,
        omega=configuration.algorithm.step_omega(compressor, downlink, d),
        step_size=steps.scale,
        step_exponent=steps.exponent,
        rounds=configuration.rounds,
        payload_bits=compressor.payload_bits(d),
        payload_bytes_max=configuration.route.payload_bytes(compressor, d, configuration.clients),
        downlink_payload_bits=None if downlink is None else downlink.payload_bits(d),
        downlink_payload_bytes_max=None if downlink is None else downlink.payload_bytes_max(d),
    )
