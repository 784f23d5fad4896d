"""What a route is: how the clients' payloads reach the root, and how the iterate comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator

from ..component import Component, Registry
from ..compressors import Compressor
from ..engine.checksums import checked
from ..engine.operations.downlink import DIRECT, Downlink, NoDownlink, Path, broadcast
from ..engine.operations.overlap import BLOCKING, Pending, is_non_blocking, non_blocking, progress
from ..engine.operations.route import OPERATIONS

if TYPE_CHECKING:
    from mpi4py import MPI

Array = NDArray[np.float64]


class Place(NamedTuple):
    """A rank among the others, and what they host."""

    comm: MPI.Comm
    hosts: NDArray[np.int64]  # (ranks + 1,): rank r hosts the clients hosts[r] <= i < hosts[r + 1]
    longest: int  # bytes of the longest message
    overlaps: bool = False  # messages travel while the next are made


class Route(Component):
    """The collectives of a round. A route that cannot carry a compressor refuses it; nothing is padded silently.

    Its `Kernel` has a field `downlink`.
    """

    reaches_all_ranks: ClassVar[bool] = False
    """The uplink brings everything to every rank, each of which updates for itself; so nothing comes back."""

    sums_in_mpi: ClassVar[bool] = False
    """MPI sums the messages, in an order of its own: iterates equal those of other routes up to rounding, unless
    `joint_messages`. Each rank first sums its own messages; the root receives one."""

    may_overlap: ClassVar[bool] = False
    """Messages can travel while the next ones are made."""

    joint_messages: ClassVar[bool] = False
    """A client's message depends on what the others send: iterates are not those of other routes, but exact sums."""

    self_check: Annotated[bool | None, AfterValidator(lambda wanted: wanted or None)] = None
    """Each message carries checksums (`engine/checksums.py`). None for no, so that old logs keep their id."""
    downlink_bits: Annotated[Literal[64, 32, 16] | None, AfterValidator(lambda bits: None if bits == 64 else bits)] = (
        None
    )
    """Bits of the floats in which w is broadcast: 16 rounded at random. None for 64, likewise."""
    overlap: bool | None = None
    """Messages travel while the next ones are made; None for yes where the algorithm is one round late, else no."""

    def check(self, compressor: Compressor) -> None:
        """Raise ValueError, one sentence, where this route cannot carry the compressor's messages."""
        if self.reaches_all_ranks and self.downlink_bits:
            raise ValueError(
                f'route kind = "{self.kind}" has no downlink: every rank updates for itself; leave downlink_bits out'
            )

    def check_algorithm(self, algorithm: Component) -> None:
        """Raise ValueError, one sentence, where this route cannot serve the algorithm."""
        delayed = getattr(algorithm, "delayed", False)
        if self.overlap is not None and not delayed:
            raise ValueError(
                f"overlap is for algorithms that are one round late, and {algorithm.kind} needs each message before "
                f'the next ones are made; leave it out, or give algorithm kind = "delayed-sgd"'
            )
        if delayed and not self.may_overlap and self.overlap is not False:
            raise ValueError(
                f"{algorithm.kind} is one round late so that messages may travel meanwhile, and route kind = "
                f'"{self.kind}" has them wait; give kind = "auto", or overlap = false'
            )
        if self.joint_messages and hasattr(type(algorithm), "sent"):
            raise ValueError(
                f'route kind = "{self.kind}" makes the messages of a round together, and {algorithm.kind} needs each '
                f'as soon as it is sent; give algorithm kind = "sgd", or route kind = "auto"'
            )

    def resolve(self, compressor: Compressor) -> Route:
        """The route that is taken for this compressor: itself, but for `auto`."""
        self.check(compressor)
        return self

    def downlink(self, dimension: int, path: Path = DIRECT) -> Downlink:
        """What brings the iterate back in the compiled round."""
        return NoDownlink(0) if self.reaches_all_ranks else broadcast(self.downlink_bits or 64, dimension, path)

    def overlapping(self, algorithm: Component) -> bool:
        """Whether messages travel while the next ones are made."""
        return getattr(algorithm, "delayed", False) and self.may_overlap and self.overlap is not False

    def pending(self, place: Place) -> Pending:
        """What the kernel holds as `pending`: the collective that travels while the next messages are made."""
        return non_blocking() if place.overlaps else BLOCKING

    def kernel(self, place: Place, compressor: Compressor, dimension: int) -> NamedTuple:
        """What the compiled exchange gets on this rank: parameters, buffers, communicators. Every rank calls it."""
        raise NotImplementedError

    def payload_bytes(self, compressor: Compressor, dimension: int, clients: int) -> int:
        """Bytes of the longest message, without checksums."""
        return compressor.payload_bytes_max(dimension)

    def received(self, compressor: Compressor, clients: int, ranks: int) -> int:
        """The most messages that come to a rank in a round: one where MPI adds them up, else one of each client, and
        empty slots where every rank sends as many as the fullest.
        """
        if self.sums_in_mpi:
            return 1
        return ranks * -(-clients // ranks) if compressor.fixed_length else compressor.participants_max(clients)

    def scratch_bytes(self, message: int, dimension: int, hosted: int, received: int) -> int:
        """Bytes of a rank's buffers besides those of its clients' messages and of the `received` ones."""
        return 0

    def compressor_kernel(self, place: Place, compressor: Compressor, dimension: int) -> NamedTuple:
        """The compressor's kernel as it is used on this route."""
        inner = compressor.own_kernel(compressor.kernel(dimension))
        return checked(inner, dimension) if self.self_check else inner

    def close(self, kernel: Any) -> None:
        """Free the communicators of a kernel. Every rank calls it."""


class Overlapping(Route):
    """A route whose messages can travel while the next ones are made; its `Kernel` has a field `pending`."""

    may_overlap = True

    @staticmethod
    def overlaps(kernel):
        return is_non_blocking(kernel.pending)

    @staticmethod
    def progress_uplink(kernel):
        return progress(kernel.pending)


routes: Registry[Route] = Registry("route", OPERATIONS)
