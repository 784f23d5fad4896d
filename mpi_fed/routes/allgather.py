"""Route `allgather`."""

from __future__ import annotations

from .base import routes
from .gather import Gather


@routes.register
class Allgather(Gather):
    """MPI_Allgather of payloads of one fixed length: every rank decodes all of them and updates w itself.

    Parameters
    ----------
    self_check : bool, default: False
        Whether each message carries checksums, which the receiving side verifies; by default it does not.
    overlap : bool, default: as the algorithm allows
        Whether messages travel while the next ones are computed; by default they do for algorithms that are one round
        late.

    Notes
    -----
    No iterate is sent down; each rank receives the clients' payloads instead. These are fewer bytes if N payloads are
    smaller than w. Slots are as in `gather`.
    """

    kind = "allgather"
    reaches_all_ranks = True
