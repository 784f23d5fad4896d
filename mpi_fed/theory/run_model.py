"""The model of a run: all inputs of the moments of its error, except the step size and the start."""

from __future__ import annotations

from dataclasses import dataclass

from ..compressors import Compressor
from ..problems.population import Population
from ..study.configuration import Configuration


@dataclass(frozen=True, eq=False)
class RunModel:
    """The clients, the compressors, and the gradients that the clients send."""

    population: Population
    """The clients' data."""
    compressor: Compressor
    """The compressor of the clients' messages."""
    batch: int | None
    """Number of samples of a gradient; None for true gradients."""
    alpha: float | None = None
    """Rate of the clients' memories (control variates); None without memories."""
    downlink: Compressor | None = None
    """Compressor of the mean message; None if the mean message is not compressed."""
    delayed: bool = False
    """True if gradients are taken at the iterate of the previous round; never with memories."""

    @property
    def common_mask(self) -> bool:
        """True if several clients draw a common mask, so that their compression errors do not average out."""
        return self.compressor.common and len(self.population.clients) > 1

    @property
    def nonlinear_downlink(self) -> bool:
        """True if the downlink's noise depends on the mean message's distribution, not only on its second moment."""
        return self.downlink is not None and not self.downlink.linear


def run_model(configuration: Configuration, population: Population) -> RunModel:
    """Return the model of a configuration's runs."""
    batch, algorithm = configuration.problem.batch_size, configuration.algorithm
    omega = algorithm.omega_of(configuration.compressor, population.dimension)
    alpha = algorithm.memory_rate(omega)
    samples = None if batch == "full" else int(batch)
    return RunModel(
        population=population,
        compressor=configuration.compressor,
        batch=samples,
        alpha=alpha,
        downlink=configuration.downlink,
        delayed=algorithm.delayed,
    )
