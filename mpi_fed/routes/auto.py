"""gather for payloads of one length, gatherv for varying ones."""

from __future__ import annotations

from ..compressors import Compressor
from .base import Route, routes
from .gather import Gather
from .gatherv import Gatherv


@routes.register
class Auto(Route):
    """Resolved before anything starts: the log names the route that was taken."""

    kind = "auto"
    may_overlap = True

    def resolve(self, compressor: Compressor) -> Route:
        kind = Gather if compressor.fixed_length else Gatherv
        return kind(self_check=self.self_check, downlink_bits=self.downlink_bits, overlap=self.overlap)
