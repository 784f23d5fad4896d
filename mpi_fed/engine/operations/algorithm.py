"""The operations of an algorithm in the compiled round."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..operation import by_name, operation
from .compressor import Bytes, Message, Vector


class Client(NamedTuple):
    """A client on this rank.

    Attributes
    ----------
    row : int
        Index of the client among the clients of this rank, from 0: its row in the algorithm's arrays.
    number : int
        i, the number of the client, 0 <= i < N.
    clients : int
        N, the number of clients.
    """

    row: int
    number: int
    clients: int


@operation(required=True)
def outgoing(kernel: Any, client: Client, round: int, w: Vector, g: Vector) -> None:
    """Replace the client's gradient by the vector that the client compresses.

    Parameters
    ----------
    kernel : NamedTuple
        The kernel of the algorithm on this rank.
    client : Client
        The client.
    round : int
        k, the number of the round.
    w : (d,) array of float64
        The point at which the gradient was taken. Not changed.
    g : (d,) array of float64
        The gradient; on return, the vector to compress.
    """
    raise NotImplementedError


@operation
def sent(kernel: Any, client: Client, compressor: Any, payload: Bytes, message: Message) -> None:
    """Update the state of a client, for example its memory, after its message was packed. The default does nothing.

    Parameters
    ----------
    kernel : NamedTuple
        The kernel of the algorithm on this rank.
    client : Client
        The client.
    compressor : NamedTuple
        The kernel of the compressor; `decode` with it gives the vector that the root will decode.
    payload : array of uint8
        The bytes of the message.
    message : Message
        The message's random numbers.
    """
    return


@operation
def direction(kernel: Any, round: int, total: Vector) -> None:
    """Replace the mean of the decoded messages by the direction of the step, at the root. The default changes nothing.

    `update` takes this direction, and a compressed downlink compresses it.

    Parameters
    ----------
    kernel : NamedTuple
        The kernel of the algorithm on this rank.
    round : int
        k, the number of the round.
    total : (d,) array of float64
        The mean of the messages over the N clients; on return, the direction.
    """
    return


@operation(required=True)
def update(kernel: Any, round: int, total: Vector, w: Vector) -> None:
    """Replace the iterate by the next one, with a step along the direction.

    Parameters
    ----------
    kernel : NamedTuple
        The kernel of the algorithm on this rank.
    round : int
        k, the number of the round.
    total : (d,) array of float64
        The direction of the step.
    w : (d,) array of float64
        w_k; on return, w_(k+1).
    """
    raise NotImplementedError


OPERATIONS = by_name(outgoing, sent, direction, update)
