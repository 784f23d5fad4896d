"""Base class of routes, which carry the clients' payloads to the root and the iterate to all ranks."""

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
    """The communicator of all ranks, the clients that each rank hosts, and the length of the longest message."""

    comm: MPI.Comm
    hosts: NDArray[np.int64]  # (ranks + 1,): rank r hosts the clients hosts[r] <= i < hosts[r + 1]
    longest: int  # bytes of the longest message
    overlaps: bool = False  # true if messages travel while the next ones are computed


class Route(Component):
    """Collective MPI calls that bring the messages of a round to the root, and the new iterate to all ranks.

    This is the base class of all routes. The static method `uplink` of a subclass, which is compiled, brings the packed
    messages to the root (`mpi_fed/engine/operations/route.py`). A route that cannot carry a compressor's messages
    refuses the compressor; messages are never padded silently. The `Kernel` has a field `downlink`, which brings the
    new iterate to all ranks.

    Parameters
    ----------
    self_check : bool, default: False
        Whether messages carry checksums, which their receivers verify; by default they do not. A mismatch ends the run
        with an error that names the client and the round. The iterates are the same, but rounds take longer.
    downlink_bits : {16, 32, 64}, default: 64
        Bits of the floats in which w is broadcast, 64 by default. 32 rounds to the nearest float. 16 rounds at random
        with expectation w, which adds an error floor that predictions leave out; they are then called approximate.
    overlap : bool, default: as the algorithm allows
        Whether messages travel while the next gradients are computed. By default they do with `delayed-sgd`; the key is
        refused with algorithms that are not one round late. With `delayed-sgd` the routes `tree`, `tree-reduce` and
        `reduce-levels` need false.

    Notes
    -----
    With the same compressor all routes give the same iterates bit for bit, except routes with `sums_in_mpi`.

    `self_check` adds 16 bytes to each message: a checksum of the bytes of the message, and a checksum of the vector
    that the sender decodes from these bytes. Checksums count as transported bytes, not as payload. Use `self_check` if
    you distrust a network, a memory or a codec. The root's messages on a compressed downlink have checksums, too.

    With `downlink_bits` below 64 all clients, including those on the root, compute gradients at the rounded w. The root
    keeps the unrounded w, so that rounding does not accumulate.

    With `overlap` the collective (MPI_Igather and similar) begins when the messages are packed, advances by MPI_Test
    after the gradient of each client, and is completed when the next messages are packed. The iterates are the same
    without `overlap`. Only the uplink overlaps: ranks still wait for the broadcast of w.

    A route on which every rank updates w by itself (`allgather`, `allgatherv`, `allreduce`) has no broadcast. Such a
    route refuses `downlink_bits` and a table `[[downlink]]`.

    With a table `[[downlink]]` MPI_Bcast sends the compressed direction of the step in place of w. The root draws masks
    and rounding from its own random stream, which is independent of the clients' streams. If only the root knows the
    length of the message (explicit indices of `bernoulli`), the root first broadcasts the length, in 4 bytes that count
    as transported bytes.

    Examples
    --------
    >>> from mpi_fed.compressors import compressors
    >>> from mpi_fed.routes import routes
    >>> routes["auto"]().resolve(compressors["bernoulli"](p=0.5)).kind
    'gatherv'
    """

    reaches_all_ranks: ClassVar[bool] = False
    """True if the uplink brings all messages to every rank. Each rank then updates w itself, without a downlink."""

    sums_in_mpi: ClassVar[bool] = False
    """True if MPI adds up the messages, in an order that MPI chooses. The iterates then equal the iterates of other
    routes up to rounding, unless `joint_messages`. Each rank first adds up the messages of its clients, and the root
    receives only the sum."""

    may_overlap: ClassVar[bool] = False
    """True if messages can travel while the next ones are computed."""

    joint_messages: ClassVar[bool] = False
    """True if a client's message depends on the other clients' vectors. The iterates then differ from the iterates of
    other routes, but sums are exact."""

    self_check: Annotated[bool | None, AfterValidator(lambda wanted: wanted or None)] = None
    """True if each message carries checksums (`engine/checksums.py`). False is stored as None, so that old logs keep
    their id."""
    downlink_bits: Annotated[Literal[64, 32, 16] | None, AfterValidator(lambda bits: None if bits == 64 else bits)] = (
        None
    )
    """Bits of the floats in which w is broadcast; 16 means rounding at random. 64 is stored as None, so that old logs
    keep their id."""
    overlap: bool | None = None
    """True if messages travel while the next ones are computed. None means true for an algorithm that is one round
    late."""

    def check(self, compressor: Compressor) -> None:
        """Raise ValueError, with one sentence, if this route cannot carry the compressor's messages."""
        if self.reaches_all_ranks and self.downlink_bits:
            raise ValueError(
                f'route kind = "{self.kind}" has no downlink, as every rank updates w itself; remove downlink_bits'
            )

    def check_algorithm(self, algorithm: Component) -> None:
        """Raise ValueError, with one sentence, if this route cannot serve the algorithm."""
        delayed = getattr(algorithm, "delayed", False)
        if self.overlap is not None and not delayed:
            raise ValueError(
                f"overlap is for algorithms that are one round late, but {algorithm.kind} needs each message before "
                f'the next ones are computed; remove overlap, or give algorithm kind = "delayed-sgd"'
            )
        if delayed and not self.may_overlap and self.overlap is not False:
            raise ValueError(
                f"{algorithm.kind} is one round late, so that messages travel during computation, but route kind = "
                f'"{self.kind}" does not support this; give kind = "auto", or overlap = false'
            )
        if self.joint_messages and hasattr(type(algorithm), "sent"):
            raise ValueError(
                f'route kind = "{self.kind}" builds all messages of a round together, but {algorithm.kind} needs each '
                f'message as soon as it is encoded; give algorithm kind = "sgd", or route kind = "auto"'
            )

    def resolve(self, compressor: Compressor) -> Route:
        """Return the route in use for this compressor: this route itself, except for `auto`.

        Raises ValueError, with one sentence, if the route cannot carry the compressor's messages.
        """
        self.check(compressor)
        return self

    def downlink(self, dimension: int, path: Path = DIRECT) -> Downlink:
        """Return the downlink of the compiled round, which brings the iterate to all ranks along `path`."""
        return NoDownlink(0) if self.reaches_all_ranks else broadcast(self.downlink_bits or 64, dimension, path)

    def overlapping(self, algorithm: Component) -> bool:
        """Return whether messages travel while the next ones are computed."""
        delayed: bool = getattr(algorithm, "delayed", False)
        return delayed and self.may_overlap and self.overlap is not False

    def pending(self, place: Place) -> Pending:
        """Return the kernel's field `pending`: the collective that travels while the next messages are computed."""
        return non_blocking() if place.overlaps else BLOCKING

    def kernel(self, place: Place, compressor: Compressor, dimension: int) -> NamedTuple:
        """Return the `Kernel` tuple of this rank: parameters, buffers and communicators. Every rank must call this.

        Parameters
        ----------
        place : Place
            Communicator of the ranks, the clients that they host, and the longest message.
        compressor : Compressor
            Compressor of the uplink, resolved.
        dimension : int
            d.

        Returns
        -------
        NamedTuple
            The kernel, with a field `downlink`. `close` frees its communicators.
        """
        raise NotImplementedError

    def payload_bytes(self, compressor: Compressor, dimension: int, clients: int) -> int:
        """Return the number of bytes of the longest message, without checksums."""
        return compressor.payload_bytes_max(dimension)

    def received(self, compressor: Compressor, clients: int, ranks: int) -> int:
        """Return the largest number of messages that a rank receives in a round.

        If MPI adds up the messages, the number is 1. Otherwise every client sends one message. With a fixed length, the
        empty slots of ranks that host fewer clients than the fullest rank count, too.
        """
        if self.sums_in_mpi:
            return 1
        return ranks * -(-clients // ranks) if compressor.fixed_length else compressor.participants_max(clients)

    def scratch_bytes(self, message: int, dimension: int, hosted: int, received: int) -> int:
        """Return the memory, in bytes, of a rank's buffers other than those for sent and for received messages."""
        return 0

    def compressor_kernel(self, place: Place, compressor: Compressor, dimension: int) -> NamedTuple:
        """Return the compressor's kernel for this route, with checksums if `self_check`."""
        inner = compressor.own_kernel(compressor.kernel(dimension))
        return checked(inner, dimension) if self.self_check else inner

    def close(self, kernel: Any) -> None:
        """Free the communicators of a kernel. Every rank must call this."""


class Overlapping(Route):
    """Base class of routes whose messages can travel while the next ones are computed.

    The `Kernel` has a field `pending`. The keys are those of `Route`.
    """

    may_overlap = True

    @staticmethod
    def overlaps(kernel: Any) -> bool:
        return is_non_blocking(kernel.pending)

    @staticmethod
    def progress_uplink(kernel: Any) -> int:
        return progress(kernel.pending)


routes: Registry[Route] = Registry("route", OPERATIONS)
