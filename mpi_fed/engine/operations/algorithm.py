"""What an algorithm does inside the compiled round."""

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
    """Turn g, the client's gradient at w, into the vector that it compresses, in place. Both are (d,)."""
    raise NotImplementedError


@operation
def sent(kernel: Any, client: Client, compressor: Any, payload: Bytes, message: Message) -> None:
    """Tell the client, after it packed a message, what the root will decode."""
    return


@operation
def direction(kernel: Any, round: int, total: Vector) -> None:
    """Turn `total`, (d,), the mean of the decoded messages, into the step's direction, in place, at the root.

    It is what `update` takes, and what a compressed downlink compresses.
    """
    return


@operation(required=True)
def update(kernel: Any, round: int, total: Vector, w: Vector) -> None:
    """Step from the iterate w to the next one, in place, along the direction `total`."""
    raise NotImplementedError


OPERATIONS = by_name(outgoing, sent, direction, update)
