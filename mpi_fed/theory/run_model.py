"""The model of a run: all that the moments of its error depend on, but for the step size and the start."""

from __future__ import annotations

from dataclasses import dataclass

from ..compressors import Compressor
from ..problems.population import Population
from ..study.configuration import Configuration


@dataclass(frozen=True, eq=False)
class RunModel:
    """Clients, how they compress, and which gradients they send."""

    population: Population
    compressor: Compressor
    batch: int | None
    """Samples of a gradient; None for true gradients."""
    alpha: float | None = None
    """The rate of the clients' memories (control variates); None where they have none."""
    downlink: Compressor | None = None
    """The compressor of the mean message; None where it arrives as it is."""
    delayed: bool = False
    """Gradients are those of the round before; not with memories."""

    @property
    def common_mask(self) -> bool:
        """Several clients share one random map, so that their compression errors do not average out."""
        return self.compressor.common and len(self.population.clients) > 1

    @property
    def nonlinear_downlink(self) -> bool:
        """What the downlink adds depends on the distribution of the mean message, not on its second moment alone."""
        return self.downlink is not None and not self.downlink.linear


def run_model(configuration: Configuration, population: Population) -> RunModel:
    """The model of a configuration's runs."""
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
