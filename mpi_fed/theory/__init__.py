"""Predictions for a configuration: limits, plateaus and the expected risk after any number of rounds.

`prediction.py` computes a prediction, and `document.py` defines its fields. `limits/` computes the limit as the step
size vanishes, `fixed_step.py` the plateau at a fixed step size, and `finite_rounds.py` the risks after finitely many
rounds. All three use the linear recursion of the error's moments in `recursions/`. The recursion uses the moments of
gradients and of compression in `moments/`.
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import files
from ..problems.population import Population
from ..study.configuration import Configuration
from . import cache
from .document import Prediction
from .prediction import compute, limit_covariance, prediction_seconds

__all__ = ["Prediction", "limit_covariance", "predict", "prediction_seconds"]


def predict(
    configuration: Configuration,
    population: Population | None = None,
    log_rounds: Sequence[int] | None = None,
) -> Prediction:
    """Return the prediction for a configuration.

    Predictions are stored on disk. A prediction that is stored is not computed again.

    Parameters
    ----------
    configuration : Configuration
        A configuration of a study, such as an element of `load_study(path).configurations`.
    population : Population, optional
        `configuration.problem.prepare(configuration.clients)`, if the caller has prepared it already.
    log_rounds : sequence of int, optional
        Numbers of rounds k at which the expected risks are computed. By default: 0, K (the rounds of the
        configuration), and about 10 a decade between them.

    Returns
    -------
    Prediction
        A field without a prediction is None. `note` gives the reason if there are no risks.

    Raises
    ------
    ValueError
        If the problem cannot be prepared for the number of clients.

    See Also
    --------
    limit_covariance : The matrix whose trace, times H^-1, is the limit trace.
    prediction_seconds : The time that a prediction takes.

    Notes
    -----
    Risks and traces have the unit of y^2. Let H (d, d) be the mean of the clients' covariances, w* the minimiser of the
    risk F, eta_k = w_k - w*, U = E[(eta, 1)(eta, 1)^T] and w_bar_k the averaged iterate:

        excess risk           F(w) - F(w*) = 1/2 (w - w*)^T H (w - w*)
        excess_risk_averaged  E F(w_bar_k) - F(w*)  at each k of log_rounds
        excess_risk_last      E F(w_k) - F(w*)      at each k of log_rounds
        limit_trace           Tr(C_ania H^-1) = lim 2K (E F(w_bar_K) - F(w*)),  K -> infinity, gamma -> 0
        plateau_trace         Tr(S(U) H^-1) = lim 2K (E F(w_bar_K) - F(w*)),    K -> infinity, gamma fixed

    C_ania is the covariance of the mean compressed gradient at w* [1]. S(U) is this covariance averaged over the errors
    eta, here at the stationary U of the step size gamma. The limit follows from the central limit theorem for averaged
    iterates [2]. The risks come from a linear recursion of the moments of eta. The recursion is exact for linear
    compressors at every batch size. At batch size 1 it is also exact for homogeneous compressors: those for which
    C(a x) is distributed as a C(x) for every number a.

    References
    ----------
    1. C. Philippenko and A. Dieuleveut, "Compressed and distributed least-squares regression: convergence rates with
       applications to Federated Learning", arXiv 2308.01358, 2023.
    2. B. Polyak and A. Juditsky, "Acceleration of stochastic approximation by averaging", SIAM Journal on Control and
       Optimization 30(4), 1992.

    Examples
    --------
    >>> from mpi_fed import load_study
    >>> from mpi_fed.theory import predict
    >>> study = load_study({
    ...     "study": {"name": "example", "rounds": 1000},
    ...     "problem": {"kind": "gaussian", "dimension": 4},
    ...     "compressor": [{"kind": "rand-h", "h": 1}],
    ... })
    >>> configuration = study.configurations[0]
    >>> prediction = predict(configuration, log_rounds=[1000])
    >>> prediction.prediction_kind
    'exact'
    >>> print(f"{prediction.limit_trace:.3f} {prediction.plateau_trace:.3f} {prediction.excess_risk_averaged[0]:.4f}")
    20.583 32.540 0.0165
    """
    if population is None:
        population = configuration.problem.prepare(configuration.clients)
    rounds = None if log_rounds is None else [int(k) for k in log_rounds]
    key = cache.key(configuration, population, rounds)
    fields = files.load("theory", key)
    if fields is not None:
        return Prediction(**fields)
    prediction = compute(configuration, population, rounds)
    files.store("theory", key, prediction.to_json())
    return prediction
