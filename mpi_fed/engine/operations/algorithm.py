"""The operations of an algorithm in the compiled round."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..operation import by_name, operation
from .compressor import Bytes, Message, Vector


class Client(NamedTuple):
    """A client on this rank."""

    row: int  # its row in the algorithm's arrays of this rank
    number: int  # i in 0 .. N-1
    clients: int  # N


@operation(required=True)
def outgoing(kernel: Any, client: Client, round: int, w: Vector, g: Vector) -> None:
    """Replace g, the client's gradient at w, by the vector that it compresses. Both are (d,)."""
    raise NotImplementedError


@operation
def sent(kernel: Any, client: Client, compressor: Any, payload: Bytes, message: Message) -> None:
    """Update the client's memory, after it packed a message, with the vector that the root will decode."""
    return


@operation
def direction(kernel: Any, round: int, total: Vector) -> None:
    """Replace `total`, (d,), the mean of the decoded messages, by the direction of the step, at the root.

    `update` takes this direction, and a compressed downlink compresses it.
    """
    return


@operation(required=True)
def update(kernel: Any, round: int, total: Vector, w: Vector) -> None:
    """Replace the iterate w by the next one, with a step along the direction `total`. Both are (d,)."""
    raise NotImplementedError


OPERATIONS = by_name(outgoing, sent, direction, update)
