"""Route `allgatherv`."""

from __future__ import annotations

from .base import routes
from .gatherv import Gatherv


@routes.register
class Allgatherv(Gatherv):
    """MPI_Allgatherv of payloads of any length: every rank decodes all payloads and updates w itself.

    Parameters
    ----------
    self_check : bool, default: False
        Whether messages carry checksums, which their receivers verify; by default they do not.
    overlap : bool, default: as the algorithm allows
        Whether messages travel while the next gradients are computed; by default they do with `delayed-sgd`.

    Notes
    -----
    Every rank computes all lengths from the shared seed. With explicit indices only the sender knows the length, so an
    MPI_Allgather of the lengths comes first.
    """

    kind = "allgatherv"
    reaches_all_ranks = True
