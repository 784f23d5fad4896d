"""MPI_Allreduce: messages are added up on their way, and every rank decodes the sum and updates for itself."""

from __future__ import annotations

from .base import routes
from .reduce import Reduce


@routes.register
class Allreduce(Reduce):
    """What data-parallel training without compression does. The sum comes down, as long as a message."""

    kind = "allreduce"
    reaches_all_ranks = True
