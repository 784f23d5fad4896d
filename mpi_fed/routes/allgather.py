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
        Whether messages carry checksums, which their receivers verify; by default they do not.
    overlap : bool, default: as the algorithm allows
        Whether messages travel while the next gradients are computed; by default they do with `delayed-sgd`.

    Notes
    -----
    There is no downlink: each rank receives the payloads of all clients in place of w. This saves bytes if N payloads
    are together smaller than w, but every rank decodes N messages. The iterates equal those of `gather` bit for bit.
    Slots are as in `gather`.
    """

    kind = "allgather"
    reaches_all_ranks = True
