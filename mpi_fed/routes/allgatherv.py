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
        Whether each message carries checksums, which the receiving side verifies; by default it does not.
    overlap : bool, default: as the algorithm allows
        Whether messages travel while the next ones are computed; by default they do for algorithms that are one round
        late.

    Notes
    -----
    Every rank computes all lengths from the shared seed. With explicit indices only the sender knows the length, so an
    MPI_Allgather of the lengths comes first.
    """

    kind = "allgatherv"
    reaches_all_ranks = True
