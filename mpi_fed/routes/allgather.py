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
        Whether messages carry checksums, which their receivers verify; by default they do not.
    overlap : bool, default: as the algorithm allows
        Whether messages travel while the next gradients are computed; by default they do with `delayed-sgd`.

    Notes
    -----
    No iterate is sent down; each rank receives the clients' payloads instead. These are fewer bytes if N payloads are
    smaller than w, but every rank decodes N messages. Iterates are those of `gather`, bit for bit. Slots are as in
    `gather`.
    """

    kind = "allgather"
    reaches_all_ranks = True
