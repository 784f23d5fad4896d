"""MPI_Allgatherv of payloads of any length: every rank decodes them all and updates for itself."""

from __future__ import annotations

from .base import routes
from .gatherv import Gatherv


@routes.register
class Allgatherv(Gatherv):
    """Every rank knows every length from the shared seed; explicit indices cost an MPI_Allgather of counts."""

    kind = "allgatherv"
    reaches_all_ranks = True
