"""The operations of a problem in the compiled round."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..operation import by_name, operation
from ..schedule import Schedule
from .compressor import Vector


@operation(required=True)
def gradient(kernel: Any, schedule: Schedule, job: int, seed: np.uint64, w: Vector, g: Vector) -> None:
    """Write the stochastic gradient of a job's client in the job's round.

    Parameters
    ----------
    kernel : NamedTuple
        The kernel of the problem on this rank.
    schedule : Schedule
        The planned jobs. A problem may draw samples for later jobs too (Gaussian features are drawn for many jobs at
        once), since no sample depends on w.
    job : int
        The index of the job in the schedule.
    seed : uint64
        The seed of the repetition.
    w : (d,) array of float64
        The point at which the gradient is taken. Not changed.
    g : (d,) array of float64
        The array that receives the gradient.
    """
    raise NotImplementedError


OPERATIONS = by_name(gradient)
