"""Route `auto`."""

from __future__ import annotations

from ..compressors import Compressor
from .base import Route, routes
from .gather import Gather
from .gatherv import Gatherv


@routes.register
class Auto(Route):
    """Choice between `gather`, for payloads of equal length, and `gatherv`, for payloads of varying length.

    Parameters
    ----------
    self_check : bool, default: False
        Whether messages carry checksums, which their receivers verify; by default they do not.
    downlink_bits : {16, 32, 64}, default: 64
        Bits of the floats in which w is broadcast, 64 by default; 16 rounds at random.
    overlap : bool, default: as the algorithm allows
        Whether messages travel while the next gradients are computed; by default they do with `delayed-sgd`.

    Notes
    -----
    The choice is made before a run starts, and the log holds the chosen route.
    """

    kind = "auto"
    may_overlap = True

    def resolve(self, compressor: Compressor) -> Route:
        kind = Gather if compressor.fixed_length else Gatherv
        return kind(self_check=self.self_check, downlink_bits=self.downlink_bits, overlap=self.overlap)
