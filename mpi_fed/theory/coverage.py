"""The configurations that have a prediction, and those that have only a limit trace."""

from __future__ import annotations

from ..study.configuration import Configuration
from .run_model import RunModel

COMMON_MASK = "no finite-K prediction for a common mask, the same for all clients"
NONLINEAR_DOWNLINK = (
    "no finite-K prediction for {} on the downlink: its noise depends on the distribution of the mean message"
)


def reason_for_nothing(configuration: Configuration) -> str | None:
    """Return the reason why a configuration has no prediction, or None if it has at least a limit trace."""
    algorithm, compressor, downlink = configuration.algorithm, configuration.compressor, configuration.downlink
    if configuration.route.joint_messages and configuration.clients > 1:
        return f"no theory for the route {configuration.route.kind} with several clients, because they share a scale"
    if not vars(type(algorithm)).get("has_theory", False):  # not inherited
        return f"no theory for the algorithm {algorithm.kind}"
    if compressor.biased:
        return f"no theory for biased compressors such as {compressor.kind}"
    if downlink is not None and not downlink.linear and algorithm.memory_rate(0.0) is not None:
        return f"no theory for {downlink.kind} on the downlink with memories"
    if algorithm.local_steps > 1:
        return "no theory for local steps"
    if algorithm.ridge:
        return "no theory for ridge > 0, because it moves the point that the iterates converge to"
    return None


def reason_for_limit_alone(model: RunModel) -> str | None:
    """Return the reason why a model has only a limit trace, or None if it may have risks at finite rounds."""
    if model.common_mask:
        return COMMON_MASK
    if model.downlink is not None and model.nonlinear_downlink:
        return NONLINEAR_DOWNLINK.format(model.downlink.kind)
    return None
