"""Route `allgather`."""

from __future__ import annotations

from .base import routes
from .gather import Gather


@routes.register
class Allgather(Gather):
    """MPI_Allgather of payloads of equal length: every rank decodes all payloads and updates w itself.

    Parameters
    ----------
    self_check : bool, default: False
        Whether each message carries checksums, which the receiving side verifies; by default it does not.
    overlap : bool, default: as the algorithm allows
        Whether messages travel while the next ones are computed; by default they do for algorithms that are one round
        late.

    Notes
    -----
    There is no downlink: each rank receives the payloads of all clients in place of w. This saves bytes if N payloads
    are together smaller than w. Slots are as in `gather`.
    """

    kind = "allgather"
    reaches_all_ranks = True
