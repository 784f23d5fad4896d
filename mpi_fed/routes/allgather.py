"""MPI_Allgather of payloads of one fixed length: every rank decodes them all and updates for itself."""

from __future__ import annotations

from .base import routes
from .gather import Gather


@routes.register
class Allgather(Gather):
    """What comes down are the clients' payloads, and no iterate: fewer bytes while N payloads are smaller than w."""

    kind = "allgather"
    reaches_all_ranks = True
