"""The operations of a problem in the compiled round."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..operation import by_name, operation
from ..schedule import Schedule
from .compressor import Vector


@operation(required=True)
def gradient(kernel: Any, schedule: Schedule, job: int, seed: np.uint64, w: Vector, g: Vector) -> None:
    """Write the stochastic gradient of the job's client in the job's round at w, (d,), into g, (d,).

    A problem may draw samples for later jobs of the schedule (Gaussian features are drawn for many jobs at once), since
    no sample depends on w.
    """
    raise NotImplementedError


OPERATIONS = by_name(gradient)
