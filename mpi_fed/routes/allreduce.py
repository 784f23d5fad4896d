"""Route `allreduce`."""

from __future__ import annotations

from .base import routes
from .reduce import Reduce


@routes.register
class Allreduce(Reduce):
    """MPI_Allreduce: MPI adds up the messages, and every rank decodes the sum and updates w itself.

    Parameters
    ----------
    overlap : bool, default: as the algorithm allows
        Whether messages travel while the next gradients are computed; by default they do with `delayed-sgd`.

    Notes
    -----
    Data-parallel training without compression works like this, and is the baseline that a compressor has to beat. Each
    rank receives the sum, which is as long as one message. Requirements and rounding are the same as for `reduce`.
    """

    kind = "allreduce"
    reaches_all_ranks = True
